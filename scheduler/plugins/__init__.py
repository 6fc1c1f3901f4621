"""The scheduling plugins, one a file, in upstream's order of filters.

May not live here: anything that talks to the apiserver; plugins see `NodeTable`, `PodInfo` and `Volumes` only.
"""

from __future__ import annotations

from scheduler.framework import Plugin
from scheduler.plugins.image_locality import ImageLocality
from scheduler.plugins.inter_pod_affinity import InterPodAffinity
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_ports import NodePorts
from scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from scheduler.plugins.node_resources_fit import NodeResourcesFit
from scheduler.plugins.node_unschedulable import NodeUnschedulable
from scheduler.plugins.pod_topology_spread import DefaultSelector, PodTopologySpread
from scheduler.plugins.taint_toleration import TaintToleration
from scheduler.plugins.volume_binding import VolumeBinding
from scheduler.plugins.volume_restrictions import VolumeRestrictions
from scheduler.plugins.volume_zone import VolumeZone
from scheduler.volumes import Volumes


def default_plugins(default_selector: DefaultSelector, volumes: Volumes) -> list[Plugin]:
    return [
        NodeUnschedulable(),
        TaintToleration(),
        NodeAffinity(),
        NodePorts(),
        NodeResourcesFit(),
        VolumeRestrictions(volumes),
        VolumeBinding(volumes),
        VolumeZone(volumes),
        PodTopologySpread(default_selector),
        InterPodAffinity(),
        NodeResourcesBalancedAllocation(),
        ImageLocality(),
    ]
