"""Nodes: conditions, capacity, the pods on it and what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.describe.inspector import Inspector
from cli.describe.text import Text, created
from cli.errors import Object
from cli.human import age, rfc1123
from cli.objects import annotations_of, dig, labels_of, name_of, namespace_of

if TYPE_CHECKING:
    from api.quantity import Quantity

ROLE = "node-role.kubernetes.io/"
SYSTEM = (
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
)


async def describe(text: Text, node: Object, inspector: Inspector) -> None:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    text.field("Name", name_of(node))
    roles = sorted(key.removeprefix(ROLE) for key in labels_of(node) if key.startswith(ROLE) and key != ROLE)
    text.field("Roles", ",".join(roles) or "<none>")
    text.labels("Labels", labels_of(node))
    text.annotations("Annotations", annotations_of(node))
    created(text, node)
    taints = [_taint(one) for one in spec.get("taints") or []] or ["<none>"]
    text.field("Taints", taints[0])
    for one in taints[1:]:
        text.line(0, f"\t{one}")
    text.field("Unschedulable", "true" if spec.get("unschedulable") else "false")
    await _lease(text, node, inspector)
    if status.get("conditions"):
        text.line(0, "Conditions:")
        text.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
        text.line(1, "----\t------\t-----------------\t------------------\t------\t-------")
        for one in status["conditions"]:
            beat, changed = rfc1123(one.get("lastHeartbeatTime")), rfc1123(one.get("lastTransitionTime"))
            text.line(
                1,
                f"{one['type']} \t{one['status']} \t{beat} \t{changed} \t{one.get('reason', '')} \t"
                f"{one.get('message', '')}",
            )
    text.line(0, "Addresses:")
    for one in status.get("addresses") or []:
        text.field(one["type"], one["address"], 1)
    for title, key in (("Capacity", "capacity"), ("Allocatable", "allocatable")):
        if status.get(key):
            text.line(0, f"{title}:")
            for name, amount in sorted(status[key].items()):
                text.field(name, amount, 1)
    info = status.get("nodeInfo") or {}
    text.line(0, "System Info:")
    for title, key in SYSTEM:
        text.field(title, info.get(key, ""), 1)
    text.field("Kube-Proxy Version", info.get("kubeProxyVersion", ""), 1)
    if spec.get("podCIDR"):
        text.field("PodCIDR", spec["podCIDR"])
    if spec.get("podCIDRs"):
        text.field("PodCIDRs", ",".join(spec["podCIDRs"]))
    if spec.get("providerID"):
        text.field("ProviderID", spec["providerID"])
    fields = f"spec.nodeName={name_of(node)},status.phase!=Succeeded,status.phase!=Failed"
    _pods(text, await inspector.items("/api/v1/pods", fieldSelector=fields), status)
    text.events(await inspector.events(node, uid=""))


def _taint(one: Object) -> str:
    value = f"={one['value']}" if one.get("value") else ""
    return f"{one.get('key', '')}{value}:{one.get('effect', '')}"


async def _lease(text: Text, node: Object, inspector: Inspector) -> None:
    lease = await inspector.one(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name_of(node)}")
    if lease is None:
        text.field("Lease", f'Failed to get lease: leases.coordination.k8s.io "{name_of(node)}" not found')
        return
    text.line(0, "Lease:")
    text.field("HolderIdentity", dig(lease, "spec", "holderIdentity", default="<unset>"), 1)
    text.field("AcquireTime", rfc1123(dig(lease, "spec", "acquireTime")), 1)
    text.field("RenewTime", rfc1123(dig(lease, "spec", "renewTime")), 1)


def _pods(text: Text, pods: list[Object], status: Object) -> None:
    from api.quantity import Quantity

    allocatable = status.get("allocatable") or status.get("capacity") or {}
    total: dict[tuple[str, str], Quantity] = {}

    def share(amount: Quantity, resource: str) -> str:
        whole = Quantity(allocatable.get(resource, "0")).milli
        return f"{amount} ({amount.milli * 100 // whole if whole else 0}%)"

    text.field("Non-terminated Pods", f"({len(pods)} in total)")
    text.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge")
    text.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---")
    for pod in sorted(pods, key=lambda one: (namespace_of(one), name_of(one))):
        mine = {
            (kind, resource): pod_amount(pod, kind, resource)
            for kind in ("requests", "limits")
            for resource in ("cpu", "memory", "ephemeral-storage")
        }
        for key, amount in mine.items():
            total[key] = total.get(key, Quantity("0")) + amount
        cells = [
            share(mine[kind, resource], resource) for resource in ("cpu", "memory") for kind in ("requests", "limits")
        ]
        when = age(dig(pod, "metadata", "creationTimestamp"))
        text.line(1, "\t".join([namespace_of(pod), name_of(pod), "", *cells, when]))
    text.line(0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)")
    text.line(1, "Resource\tRequests\tLimits")
    text.line(1, "--------\t--------\t------")
    for resource in ("cpu", "memory", "ephemeral-storage"):
        cells = [share(total.get((kind, resource), Quantity("0")), resource) for kind in ("requests", "limits")]
        text.line(1, "\t".join([resource, *cells]))


def pod_amount(pod: Object, kind: str, resource: str) -> Quantity:
    """What a pod asks for: its containers together, or its largest init container, and its overhead (KEP-753)."""
    from api.quantity import Quantity

    def asked(container: Object) -> Quantity:
        return Quantity(dig(container, "resources", kind, resource, default="0"))

    spec = pod.get("spec") or {}
    total = Quantity("0")
    for one in spec.get("containers") or []:
        total = total + asked(one)
    sidecars, peak = Quantity("0"), Quantity("0")
    for one in spec.get("initContainers") or []:
        if one.get("restartPolicy") == "Always":
            sidecars = sidecars + asked(one)
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + asked(one))
    total = max(total + sidecars, peak)
    overhead = Quantity(dig(spec, "overhead", resource, default="0"))
    return total + overhead if kind == "requests" or total != Quantity("0") else total
