"""ResourceQuotas: keeps `status.used` true.

The apiserver charges a quota before it admits an object; this controller gives back what is deleted, and counts
everything anew when a quota is made or changed, and every five minutes.

Invariants:
- `status.hard` is `spec.hard`, and `used` has exactly its names;
- usage is counted from live lists, never from caches: a count that is too low would let too much in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from api import codec, errors
from api.quantity import Quantity
from api.resource import Resource
from api.types.apiextensions_v1 import CustomResourceDefinition
from api.types.core_v1 import PersistentVolumeClaim, Pod, ResourceQuota, Service
from client.controller import Controller
from client.informer import Informer
from client.store import Key, key_of
from controller_manager import discovery
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.namespaces import quota_usage as usage

RESYNC = 300.0
#: Deletions come in heaps: what is freed within this time is counted once.
_GATHER = 0.2


class ResourceQuotaController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._quotas = context.informers.informer(ResourceQuota)
        self.controller: Controller[Key] = Controller("resourcequota", self.reconcile, workers=5)
        self._quotas.add_handler(on_add=lambda q: self.controller.enqueue(key_of(q)), on_update=self._updated)
        context.informers.informer(Pod).add_handler(on_update=self._pod_ended, on_delete=self._freed)
        for kind in (Service, PersistentVolumeClaim):
            informer: Any = context.informers.informer(kind)
            informer.add_handler(on_update=lambda old, new: self._freed(new), on_delete=self._freed)
        self._informers = context.informers
        self._followed: dict[tuple[str, str], Informer[Any]] = {}  # custom resources, by group and plural
        definitions = context.informers.informer(CustomResourceDefinition)
        definitions.add_handler(on_add=self._defined, on_update=lambda _, new: self._defined(new))

    def _defined(self, definition: CustomResourceDefinition) -> None:
        # Not at once: the garbage collector may be about to watch the resource anew, at another version.
        asyncio.get_running_loop().call_soon(self._follow, definition)

    def _follow(self, definition: CustomResourceDefinition) -> None:
        resource = discovery.of_definition(definition)
        if resource is None or not resource.namespaced or definition.metadata.deletion_timestamp:
            return
        informer = self._informers.informer(discovery.metadata_only(resource))
        if self._followed.get((resource.group, resource.plural)) is not informer:
            self._followed[resource.group, resource.plural] = informer
            informer.add_handler(on_delete=self._freed)

    async def run(self) -> None:
        for resource in discovery.builtin(namespaced=True):
            if resource.type in (Pod, Service, PersistentVolumeClaim):
                continue
            # Watched by another controller, as a whole or (by the garbage collector) for its metadata. Only now are all
            # of them there; a resource that nobody watches is counted by the resync.
            kinds = (resource.type, discovery.metadata_only(resource))
            existing = next((i for kind in kinds if (i := self._informers.existing(kind)) is not None), None)
            if existing is not None:
                existing.add_handler(on_delete=self._freed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self._resync())

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC)
            for quota in self._quotas.list():
                self.controller.enqueue(key_of(quota))

    def _updated(self, old: ResourceQuota, new: ResourceQuota) -> None:
        if old.spec != new.spec or new.status.hard != new.spec.hard:
            self.controller.enqueue(key_of(new))

    def _pod_ended(self, old: Pod, new: Pod) -> None:
        if pod_facts.is_terminal(new) and not pod_facts.is_terminal(old):
            self._freed(new)

    def _freed(self, obj: Any) -> None:
        for quota in self._quotas.list(obj.metadata.namespace or ""):
            self.controller.enqueue_after(key_of(quota), _GATHER)

    async def reconcile(self, key: Key) -> float | None:
        quota = self._quotas.get(*key)
        if quota is None:
            return None
        hard = quota.spec.hard or {}
        total = await self._count(key[0], quota)
        used = {name: str(total.get(name, Quantity(0))) for name in hard}
        before = {name: str(Quantity(value)) for name, value in (quota.status.used or {}).items()}
        if used == before and quota.status.hard == quota.spec.hard:
            return None
        changed = codec.deepcopy(quota)
        changed.status.hard, changed.status.used = dict(hard) or None, dict(used) or None
        try:
            await self._api.update_status(changed)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        return None

    async def _count(self, namespace: str, quota: ResourceQuota) -> usage.Usage:
        total: usage.Usage = {}
        names = set(quota.spec.hard or {})
        wanted = usage.requirements(quota)
        plans: list[tuple[type[Any], Callable[[Any], usage.Usage]]] = [
            (Pod, lambda p: usage.of_pod(p) if usage.in_scope(p, wanted) else {}),
        ]
        if not wanted:
            plans += [(Service, usage.of_service), (PersistentVolumeClaim, usage.of_claim)]
        for kind, evaluate in plans:
            for obj in (await self._api.list(kind, namespace=namespace)).items:
                for name, value in evaluate(obj).items():
                    if name in names:
                        total[name] = total.get(name, Quantity(0)) + value
        if not wanted:
            await self._count_objects(namespace, names - total.keys(), total)
        return total

    async def _count_objects(self, namespace: str, names: set[str], total: usage.Usage) -> None:
        for resource in await self._countable(names):
            wanted = {f"count/{resource.group_resource}"}
            if not resource.group and resource.plural in usage.COUNTED:
                wanted.add(resource.plural)
            if wanted & names and resource.plural not in ("pods", "services", "persistentvolumeclaims"):
                found = await self._api.list(discovery.metadata_only(resource), namespace=namespace)
                for name in wanted & names:
                    total[name] = Quantity(len(found.items))

    async def _countable(self, names: set[str]) -> list[Resource]:
        known = discovery.builtin(namespaced=True)
        builtin = {f"count/{r.group_resource}" for r in known} | set(usage.COUNTED)
        custom = any(name.startswith("count/") and name not in builtin for name in names)
        return await discovery.namespaced(self._api) if custom else known
