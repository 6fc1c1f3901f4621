"""What makes a pod a daemon's: pinned to its node by affinity, tolerant of what is wrong with nodes (upstream's util).

The pod is bound by the scheduler, which the affinity leaves only one choice; the tolerations let a daemon stay where
others are evicted or not admitted, since it may be what makes the node work.
"""

from __future__ import annotations

from typing import Any

from api import codec
from api.types.apps_v1 import DaemonSet
from api.types.core_v1 import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    Taint,
    Toleration,
)
from controller_manager.nodes import affinity, taints
from controller_manager.pod_control import pod_from_template
from controller_manager.workloads.history import REVISION_LABEL

GENERATION = "deprecated.daemonset.template.generation"
GENERATION_LABEL = "pod-template-generation"

_ALWAYS = (
    (taints.NOT_READY, "NoExecute"),
    (taints.UNREACHABLE, "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    (taints.UNSCHEDULABLE, "NoSchedule"),
)
_HOST_NETWORK = (("node.kubernetes.io/network-unavailable", "NoSchedule"),)


def generation(owner: DaemonSet) -> str | None:
    return (owner.metadata.annotations or {}).get(GENERATION)


def template_pod(owner: DaemonSet, revision: str) -> Pod:
    """The pod that is the same on every node, but for `pinned`."""
    pod = pod_from_template(owner.spec.template, owner)
    labels = {**(pod.metadata.labels or {}), REVISION_LABEL: revision}
    number = generation(owner)
    if number is not None:
        labels[GENERATION_LABEL] = number
    pod.metadata.labels = labels
    given = list(pod.spec.tolerations or ())
    wanted = [*_ALWAYS, *(_HOST_NETWORK if pod.spec.host_network else ())]
    for key, effect in wanted:
        toleration = Toleration(key=key, operator="Exists", effect=effect)
        given = [t for t in given if (t.key, t.effect) != (key, effect)] + [toleration]
    pod.spec.tolerations = given
    return pod


def pinned(pod: Pod, node: str) -> Pod:
    """A copy that fits on one node only; affinity that the template has narrows it further."""
    copy = codec.deepcopy(pod)
    field = NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])
    found = copy.spec.affinity = copy.spec.affinity or Affinity()
    near = found.node_affinity = found.node_affinity or NodeAffinity()
    # The controller has matched the template's own affinity already; upstream replaces all of it by the name.
    near.required_during_scheduling_ignored_during_execution = NodeSelector(
        node_selector_terms=[NodeSelectorTerm(match_fields=[field])]
    )
    return copy


def node_of(pod: Pod) -> str | None:
    """Where the pod is, or is to be."""
    if pod.spec.node_name:
        return pod.spec.node_name
    near = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required: Any = near.required_during_scheduling_ignored_during_execution if near else None
    for term in required.node_selector_terms if required else ():
        for field in term.match_fields or ():
            if field.key == "metadata.name" and field.operator == "In" and len(field.values or ()) == 1:
                return str(field.values[0])
    return None


def placement(owner: DaemonSet, node: Node, given: Pod) -> tuple[bool, bool]:
    """Whether a pod should be started on the node, and whether one that runs there may stay."""
    spec = owner.spec.template.spec
    if spec.node_name and spec.node_name != node.metadata.name:
        return False, False
    if not affinity.matches(spec, node):
        return False, False
    found = [t for t in node.spec.taints or () if t.effect in ("NoSchedule", "NoExecute")]
    if taints.tolerated(found, given.spec.tolerations):
        return True, True
    evicting: list[Taint] = [t for t in found if t.effect == "NoExecute"]
    return False, taints.tolerated(evicting, given.spec.tolerations)
