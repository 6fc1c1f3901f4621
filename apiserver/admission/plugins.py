"""The admission plugins of this server, in upstream's order."""

from __future__ import annotations

from apiserver.admission import AdmissionPlugin
from apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.admission.priority import Priority
from apiserver.admission.service_account import ServiceAccountAdmission
from apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from apiserver.registry import Registry


def plugins(registry: Registry) -> list[AdmissionPlugin]:
    return [
        NamespaceLifecycle(),
        ServiceAccountAdmission(),
        NodeRestriction(),
        TaintNodesByCondition(),
        Priority(),
        DefaultTolerationSeconds(),
    ]
