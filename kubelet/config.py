"""What a kubelet is told when it starts: the values of its flags, under upstream's names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from api.types.core_v1 import Taint


@dataclass(frozen=True, slots=True)
class Config:
    """Durations are seconds."""

    node_name: str
    node_ip: str
    root_dir: Path = Path("/var/lib/kubelet")
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: str = "/etc/resolv.conf"
    max_pods: int = 110
    grpc_port: int = 10250
    node_labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    static_pod_path: Path | None = None
    system_reserved: dict[str, str] = field(default_factory=dict)  # resource -> quantity
    kube_reserved: dict[str, str] = field(default_factory=dict)
    eviction_hard: dict[str, str] = field(
        default_factory=lambda: {
            "memory.available": "100Mi",
            "nodefs.available": "10%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "15%",
        }
    )
    image_gc_high_threshold: int = 85  # percent of the image file system
    image_gc_low_threshold: int = 80
    allowed_unsafe_sysctls: tuple[str, ...] = ()  # names, or prefixes that end in *
    shutdown_grace_period: float = 0.0
    shutdown_grace_period_critical_pods: float = 0.0
