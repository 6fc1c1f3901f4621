"""`componentstatuses`: the health of etcd, in the deprecated form that `kubectl get cs` still asks for."""

from __future__ import annotations

from api import codec, errors
from api.types.core_v1 import ComponentCondition, ComponentStatus
from api.types.meta_v1 import ObjectMeta
from apiserver.operations import Call, Reply, handles
from apiserver.store import Unavailable

_NAME = "etcd-0"


@handles("", "componentstatuses", "", "get")
async def get(call: Call) -> Reply:
    """There is one component to ask about."""
    if call.ctx.name != _NAME:
        raise errors.not_found("componentstatuses", call.ctx.name)
    try:
        await call.registry.store.revision()
        condition = ComponentCondition(type="Healthy", status="True", message="ok")
    except Unavailable as error:
        condition = ComponentCondition(type="Healthy", status="False", error=str(error))
    return Reply(codec.encode(ComponentStatus(metadata=ObjectMeta(name=_NAME), conditions=[condition])))
