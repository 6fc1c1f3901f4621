"""What pod workers share: one of each per kubelet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from api.quantity import Quantity
from api.types.core_v1 import Pod
from client import Api
from client.events import EventRecorder
from kubelet.backoff import Backoff
from kubelet.config import Config
from kubelet.containers import ContainerFactory
from kubelet.cri import Runtime
from kubelet.images import Images
from kubelet.layout import Layout
from kubelet.objects import Objects
from kubelet.probes.prober import Prober
from kubelet.status_manager import StatusManager
from kubelet.tokens import Tokens
from kubelet.volumes.image import ImageVolumes
from kubelet.volumes.manager import VolumeManager

CRASH_INITIAL, CRASH_MAXIMUM = 10.0, 300.0  # seconds between restarts of a container that keeps ending


@dataclass(slots=True)
class Services:
    config: Config
    api: Api
    runtime: Runtime
    layout: Layout
    recorder: EventRecorder
    statuses: StatusManager
    images: Images
    objects: Objects
    tokens: Tokens
    volumes: VolumeManager
    image_volumes: ImageVolumes
    prober: Prober
    containers: ContainerFactory
    allocatable: Callable[[], Mapping[str, Quantity]]
    neighbours: Callable[[str], list[Pod]]  # pods of the node that have not ended, but for the one of this UID
    # Counted from when a container ended, which the runtime tells in wall-clock time.
    crashes: Backoff = field(default_factory=lambda: Backoff(CRASH_INITIAL, CRASH_MAXIMUM, time.time))
