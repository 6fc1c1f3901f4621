"""The directory of a volume whose files follow the API: made, given to the pod's group, filled.

configMap, secret, projected and downwardAPI volumes differ in what they show, not in where. The whole directory belongs
to the pod's fsGroup, its root with the setgid bit included, so that what is linked there later belongs to it too; a
policy of changing only on mismatch is for volumes that outlive a pod, and does not apply.
"""

from __future__ import annotations

import stat
from pathlib import Path

from api.types.core_v1 import Pod
from kubelet import mounts
from kubelet.volumes import atomic_writer
from kubelet.volumes.atomic_writer import Payload
from kubelet.volumes.ownership import apply_fs_group

MODE = 0o777


def show(pod: Pod, path: Path, files: Payload, *, in_memory: bool) -> None:
    """Make `path` show exactly `files`; `in_memory` if they must never reach the disk. Raises OSError, ValueError."""
    made = not path.exists()
    path.mkdir(mode=MODE, parents=True, exist_ok=True)
    if in_memory and not mounts.is_mount_point(path):
        mounts.mount("tmpfs", path, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV)
        made = True
    found = path.stat().st_mode
    if made or found & MODE != MODE:
        path.chmod(stat.S_IMODE(found) | MODE)  # the umask must not weigh in, and a tmpfs keeps its sticky bit
        apply_fs_group(pod, path)
    atomic_writer.write(path, files, lambda _: apply_fs_group(pod, path, read_only=True))
