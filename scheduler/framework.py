"""What a plugin is: a filter that says which nodes can't run a pod and why, a score, and what may change its mind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scheduler.nodes import Ints, Mask, NodeTable
from scheduler.pods import PodInfo

Rows = NDArray[np.intp]

MAX_SCORE = 100


@dataclass(frozen=True, slots=True)
class Rejection:
    """Nodes that a filter refuses, in upstream's words. A node may be refused for several reasons at once."""

    reason: str
    nodes: Mask
    #: Whether removing pods from these nodes could help (upstream's Unschedulable, not UnschedulableAndUnresolvable).
    resolvable: bool = True


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """A change that may let a pending pod be scheduled. `old` or `new` is None where there is none."""

    resource: Literal["Node", "Pod", "PersistentVolumeClaim", "PersistentVolume", "StorageClass"]
    action: Literal["Add", "Update", "Delete"]
    old: Any = None
    new: Any = None


class Plugin:
    """A plugin that filters nothing, scores nothing and is helped by nothing."""

    name = ""
    weight = 0  # of its score; 0: it has none
    #: Whether filter and score depend on nothing but the pod's shape and what nodes are (not on what runs on them).
    static = False

    def refuses(self, pod: PodInfo) -> str:
        """Why no node at all will do, whatever nodes are like; "" if nodes decide (upstream's PreFilter)."""
        return ""

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        return []

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        """From 0 to `MAX_SCORE` for each of `rows`; None if all are alike."""
        return None

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        """Whether a pod that this plugin refused may pass it after `event` (KEP-4247). In doubt: yes."""
        return False


def normalized(raw: Ints, *, reverse: bool = False) -> Ints | None:
    """Scale to 0..MAX_SCORE by the largest, as upstream's DefaultNormalizeScore; None if all are zero."""
    largest = int(raw.max(initial=0))
    if largest == 0:
        return None
    scaled: Ints = raw * MAX_SCORE // largest
    return MAX_SCORE - scaled if reverse else scaled
