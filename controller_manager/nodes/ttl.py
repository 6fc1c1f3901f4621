"""Tells kubelets how long they may cache Secrets and ConfigMaps: longer in larger clusters.

The annotation `node.alpha.kubernetes.io/ttl` is in seconds. Growing and shrinking have different bounds, so that a
cluster near one does not flap.
"""

from __future__ import annotations

from api import errors
from api.types.core_v1 import Node
from client.controller import Controller
from client.writes import Patch
from controller_manager.context import Context

ANNOTATION = "node.alpha.kubernetes.io/ttl"
#: (at least so many nodes to leave it downwards, at most so many to stay, seconds)
_STEPS = ((0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, 10000, 300), (9000, 2**31, 600))


class NodeTtlController:
    def __init__(self, context: Context) -> None:
        self._batcher = context.batcher
        self._nodes = context.informers.informer(Node)
        self._step = 0
        self.controller: Controller[str] = Controller("ttlcontroller", self.reconcile, workers=64)
        self._nodes.add_handler(
            on_add=lambda n: self._changed(n, count=True),
            on_update=lambda _, n: self._changed(n, count=False),
            on_delete=lambda _: self._count(),
        )

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, node: Node, *, count: bool) -> None:
        if count:
            self._count()
        if (node.metadata.annotations or {}).get(ANNOTATION) != str(self._seconds):
            self.controller.enqueue(node.metadata.name or "")

    def _count(self) -> None:
        before, size = self._step, len(self._nodes.store)
        while size > _STEPS[self._step][1]:
            self._step += 1
        while size < _STEPS[self._step][0]:
            self._step -= 1
        if self._step != before:
            for node in self._nodes.list():
                self.controller.enqueue(node.metadata.name or "")

    @property
    def _seconds(self) -> int:
        return _STEPS[self._step][2]

    async def reconcile(self, name: str) -> float | None:
        node = self._nodes.get("", name)
        wanted = str(self._seconds)
        if node is None or (node.metadata.annotations or {}).get(ANNOTATION) == wanted:
            return None
        try:
            await self._batcher.write(Patch(Node, name, {"metadata": {"annotations": {ANNOTATION: wanted}}}))
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        return None
