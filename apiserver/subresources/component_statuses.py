"""`componentstatuses`: the health of etcd, in the deprecated form that `kubectl get cs` still asks for."""

from __future__ import annotations

from api import codec, errors
from api.types.core_v1 import ComponentCondition, ComponentStatus, ComponentStatusList
from api.types.meta_v1 import ObjectMeta
from apiserver.operations import Call, Reply, handles
from apiserver.registry import Registry
from apiserver.store import Unavailable

_NAME = "etcd-0"


@handles("", "componentstatuses", "", "get")
async def get(call: Call) -> Reply:
    """There is one component to ask about."""
    if call.ctx.name != _NAME:
        raise errors.not_found("componentstatuses", call.ctx.name)
    return Reply(codec.encode(await _etcd(call.registry)))


async def list_json(registry: Registry) -> bytes:
    """The list of all components there are."""
    return codec.encode(ComponentStatusList(items=[await _etcd(registry)]))


async def jsons(registry: Registry) -> list[bytes]:
    """The same one by one."""
    return [codec.encode(await _etcd(registry))]


async def _etcd(registry: Registry) -> ComponentStatus:
    try:
        await registry.store.revision()
        condition = ComponentCondition(type="Healthy", status="True", message="ok")
    except Unavailable as error:
        condition = ComponentCondition(type="Healthy", status="False", error=str(error))
    return ComponentStatus(metadata=ObjectMeta(name=_NAME), conditions=[condition])
