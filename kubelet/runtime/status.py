"""CRI's statuses from Docker's JSON. Pure functions over what `list` and `inspect` answer.

A sandbox needs no inspect: its labels and the list's state say everything. A container needs one for its times and its
end, which `docker.py` keeps for as long as the state in the list stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubelet.cri import ContainerStatus, ImageStatus, LinuxUser, SandboxStatus, State
from kubelet.runtime import image_name, labels, timestamps

_STATES = {
    "created": State.CREATED,
    "running": State.RUNNING,
    "paused": State.RUNNING,
    "restarting": State.RUNNING,
}


def state_of(value: str) -> State:
    """Docker's `exited`, `dead` and `removing` have all ended."""
    return _STATES.get(value, State.EXITED)


def sandbox_status(entry: Mapping[str, Any]) -> SandboxStatus:
    """From one entry of the container list."""
    own: Mapping[str, str] = entry["Labels"]
    address = own.get(labels.POD_IP, "")
    return SandboxStatus(
        id=entry["Id"],
        namespace=own[labels.POD_NAMESPACE],
        name=own[labels.POD_NAME],
        uid=own[labels.POD_UID],
        attempt=labels.attempt(own),
        state=state_of(entry["State"]),
        created_at=own.get(labels.CREATED_AT) or timestamps.from_seconds(entry["Created"]),
        ips=(address,) if address else (),
        host_network=own.get(labels.HOST_NETWORK) == "true",
        labels=labels.user_labels(own),
        annotations=labels.annotations_of(own),
    )


def container_status(
    inspected: Mapping[str, Any],
    *,
    image: ImageStatus | None = None,
    oom_killed: bool = False,
    user: LinuxUser | None = None,
) -> ContainerStatus:
    """From an inspect. `oom_killed`: the cgroup saw a kill that Docker did not report."""
    own: Mapping[str, str] = inspected["Config"].get("Labels") or {}
    raw = inspected["State"]
    state = state_of(raw["Status"])
    created_at = timestamps.fixed(inspected["Created"])
    started_at, finished_at = timestamps.fixed(raw["StartedAt"]), timestamps.fixed(raw["FinishedAt"])
    exit_code, reason, message = int(raw["ExitCode"]), "", ""
    if state is State.CREATED and (exit_code != 0 or raw.get("Error")):
        # Docker leaves a container that could not be started in the state "created".
        state, reason, message = State.EXITED, "ContainerCannotRun", raw.get("Error", "")
        started_at = finished_at = created_at
    elif state is State.EXITED:
        message = raw.get("Error", "")
        if raw.get("OOMKilled") or (oom_killed and exit_code != 0):
            reason = "OOMKilled"
        elif not started_at:
            reason, started_at = "ContainerCannotRun", created_at
            exit_code = exit_code or 128
        else:
            reason = "Completed" if exit_code == 0 else "Error"
        # Docker notes the start when its call returns; what ended at once has then ended before.
        finished_at = max(finished_at, started_at)
    else:
        finished_at, exit_code = "", 0
    name, image_ref = image_names(own.get(labels.IMAGE, ""), inspected, image)
    return ContainerStatus(
        id=inspected["Id"],
        sandbox_id=own.get(labels.SANDBOX_ID, ""),
        pod_uid=own.get(labels.POD_UID, ""),
        name=own.get(labels.CONTAINER_NAME, ""),
        attempt=labels.attempt(own),
        state=state,
        created_at=created_at,
        started_at=started_at,
        finished_at=finished_at,
        exit_code=exit_code,
        reason=reason,
        message=message,
        image=name,
        image_id=image_ref,
        labels=labels.user_labels(own),
        annotations=labels.annotations_of(own),
        user=user,
    )


def linux_user(proc_status: Path) -> LinuxUser | None:
    """From a process' `/proc/<pid>/status` (proc(5)); None if it has ended."""
    try:
        fields = dict(line.split(":", 1) for line in proc_status.read_text().splitlines())
    except OSError:
        return None
    uid, gid = int(fields["Uid"].split()[0]), int(fields["Gid"].split()[0])
    # Upstream's runtimes show the primary group among the others.
    groups = dict.fromkeys((gid, *map(int, fields.get("Groups", "").split())))
    return LinuxUser(uid, gid, tuple(sorted(groups)))


def image_names(asked: str, inspected: Mapping[str, Any], image: ImageStatus | None) -> tuple[str, str]:
    """What `image` and `imageID` of a container status show: names with registry, and the digest where there is one."""
    name = image_name.normalize_known(asked or inspected["Config"]["Image"])
    image_ref = str(inspected["Image"])
    if image is not None:
        if image.repo_digests:
            own = name.partition("@")[0].rpartition(":")[0] or name
            image_ref = next((d for d in image.repo_digests if d.startswith(f"{own}@")), image.repo_digests[0])
        if ("@" in name or name.startswith("sha256:")) and image.repo_tags:
            name = image.repo_tags[0]
    return name, image_ref


def image_status(inspected: Mapping[str, Any]) -> ImageStatus:
    return ImageStatus(
        id=inspected["Id"],
        repo_tags=tuple(image_name.normalize_known(tag) for tag in inspected.get("RepoTags") or ()),
        repo_digests=tuple(image_name.normalize_known(digest) for digest in inspected.get("RepoDigests") or ()),
        size=int(inspected.get("Size", 0)),
        user=str((inspected.get("Config") or {}).get("User") or ""),
    )
