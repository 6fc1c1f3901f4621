"""What the kubelet knows of one pod at one moment: the input of everything that is computed about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from api.types.core_v1 import PodCondition, PodStatus, ResourceRequirements
from kubelet import cri
from kubelet.probes.prober import Health

PREFIX = "docker://"
READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, SCHEDULED = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)
#: Conditions the kubelet writes, in upstream's order; `DisruptionTarget` only when it ends a pod itself.
OWNED_CONDITIONS = (
    "PodResizePending", "PodResizeInProgress", READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, SCHEDULED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the kubelet itself ends a pod: eviction, deadline, refused admission."""

    phase: str
    reason: str
    message: str
    disruption: str = ""  # reason of a DisruptionTarget condition
    refused: bool = False  # on arrival: no container of it was ever considered


@dataclass(slots=True)
class View:
    """What is known about a pod beside its spec."""

    snapshot: cri.PodSnapshot | None = None
    previous: PodStatus = field(default_factory=PodStatus)  # what was last computed, or what the API server has
    health: Mapping[str, Health] = field(default_factory=dict)  # container id -> its probes' findings
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # container -> why it doesn't run
    hidden: Set[str] = frozenset()  # ids of containers whose postStart hook still runs
    messages: Mapping[str, str] = field(default_factory=dict)  # container id -> termination message
    host_ips: Sequence[str] = ()
    ending: bool = False  # nothing will be started any more
    verdict: Verdict | None = None
    finished: bool = False  # nothing runs any more and nothing will
    actual: Mapping[str, ResourceRequirements] = field(default_factory=dict)  # container id -> what it runs with
    resizing: Sequence[PodCondition] = ()
    shown_phase: str = "Pending"  # what the API has seen so far


def runs(snapshot: cri.PodSnapshot | None, name: str) -> list[cri.ContainerStatus]:
    """Every run of a container that the runtime still knows, newest first."""
    return [c for c in snapshot.containers if c.name == name] if snapshot else []


def active_sandbox(snapshot: cri.PodSnapshot | None) -> cri.SandboxStatus | None:
    """The newest sandbox, if it runs."""
    if snapshot and snapshot.sandboxes and snapshot.sandboxes[0].state is cri.State.RUNNING:
        return snapshot.sandboxes[0]
    return None
