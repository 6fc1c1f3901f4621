"""Docker's create bodies from CRI's configurations. Pure: what dockerd is told, in one place, to be read and tested.

A sandbox is created with `NetworkDisabled`: it still gets a network namespace of its own (with `lo` up), but Docker
then leaves it alone, which halves the time of its start (no libnetwork hook, which runs all of dockerd's binary once
more). Its resolv.conf, hosts and hostname files are therefore not Docker's but mounts made here and by the kubelet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubelet.cri import ContainerConfig, Mount, Resources, SandboxConfig, SecurityConfig
from kubelet.runtime import capabilities
from kubelet.runtime.cgroups import ALL_DEVICES

# Upstream's containerLogMaxSize and containerLogMaxFiles.
LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}
SANDBOX_OOM_SCORE_ADJ = -998
DEFAULT_SHM_SIZE = 64 * 1024 * 1024  # bytes

Json = dict[str, Any]


def sandbox_body(config: SandboxConfig, *, image: str, labels: Mapping[str, str], granted: frozenset[str]) -> Json:
    host: Json = {
        "NetworkMode": "host" if config.host_network else "none",
        "PidMode": "host" if config.host_pid else "",
        "IpcMode": "host" if config.host_ipc else "shareable",
        "CgroupParent": config.cgroup_parent,
        "Sysctls": dict(config.sysctls),
        "LogConfig": {"Type": "none"},
        # Nothing but the image's own `catatonit -P` ever runs here, and it only waits: it needs no capability, and
        # compiling a seccomp filter for it would cost 10 ms of every pod's start.
        "CapDrop": ["ALL"],
        "SecurityOpt": ["seccomp=unconfined", "no-new-privileges"],
        "ReadonlyRootfs": True,
        "OomScoreAdj": capabilities.oom_score(SANDBOX_OOM_SCORE_ADJ, granted),
    }
    if config.runtime_handler:
        host["Runtime"] = config.runtime_handler
    if not config.host_ipc:
        host["ShmSize"] = config.shm_size or DEFAULT_SHM_SIZE
    body: Json = {
        "Image": image,
        "Labels": dict(labels),
        "HostConfig": host,
    }
    if not config.host_network:
        body["NetworkDisabled"] = True
        body["Hostname"] = config.hostname
    return body


def container_body(
    sandbox_id: str,
    sandbox: SandboxConfig,
    config: ContainerConfig,
    *,
    labels: Mapping[str, str],
    mounts: Sequence[Mount],
    granted: frozenset[str],
    device_rules: Sequence[str] = (ALL_DEVICES,),
    api_version: tuple[int, int] = (1, 41),
) -> Json:
    shared = f"container:{sandbox_id}"
    host: Json = {
        "NetworkMode": shared,
        "IpcMode": "host" if sandbox.host_ipc else shared,
        "PidMode": _pid_mode(shared, sandbox, config),
        "CgroupParent": sandbox.cgroup_parent,
        "LogConfig": LOG_CONFIG,
        "Mounts": [_mount(mount, api_version) for mount in mounts],
        "Devices": [
            {"PathOnHost": d.host_path, "PathInContainer": d.container_path, "CgroupPermissions": d.permissions}
            for d in config.devices
        ],
        **resources(config.resources, granted),
        **({"Runtime": sandbox.runtime_handler} if sandbox.runtime_handler else {}),
        **_security(config.security, _known_to_docker(granted, api_version), device_rules),
    }
    body: Json = {
        "Image": config.image_id,
        "Env": [f"{name}={value}" for name, value in config.env],
        "Labels": dict(labels),
        "OpenStdin": config.stdin,
        "StdinOnce": config.stdin_once,
        "Tty": config.tty,
        "User": config.security.user,
        "HostConfig": host,
    }
    if config.command:
        body["Entrypoint"] = list(config.command)
    if config.command or config.args:
        # Kubernetes' rule: a command without args runs without the image's CMD.
        body["Cmd"] = list(config.args)
    if config.working_dir:
        body["WorkingDir"] = config.working_dir
    if config.stop_signal:
        body["StopSignal"] = config.stop_signal
    # An image's HEALTHCHECK means nothing to Kubernetes.
    body["Healthcheck"] = {"Test": ["NONE"]}
    return body


def resources(limits: Resources, granted: frozenset[str]) -> Json:
    """The part of a HostConfig that is about limits; hugepages are not in Docker's API, see `cgroups`."""
    out: Json = {}
    if limits.cpu_shares is not None:
        out["CpuShares"] = limits.cpu_shares
    if limits.cpu_quota is not None:
        out["CpuQuota"] = limits.cpu_quota
        out["CpuPeriod"] = limits.cpu_period
    if limits.memory_limit is not None:
        out["Memory"] = limits.memory_limit
        out["MemorySwap"] = limits.memory_limit  # no swap on top
    if limits.pids_limit is not None:
        out["PidsLimit"] = limits.pids_limit
    if limits.oom_score_adj is not None:
        out["OomScoreAdj"] = capabilities.oom_score(limits.oom_score_adj, granted)
    return out


def _pid_mode(shared: str, sandbox: SandboxConfig, config: ContainerConfig) -> str:
    if config.target_container_id:
        return f"container:{config.target_container_id}"
    if sandbox.host_pid:
        return "host"
    return shared if sandbox.share_process_namespace else ""


def _mount(mount: Mount, api_version: tuple[int, int]) -> Json:
    # Private is Docker's default but for what holds its own directories (`/` of a node): it must choose there.
    options: Json = {} if mount.propagation == "rprivate" else {"Propagation": mount.propagation}
    if mount.read_only and api_version >= (1, 44):
        # From this version on Docker makes submounts read-only too unless told; Kubernetes' default is not to.
        options["ReadOnlyNonRecursive"] = True
    return {
        "Type": "bind",
        "Source": mount.host_path,
        "Target": mount.container_path,
        "ReadOnly": mount.read_only,
        "BindOptions": options,
    }


def _security(security: SecurityConfig, granted: frozenset[str], device_rules: Sequence[str]) -> Json:
    options: list[str] = []
    out: Json = {
        "GroupAdd": [str(group) for group in security.supplemental_groups],
        "ReadonlyRootfs": security.read_only_rootfs,
    }
    if security.privileged:
        out |= _privileged(granted, device_rules)
        options = ["seccomp=unconfined", "apparmor=unconfined", "label=disable"]
    else:
        out["CapAdd"] = capabilities.expand(security.add_capabilities, granted)
        out["CapDrop"] = sorted(capabilities.bare(name) for name in security.drop_capabilities)
        if security.seccomp_profile:
            options.append(f"seccomp={security.seccomp_profile}")
        if security.apparmor_profile:
            options.append(f"apparmor={security.apparmor_profile}")
        if security.masked_paths is not None:
            out["MaskedPaths"] = list(security.masked_paths)
        if security.readonly_paths is not None:
            out["ReadonlyPaths"] = list(security.readonly_paths)
    if security.no_new_privileges and not security.privileged:
        options.append("no-new-privileges")
    out["SecurityOpt"] = options
    return out


def _known_to_docker(granted: frozenset[str], api_version: tuple[int, int]) -> frozenset[str]:
    """Docker before 23 refuses the capabilities of Linux 5.8 and 5.9 by name."""
    return granted - {"PERFMON", "BPF", "CHECKPOINT_RESTORE"} if api_version < (1, 42) else granted


def _privileged(granted: frozenset[str], device_rules: Sequence[str]) -> Json:
    """Docker's privileged mode needs every capability; on a node that lacks one, all that the node has itself."""
    if capabilities.all_grantable(granted):
        return {"Privileged": True}
    return {
        "CapAdd": sorted(granted),
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "DeviceCgroupRules": list(device_rules),
        "Devices": [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in host_devices()
        ],
        "Binds": ["/sys:/sys:rw"],
    }


def host_devices(root: Path = Path("/dev")) -> list[str]:
    """The node's device files, as Docker gives them to privileged containers: no terminals, no file systems on /dev."""
    skipped = {"pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev", "hugepages"}
    found: list[str] = []
    for entry in sorted(root.iterdir()):
        if entry.name in skipped or entry.is_symlink():
            continue
        if entry.is_dir():
            found += host_devices(entry)
        elif entry.is_block_device() or entry.is_char_device():
            found.append(str(entry))
    return found
