"""ImageLocality: prefers nodes that have the pod's images, the more so the larger and the wider spread they are."""

from __future__ import annotations

import numpy as np

from scheduler.framework import MAX_SCORE, Plugin, Rows
from scheduler.nodes import Ints, NodeTable
from scheduler.pods import PodInfo

_MIN = 23 * 1024 * 1024  # bytes: below it, pulling costs nothing worth a score
_MAX_PER_CONTAINER = 1000 * 1024 * 1024


class ImageLocality(Plugin):
    name = "ImageLocality"
    weight = 1
    static = True

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        total = np.zeros(len(rows), np.int64)
        for name in pod.shape.images:
            image = table.images.get(_with_tag(name))
            if image is not None:
                # An image that few nodes have counts less: it would draw all pods to them.
                share = np.count_nonzero(image.present) / max(table.count, 1)
                total += image.present[rows] * int(image.size * share)
        if not total.any():
            return None
        maximum = _MAX_PER_CONTAINER * pod.shape.containers
        score: Ints = MAX_SCORE * (np.clip(total, _MIN, maximum) - _MIN) // (maximum - _MIN)
        return score


def _with_tag(name: str) -> str:
    """With `:latest` if it has neither tag nor digest, as nodes report images."""
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
