"""ReplicationControllers: ReplicaSets' older form. The rules are those of `replicaset.py`.

They differ in that the selector is a plain map of labels, and that nobody owns them.
"""

from __future__ import annotations

from typing import Any

from api.selectors import Selector, selector_from
from api.types.core_v1 import (
    ReplicationController,
    ReplicationControllerCondition,
    ReplicationControllerStatus,
)
from controller_manager.workloads.replicaset import ReplicaSetController


class ReplicationControllerController(ReplicaSetController):
    kind = ReplicationController
    condition_type = ReplicationControllerCondition
    status_type = ReplicationControllerStatus
    name = "replication"
    reports_terminating = False

    def selector(self, rs: Any) -> Selector:
        return selector_from(rs.spec.selector)
