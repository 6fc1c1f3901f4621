"""`pods/binding` and `bindings`: give a pod its node, once."""

from __future__ import annotations

from typing import Any

from api import errors
from api import time as api_time
from api.types.core_v1 import Binding, Pod, PodCondition
from apiserver.operations import Call, Reply, handles
from apiserver.pipeline import decode, update
from apiserver.pipeline.admit import admit_mutating, admit_validating
from apiserver.pipeline.update import Rules
from apiserver.strategy import Context
from apiserver.subresources.status_reply import SUCCESS

_RESOURCE = "pods/binding"


@handles("", "pods", "binding", "create")
async def bind(call: Call) -> Reply:
    """The scheduler's last word."""
    binding = _decode(call)
    name = binding.metadata.name
    if name and name != call.ctx.name:
        raise errors.bad_request("name in URL does not match name in Binding object")
    return await _bind(call, binding)


@handles("", "bindings", "", "create")
async def bind_by_body(call: Call) -> Reply:
    """The old way: the pod is named in the body."""
    binding = _decode(call)
    call.endpoint = call.registry.endpoint(Pod)
    call.ctx.name = binding.metadata.name or ""
    return await _bind(call, binding)


def _decode(call: Call) -> Binding:
    body = decode.decode(call.body, Binding, call.ctx, call.validation, api_version="v1", name="Binding")
    assert isinstance(body, Binding)
    return body


async def _bind(call: Call, binding: Binding) -> Reply:
    ctx = call.ctx
    await admit_mutating(ctx, "CREATE", binding, None)
    _validate(binding)
    await admit_validating(ctx, "CREATE", binding, None)

    async def transform(pod: Any) -> Any:
        _assign(ctx.name, pod, binding)
        pod.metadata.resource_version = None  # another write in between is no conflict
        return pod

    # Upstream binds without a field manager: nobody owns spec.nodeName.
    await update.update(call.endpoint, ctx, call.key, transform, _RULES, admit=False, track=False, unconditional=True)
    return SUCCESS


def _validate(binding: Binding) -> None:
    found = []
    if binding.target.kind not in (None, "", "Node"):
        valid = ("Node", "<empty>")
        found.append(errors.FieldError.not_supported("target.kind", binding.target.kind, valid))
    if not binding.target.name:
        found.append(errors.FieldError.required("target.name"))
    if found:
        raise errors.invalid("Binding", binding.metadata.name or "", found)


def _assign(name: str, pod: Pod, binding: Binding) -> None:
    meta = pod.metadata
    wanted = binding.metadata.uid
    if wanted and wanted != meta.uid:
        why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {meta.uid}"
        raise errors.conflict(_RESOURCE, name, why)
    if meta.deletion_timestamp:
        raise errors.conflict(_RESOURCE, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod.spec.node_name:
        why = f'pod {name} is already assigned to node "{pod.spec.node_name}"'
        raise errors.conflict(_RESOURCE, name, why)
    if pod.spec.scheduling_gates:
        raise errors.conflict(_RESOURCE, name, f"pod {name} has non-empty .spec.schedulingGates")
    pod.spec.node_name = binding.target.name
    if binding.metadata.annotations:
        meta.annotations = {**(meta.annotations or {}), **binding.metadata.annotations}
    if binding.metadata.labels:
        meta.labels = {**(meta.labels or {}), **binding.metadata.labels}
    pod.status.nominated_node_name = None
    _scheduled(pod)


def _scheduled(pod: Pod) -> None:
    conditions = list(pod.status.conditions or ())
    condition = next((c for c in conditions if c.type == "PodScheduled"), None)
    if condition is None:
        condition = PodCondition(type="PodScheduled")
        conditions.append(condition)
    if condition.status != "True":
        condition.last_transition_time = api_time.now()
    condition.status, condition.reason, condition.message = "True", None, None
    pod.status.conditions = conditions


def _prepare(ctx: Context, new: Any, old: Any) -> None:
    """Upstream's binding bypasses the strategy: the generation stays what it is."""
    new.metadata.generation = old.metadata.generation


_RULES = Rules(_prepare, lambda ctx, new, old: [])
