"""Where the kubelet keeps what: upstream's directory layout below its root (`/var/lib/kubelet`).

pods/<uid>/etc-hosts                                   the pod's /etc/hosts
pods/<uid>/volumes/<plugin, escaped>/<volume>          one directory for each volume that the kubelet makes
pods/<uid>/volume-subpaths/<volume>/<container>/<n>    bind mounts of subPaths
pods/<uid>/containers/<container>/<id>                 termination messages
"""

from __future__ import annotations

import secrets
from pathlib import Path


class Layout:
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    def hosts(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def volumes(self, uid: str) -> Path:
        return self.pod(uid) / "volumes"

    def volume(self, uid: str, plugin: str, volume: str) -> Path:
        return self.volumes(uid) / plugin.replace("/", "~") / volume

    def sub_path(self, uid: str, volume: str, container: str, index: int) -> Path:
        return self.pod(uid) / "volume-subpaths" / volume / container / str(index)

    def new_termination_log(self, uid: str, container: str) -> Path:
        """A fresh, empty, world-writable file for one run of a container."""
        directory = self.pod(uid) / "containers" / container
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        path = directory / secrets.token_hex(4)
        path.touch()
        path.chmod(0o666)  # the container may run as anybody
        return path

    def known_pods(self) -> list[str]:
        """UIDs of every pod that has a directory."""
        return sorted(p.name for p in self.pods.iterdir() if p.is_dir()) if self.pods.is_dir() else []
