"""What a server does after it has started, by the names that upstream's health checks have for it.

`/healthz`, `/livez` and `/readyz` count each of them (`poststarthook/NAME`) as failed until it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: What one part of this server does upstream's servers do in several hooks.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "extensions": ("start-apiextensions-informers", "start-apiextensions-controllers", "crd-informer-synced"),
    "bootstrap": (
        "start-system-namespaces-controller",
        "start-cluster-authentication-info-controller",
        "rbac/bootstrap-roles",
        "scheduling/bootstrap-system-priority-classes",
    ),
    "registry": (
        "start-apiserver-admission-initializer",
        "generic-apiserver-start-informers",
    ),
    "aggregation": (
        "start-kube-aggregator-informers",
        "apiservice-registration-controller",
        "apiservice-discovery-controller",
        "kube-apiserver-autoregistration",
        "apiservice-status-local-available-controller",
        "apiservice-status-remote-available-controller",
        "apiservice-openapi-controller",
        "apiservice-openapiv3-controller",
    ),
}


class Hooks:
    """Which parts are done. `done(part)` is for who starts them."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def done(self, part: str) -> None:
        """A part has started. Raises KeyError for one that is none."""
        _NAMES[part]
        self._done.add(part)

    def checks(self) -> dict[str, Callable[[], str]]:
        """Health checks by name: "" for what is done."""
        found: dict[str, Callable[[], str]] = {}
        for part, names in _NAMES.items():
            for name in names:
                found[f"poststarthook/{name}"] = self._check(part)
        found["autoregister-completion"] = self._check("aggregation")
        return found

    def _check(self, part: str) -> Callable[[], str]:
        return lambda: "" if part in self._done else "not finished"
