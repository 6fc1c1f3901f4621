"""Every active namespace has a ServiceAccount `default`, and gets a new one if it is deleted."""

from __future__ import annotations

from api import errors
from api.types.core_v1 import Namespace, ServiceAccount
from api.types.meta_v1 import ObjectMeta
from client.controller import Controller
from controller_manager.context import Context

NAME = "default"


class ServiceAccountController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._namespaces = context.informers.informer(Namespace)
        self._accounts = context.informers.informer(ServiceAccount)
        self.controller: Controller[str] = Controller("serviceaccount", self.reconcile, workers=5)
        self._namespaces.add_handler(
            on_add=lambda ns: self.controller.enqueue(ns.metadata.name or ""),
            on_update=lambda _, ns: self.controller.enqueue(ns.metadata.name or ""),
        )
        self._accounts.add_handler(on_delete=lambda sa: self.controller.enqueue(sa.metadata.namespace or ""))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, namespace: str) -> float | None:
        found = self._namespaces.get("", namespace)
        if found is None or found.metadata.deletion_timestamp or found.status.phase == "Terminating":
            return None
        if self._accounts.get(namespace, NAME) is not None:
            return None
        try:
            await self._api.create(ServiceAccount(metadata=ObjectMeta(name=NAME, namespace=namespace)))
        except errors.StatusError as error:
            if not (errors.is_already_exists(error) or errors.has_cause(error, "NamespaceTerminating")):
                raise
        return None
