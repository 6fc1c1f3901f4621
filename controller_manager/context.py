"""What every controller is given, and what every controller is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from client.api import Api
from client.batch import Batcher
from client.events import EventRecorder
from client.informer import Factory


class Runnable(Protocol):
    """A controller: made with a `Context` (it asks for its informers then), run once the informers have synced."""

    async def run(self) -> None: ...


@dataclass(frozen=True)
class Settings:
    """What the command line decides; upstream's defaults. Times in seconds."""

    cluster_cidr: str = ""
    node_cidr_mask_size: int = 24
    service_cidr: str = ""
    root_ca: str = ""  # PEM
    service_account_key_file: str = ""
    cluster_signing_cert_file: str = ""
    cluster_signing_key_file: str = ""
    cluster_signing_duration: float = 365 * 24 * 3600.0
    cluster_name: str = "kubernetes"
    legacy_token_clean_up_period: float = 365 * 24 * 3600.0
    node_monitor_period: float = 5.0
    node_monitor_grace_period: float = 40.0
    node_startup_grace_period: float = 60.0
    terminated_pod_gc_threshold: int = 12500
    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    unhealthy_zone_threshold: float = 0.55
    large_cluster_size_threshold: int = 50
    hpa_sync_period: float = 15.0
    hpa_downscale_stabilization: float = 300.0
    hpa_tolerance: float = 0.1
    hpa_cpu_initialization_period: float = 300.0
    hpa_initial_readiness_delay: float = 30.0
    local_volume_root: str = "/var/lib/kubelet/local-volumes"
    local_volume_image: str = ""
    load_balancer_pool: str = ""


@dataclass
class Context:
    """One per process."""

    api: Api
    informers: Factory
    settings: Settings = field(default_factory=Settings)
    batcher: Batcher = field(init=False)
    _recorders: dict[str, EventRecorder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batcher = Batcher(self.api)

    def recorder(self, component: str) -> EventRecorder:
        """Records events as `deployment-controller` and the like."""
        if component not in self._recorders:
            self._recorders[component] = EventRecorder(self.api, component)
        return self._recorders[component]

    @classmethod
    def of(cls, api: Api, **settings: Any) -> Context:
        """A context of its own for one API, as tests want it."""
        return cls(api, Factory(api, compact=True), Settings(**settings))
