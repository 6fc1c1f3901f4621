"""Every active namespace has a ConfigMap `kube-root-ca.crt` with the CA that signed the apiserver's certificate.

Pods mount it beside their token. What people change in it is put back.
"""

from __future__ import annotations

from api import codec, errors
from api.types.core_v1 import ConfigMap, Namespace
from api.types.meta_v1 import ObjectMeta
from client.controller import Controller
from controller_manager.context import Context

NAME = "kube-root-ca.crt"
DESCRIPTION_KEY = "kubernetes.io/description"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class RootCaController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._data = {"ca.crt": context.settings.root_ca}
        self._namespaces = context.informers.informer(Namespace)
        self._maps = context.informers.informer(ConfigMap, fields=f"metadata.name={NAME}")
        self.controller: Controller[str] = Controller("root_ca_cert_publisher", self.reconcile, workers=5)
        self._namespaces.add_handler(
            on_add=lambda ns: self.controller.enqueue(ns.metadata.name or ""),
            on_update=lambda _, ns: self.controller.enqueue(ns.metadata.name or ""),
        )
        self._maps.add_handler(
            on_update=lambda _, cm: self.controller.enqueue(cm.metadata.namespace or ""),
            on_delete=lambda cm: self.controller.enqueue(cm.metadata.namespace or ""),
        )

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, namespace: str) -> float | None:
        found = self._namespaces.get("", namespace)
        if found is None or found.metadata.deletion_timestamp or found.status.phase == "Terminating":
            return None
        current = self._maps.get(namespace, NAME)
        if current is None:
            wanted = ConfigMap(
                metadata=ObjectMeta(name=NAME, namespace=namespace, annotations={DESCRIPTION_KEY: DESCRIPTION}),
                data=dict(self._data),
            )
            try:
                await self._api.create(wanted)
            except errors.StatusError as error:
                if not (errors.is_already_exists(error) or errors.has_cause(error, "NamespaceTerminating")):
                    raise
            return None
        if current.data == self._data and (current.metadata.annotations or {}).get(DESCRIPTION_KEY):
            return None
        changed = codec.deepcopy(current)
        changed.data = dict(self._data)
        changed.metadata.annotations = {**(changed.metadata.annotations or {}), DESCRIPTION_KEY: DESCRIPTION}
        await self._api.update(changed)
        return None
