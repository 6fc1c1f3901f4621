"""`pods/eviction`: delete a pod unless its disruption budget forbids it (policy/v1 Eviction)."""

from __future__ import annotations

from typing import Any

from api import codec, errors
from api import time as api_time
from api.selectors import selector_from
from api.types.core_v1 import Pod
from api.types.meta_v1 import DeleteOptions, Preconditions, Status, StatusCause
from api.types.policy_v1 import Eviction, PodDisruptionBudget
from apiserver.operations import Call, Reply, handles
from apiserver.pipeline import decode, delete
from apiserver.pipeline.admit import admit_mutating, admit_validating
from apiserver.subresources.status_reply import SUCCESS

_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_UNCONFIRMED = 2_000  # evictions that the disruption controller has not seen yet
_ATTEMPTS = 20


@handles("", "pods", "eviction", "create")
async def evict(call: Call) -> Reply:
    """Answers a Status; 429 while the budget allows no disruption."""
    ctx = call.ctx
    eviction = decode.decode(
        call.body, Eviction, ctx, call.validation, api_version="policy/v1", name="Eviction", older="policy/v1beta1"
    )
    eviction.api_version = "policy/v1"
    name = eviction.metadata.name
    if name and name != ctx.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    await admit_mutating(ctx, "CREATE", eviction, None)
    await admit_validating(ctx, "CREATE", eviction, None)
    options = eviction.delete_options or DeleteOptions()
    ctx.dry_run = ctx.dry_run or bool(options.dry_run)
    for _ in range(_ATTEMPTS):
        pod: Pod = await call.registry.get(Pod, ctx.name, namespace=ctx.namespace)
        delete.check_preconditions("pods", ctx.name, options, pod)
        if not _needs_no_budget(pod):
            await _spend_budget(call, pod)
        try:
            await _delete(call, pod, options)
        except errors.StatusError as error:
            # The pod changed since the budget was asked: ask again.
            if errors.is_conflict(error) and not (options.preconditions and options.preconditions.resource_version):
                continue
            raise
        return SUCCESS
    raise errors.conflict("pods", ctx.name)


def _needs_no_budget(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed", "Pending") or bool(pod.metadata.deletion_timestamp)


async def _delete(call: Call, pod: Pod, options: DeleteOptions) -> None:
    own: DeleteOptions = codec.deepcopy(options)
    own.preconditions = own.preconditions or Preconditions()
    own.preconditions.uid = own.preconditions.uid or pod.metadata.uid
    endpoint = call.registry.endpoint(Pod)
    await delete.delete(endpoint, call.ctx, call.key, own)


async def _spend_budget(call: Call, pod: Pod) -> None:
    budgets = [
        budget
        for budget in call.registry.cached_list(PodDisruptionBudget, call.ctx.namespace)
        if selector_from(budget.spec.selector).matches(pod.metadata.labels)
    ]
    if not budgets:
        return
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise errors.StatusError(Status(status="Failure", code=500, message=message))
    budget = budgets[0]
    healthy = _ready(pod)
    if not healthy and _ignores_unhealthy(budget):
        return
    if call.ctx.dry_run:
        _take(codec.deepcopy(budget), pod)
        return
    try:
        await call.registry.mutate(
            PodDisruptionBudget,
            budget.metadata.name or "",
            lambda fresh: _take(fresh, pod),
            namespace=call.ctx.namespace,
            subresource="status",
        )
    except errors.StatusError as error:
        if errors.is_conflict(error):
            raise _too_many(budget, "too many conflicting changes of the disruption budget", 10) from None
        raise


def _ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def _ignores_unhealthy(budget: PodDisruptionBudget) -> bool:
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    desired = budget.status.desired_healthy or 0
    return (budget.status.current_healthy or 0) >= desired > 0


def _take(budget: PodDisruptionBudget, pod: Pod) -> None:
    """One disruption off the budget, with the pod noted as going."""
    status: Any = budget.status
    name = budget.metadata.name or ""
    if (status.observed_generation or 0) < (budget.metadata.generation or 0):
        raise _too_many(budget, f"The disruption budget {name} is still being processed by the server.", 10)
    allowed = status.disruptions_allowed or 0
    if allowed < 0:
        raise errors.forbidden("poddisruptionbudget", name, "pdb disruptions allowed is negative")
    if len(status.disrupted_pods or {}) > _UNCONFIRMED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden("poddisruptionbudget", name, why)
    if allowed == 0:
        why = (
            f"The disruption budget {name} needs {status.desired_healthy or 0} healthy pods and has "
            f"{status.current_healthy or 0} currently"
        )
        raise _too_many(budget, why, 0)
    status.disruptions_allowed = allowed - 1
    status.disrupted_pods = {**(status.disrupted_pods or {}), pod.metadata.name or "": api_time.now()}


def _too_many(budget: PodDisruptionBudget, why: str, retry_after: int) -> errors.StatusError:
    cause = StatusCause(reason="DisruptionBudget", message=why)
    return errors.too_many_requests(_REFUSED, retry_after, causes=[cause])
