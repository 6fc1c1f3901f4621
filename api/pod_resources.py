"""What a pod asks for as a whole: requests, limits, and the QoS class that follows from them.

Scheduler, kubelet and quota have to agree on these sums, so they are made in one place. Upstream's rules:
`resource.PodRequests` with sidecars (KEP-753) and pod-level resources (KEP-2837).
"""

from __future__ import annotations

from collections.abc import Mapping

from api.quantity import Quantity, QuantityValue
from api.types.core_v1 import Container, Pod, PodSpec, ResourceRequirements

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"

#: What one resource name maps to: exact amounts.
Amounts = dict[str, Quantity]

_ZERO = Quantity(0)


def amounts(values: Mapping[str, QuantityValue] | None) -> Amounts:
    return {name: Quantity(value) for name, value in (values or {}).items()}


def add(total: Amounts, more: Mapping[str, Quantity]) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def maximum(total: Amounts, other: Mapping[str, Quantity]) -> None:
    for name, value in other.items():
        if name not in total or total[name] < value:
            total[name] = value


def is_sidecar(container: Container) -> bool:
    """Whether an init container keeps running beside the others (KEP-753)."""
    return container.restart_policy == "Always"


def requests(requirements: ResourceRequirements | None) -> Amounts:
    return amounts(requirements.requests if requirements else None)


def limits(requirements: ResourceRequirements | None) -> Amounts:
    return amounts(requirements.limits if requirements else None)


def pod_requests(pod: Pod, *, defaults: Mapping[str, Quantity] | None = None, on_node: bool = False) -> Amounts:
    """What the pod is accounted with, overhead included. `defaults` stand in for what a container leaves out.

    `on_node`: with what its node still holds for it while it is resized (KEP-1287), the larger of both.
    """
    total = _combine(pod, of_requests=True, defaults=defaults or {}, held=_held(pod) if on_node else {})
    if pod.spec.overhead:
        add(total, amounts(pod.spec.overhead))
    return total


def pod_limits(pod: Pod) -> Amounts:
    total = _combine(pod, of_requests=False, defaults={})
    for name, value in amounts(pod.spec.overhead).items():
        if name in total:
            total[name] = total[name] + value
    return total


def is_resizing(pod: Pod) -> bool:
    """Whether the node holds other cpu or memory for a container than what the pod asks for."""
    all_of_pod = _held(pod)
    if not all_of_pod:
        return False
    asked = {c.name: requests(c.resources) for c in (*pod.spec.containers, *(pod.spec.init_containers or ()))}
    return any(
        held.get(resource, _ZERO) != asked.get(name, {}).get(resource, _ZERO)
        for name, all_held in all_of_pod.items()
        for held in all_held
        for resource in ("cpu", "memory")
    )


def _held(pod: Pod) -> dict[str, list[Amounts]]:
    """What the node has allocated and what runs, by container, as far as the kubelet has said so."""
    held: dict[str, list[Amounts]] = {}
    for status in (*(pod.status.container_statuses or ()), *(pod.status.init_container_statuses or ())):
        found = [status.allocated_resources, status.resources.requests if status.resources else None]
        if known := [amounts(values) for values in found if values]:
            held[status.name] = known
    return held


def _combine(
    pod: Pod, *, of_requests: bool, defaults: Mapping[str, Quantity], held: Mapping[str, list[Amounts]] | None = None
) -> Amounts:
    """Sum over what runs at once, maximum with each init container beside the sidecars started before it."""

    # What a node has refused for good it will never hold, however long the pod asks for it.
    refused = any(
        (c.type, c.status, c.reason) == ("PodResizePending", "True", "Infeasible") for c in pod.status.conditions or ()
    )

    def own_of(container: Container) -> Amounts:
        on_node = held.get(container.name) if held else None
        own = {} if on_node and refused else (requests if of_requests else limits)(container.resources)
        for amount in on_node or ():
            maximum(own, amount)
        return {**defaults, **own}

    total: Amounts = {}
    for container in pod.spec.containers:
        add(total, own_of(container))
    sidecars: Amounts = {}
    initial: Amounts = {}
    for container in pod.spec.init_containers or ():
        own = own_of(container)
        if is_sidecar(container):
            add(total, own)
            add(sidecars, own)
            own = dict(sidecars)
        else:
            add(own, sidecars)
        maximum(initial, own)
    maximum(total, initial)
    total.update((requests if of_requests else limits)(pod.spec.resources))  # in the place of the sum
    return total


def qos_class(spec: PodSpec) -> str:
    """The pod's QoS class, by its cpu and memory requests and limits (upstream's ComputePodQOS)."""
    if spec.resources and (spec.resources.requests or spec.resources.limits):
        return _qos([spec.resources])
    every: list[Container] = [*spec.containers, *(spec.init_containers or ())]
    return _qos([c.resources for c in every])


def _qos(all_requirements: list[ResourceRequirements | None]) -> str:
    requested: Amounts = {}
    limited: Amounts = {}
    guaranteed = True
    for requirements in all_requirements:
        counted = {n: q for n, q in requests(requirements).items() if n in ("cpu", "memory") and q > _ZERO}
        add(requested, counted)
        bounded = {n: q for n, q in limits(requirements).items() if n in ("cpu", "memory") and q > _ZERO}
        add(limited, bounded)
        guaranteed = guaranteed and {"cpu", "memory"} <= bounded.keys()
    if not requested and not limited:
        return BEST_EFFORT
    if guaranteed and all(name in limited and limited[name] == value for name, value in requested.items()):
        return GUARANTEED
    return BURSTABLE
