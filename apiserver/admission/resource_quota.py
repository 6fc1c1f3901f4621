"""ResourceQuota: what a namespace uses is counted before it is used, so that no number of writers can exceed a quota.

Usage is added to `status.used` by a compare-and-swap before the object is stored. If the write then fails, the quota
keeps the addition until somebody recounts: the quota controller does, and so does this plugin before it refuses, if no
writer has touched the quota for a while. A quota that nobody has counted yet is counted here, at its first use.
Source: k8s.io/apiserver/pkg/admission/plugin/resourcequota.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from api import errors
from api.quantity import Quantity
from api.types.core_v1 import Pod, ResourceQuota
from apiserver.admission import Operation
from apiserver.admission.quota_usage import Usage, selects, unspecified, usage
from apiserver.strategy import Context

if TYPE_CHECKING:
    from apiserver.registry import Registry

#: Longer than any write is under way between its counting and its storing.
SETTLED_SECONDS = 5.0
_ZERO = Quantity(0)


class ResourceQuotaAdmission:
    name = "ResourceQuota"

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}  # uid -> newest version known here, and since when

    def handles(self, ctx: Context, operation: Operation) -> bool:
        if not ctx.resource.namespaced or (ctx.resource.kind == "ResourceQuota" and ctx.subresource):
            return False
        if operation == "CREATE":
            return not ctx.subresource
        if operation != "UPDATE":
            return False
        return ctx.subresource == "resize" or (
            not ctx.subresource and ctx.resource.kind in ("Service", "PersistentVolumeClaim")
        )

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Counts only what is final, in `validate`."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403 for what does not fit any more."""
        quotas = ctx.registry.cached_list(ResourceQuota, ctx.namespace)
        if not quotas:
            return
        wanted = usage(ctx.resource, new)
        if old is not None:
            before = usage(ctx.resource, old)
            wanted = {name: amount - before.get(name, _ZERO) for name, amount in wanted.items()}
        for quota in sorted(quotas, key=lambda q: q.metadata.name or ""):
            if not selects(quota, new):
                continue
            if isinstance(new, Pod) and (missing := unspecified(quota, new)):
                detail = f"failed quota: {quota.metadata.name}: must specify {missing}"
                raise errors.forbidden(ctx.resource.group_resource, new.metadata.name or "", detail)
            delta = {n: a for n, a in wanted.items() if n in (quota.spec.hard or {}) and a > _ZERO}
            if delta:
                await self._count(ctx, quota, delta, new)

    async def _count(self, ctx: Context, quota: ResourceQuota, delta: Usage, obj: Any) -> None:
        registry, name = ctx.registry, quota.metadata.name or ""
        if not (quota.status.hard or {}).keys() >= delta.keys():
            await self._recount(registry, quota, only_new=True)
            quota = await registry.get(ResourceQuota, name, namespace=ctx.namespace)
        if _exceeded(quota, delta) and self._settled(quota):
            await self._recount(registry, quota)
        if ctx.dry_run:
            current = await registry.get(ResourceQuota, name, namespace=ctx.namespace)
            _refuse(ctx, current, delta, obj)
            return

        def add(current: ResourceQuota) -> None:
            _refuse(ctx, current, delta, obj)
            used = dict(current.status.used or {})
            for resource, amount in delta.items():
                used[resource] = str(Quantity(used.get(resource, "0")) + amount)
            current.status.used = used

        try:
            stored = await registry.mutate(ResourceQuota, name, add, namespace=ctx.namespace, subresource="status")
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return  # the quota went away meanwhile
            if errors.is_forbidden(error):
                self._settled(await registry.get(ResourceQuota, name, namespace=ctx.namespace))
            raise
        self._seen[stored.metadata.uid or ""] = (stored.metadata.resource_version or "", time.monotonic())

    def _settled(self, quota: ResourceQuota) -> bool:
        """Whether this version of the quota has been the newest one for long enough to recount."""
        uid, version = quota.metadata.uid or "", quota.metadata.resource_version or ""
        known = self._seen.get(uid)
        now = time.monotonic()
        if known is None or known[0] != version:
            self._seen[uid] = (version, now)
            return False
        return now - known[1] >= SETTLED_SECONDS

    async def _recount(self, registry: Registry, quota: ResourceQuota, *, only_new: bool = False) -> None:
        """Set the status from what is there. Leaves alone a quota that was written to meanwhile."""
        version = quota.metadata.resource_version
        hard = dict(quota.spec.hard or {})
        counted = await count(registry, quota)

        def replace(current: ResourceQuota) -> None:
            if only_new:
                before = current.status.used or {}
                kept = {n: before[n] for n in hard if n in before and n in (current.status.hard or {})}
                current.status.used = {**{n: str(counted.get(n, _ZERO)) for n in hard}, **kept}
            elif current.metadata.resource_version == version:
                current.status.used = {n: str(counted.get(n, _ZERO)) for n in hard}
            current.status.hard = hard

        try:
            await registry.mutate(
                ResourceQuota,
                quota.metadata.name or "",
                replace,
                namespace=quota.metadata.namespace,
                subresource="status",
            )
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise


async def count(registry: Registry, quota: ResourceQuota) -> Usage:
    """What the namespace uses of all that a quota limits, from a consistent list of each resource."""
    hard = quota.spec.hard or {}
    total: Usage = {}
    for endpoint in list(registry.endpoints):
        resource = endpoint.resource
        if not resource.namespaced or not _counts(resource.plural, resource.group_resource, resource.group, hard):
            continue
        for obj in await registry.list(resource.type, namespace=quota.metadata.namespace):
            if selects(quota, obj):
                for name, amount in usage(resource, obj).items():
                    if name in hard:
                        total[name] = total.get(name, _ZERO) + amount
    return total


def _counts(plural: str, group_resource: str, group: str, hard: dict[str, Any]) -> bool:
    """Whether objects of a resource can appear in these limits at all."""
    if f"count/{group_resource}" in hard:
        return True
    if group:
        return False
    if plural == "services":
        return any(name.startswith("services") for name in hard)
    if plural == "persistentvolumeclaims":
        return any("storage" in name or name.endswith("persistentvolumeclaims") for name in hard)
    if plural == "pods":
        return any(name == "pods" or not name.startswith(("count/", "services")) for name in hard)
    return plural in hard


def _exceeded(quota: ResourceQuota, delta: Usage) -> list[str]:
    hard, used = quota.status.hard or {}, quota.status.used or {}
    return sorted(
        name
        for name, amount in delta.items()
        if name in hard and Quantity(used.get(name, "0")) + amount > Quantity(hard[name])
    )


def _refuse(ctx: Context, quota: ResourceQuota, delta: Usage, obj: Any) -> None:
    exceeded = _exceeded(quota, delta)
    if not exceeded:
        return
    hard, used = quota.status.hard or {}, quota.status.used or {}
    requested = ",".join(f"{name}={delta[name]}" for name in exceeded)
    so_far = ",".join(f"{name}={Quantity(used.get(name, '0'))}" for name in exceeded)
    limited = ",".join(f"{name}={Quantity(hard[name])}" for name in exceeded)
    detail = f"exceeded quota: {quota.metadata.name}, requested: {requested}, used: {so_far}, limited: {limited}"
    raise errors.forbidden(ctx.resource.group_resource, obj.metadata.name or "", detail)
