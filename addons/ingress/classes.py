"""Which ingresses this controller serves (KEP-1453).

An ingress names its class in `spec.ingressClassName` or in the deprecated annotation; the class names its controller.
One that names none is ours if one of our classes is the default: admission gives it that class when it is created, but
it may be older than the class.
"""

from __future__ import annotations

from collections.abc import Iterable

from api.types.networking_v1 import Ingress, IngressClass

CONTROLLER = "pykube.dev/ingress"
ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT = "ingressclass.kubernetes.io/is-default-class"


class Classes:
    def __init__(self, classes: Iterable[IngressClass]) -> None:
        ours = [c for c in classes if c.spec.controller == CONTROLLER]
        self._names = {c.metadata.name for c in ours}
        self._default = any((c.metadata.annotations or {}).get(DEFAULT) == "true" for c in ours)

    def serves(self, ingress: Ingress) -> bool:
        """Whether the ingress is ours."""
        named = ingress.spec.ingress_class_name or (ingress.metadata.annotations or {}).get(ANNOTATION)
        return named in self._names if named else self._default
