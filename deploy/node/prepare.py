"""Turns a plain container (no `privileged`, but all capabilities) into something a container engine can run in.

Docker mounts /sys, /proc/sys and the cgroups read-only for such a container; with CAP_SYS_ADMIN they can be made
writable again. On cgroup v1 each hierarchy shows the container its own part; on v2 processes must move out of the root
before controllers can be handed down (the "no internal processes" rule, kernel's cgroup-v2.rst).
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

log = logging.getLogger("node")

CGROUPS = Path("/sys/fs/cgroup")
RELAY_ADDRESS = "169.254.1.53"
"""Where pods reach the node's resolver: link-local, so in no one's way, on every node alike."""

STALE = ("docker", "docker.pid", "docker.sock", "containerd", "netns", "pykube")
"""What a previous boot may have left in /run, where that is not a fresh tmpfs."""


def mount(*arguments: str) -> bool:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        log.warning("mount %s: %s", " ".join(arguments), done.stderr.strip())
    return done.returncode == 0


def mounts() -> None:
    """Makes the kernel's file systems writable and lets mounts made here reach pods."""
    mount("--make-rshared", "/")
    # The file system (sysfs of this network namespace) is read-only as well as its mount; privileged pods need both.
    mount("-o", "remount,rw", "/sys")
    mount("-o", "remount,bind,rw", "/sys")
    mount("-o", "remount,bind,rw", "/proc/sys")


def clean() -> None:
    """Removes a previous boot's pid files, sockets and network namespaces."""
    for name in STALE:
        path = Path("/run", name)
        if path.is_dir() and not path.is_symlink():
            for entry in path.rglob("*"):
                if entry.is_mount():
                    subprocess.run(["umount", "-l", entry], capture_output=True)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def cgroup_version() -> int:
    return 2 if (CGROUPS / "cgroup.controllers").exists() else 1


def cgroups() -> None:
    if cgroup_version() == 2:
        mount("-o", "remount,bind,rw", str(CGROUPS))
        delegate(CGROUPS)
    else:
        for folder in hierarchies(Path("/proc/self/mountinfo").read_text()):
            mount("-o", "remount,bind,rw", folder)


def hierarchies(mountinfo: str) -> list[str]:
    """The mount points of cgroup hierarchies in a mountinfo (proc(5)): field 5, the type after the separator."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ", 1)[0] in ("cgroup", "cgroup2"):
            found.append(before.split(" ")[4])
    return found


def delegate(root: Path) -> None:
    """cgroup v2: moves every process into a leaf, then hands all controllers down to the children."""
    leaf = root / "init"
    leaf.mkdir(exist_ok=True)
    for pid in (root / "cgroup.procs").read_text().split():
        try:
            (leaf / "cgroup.procs").write_text(pid)
        except ProcessLookupError:
            continue  # it ended meanwhile
        except OSError as error:
            log.warning("moving process %s to %s: %s", pid, leaf, error)
    for controller in (root / "cgroup.controllers").read_text().split():
        try:
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            log.warning("delegating the %s controller: %s", controller, error)


def sysctls() -> None:
    """A node is a router; the pods' side of it is set up by kubelet and proxy."""
    for name, value in {"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0"}.items():
        try:
            Path("/proc/sys", name).write_text(value)
        except OSError as error:
            log.warning("sysctl %s=%s: %s", name.replace("/", "."), value, error)


def nameservers(resolv_conf: str) -> list[str]:
    lines = (line.split() for line in resolv_conf.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def loopback_resolver(resolv_conf: str) -> str | None:
    """The first server, if it is one that pods cannot reach."""
    servers = nameservers(resolv_conf)
    return servers[0] if servers and servers[0].startswith(("127.", "::1")) else None


def pods_resolv_conf(resolv_conf: str) -> str:
    """The node's resolv.conf as pods may use it: a loopback server is replaced by the relay in front of it.

    Docker's own server sits at 127.0.0.11 inside the node's network namespace, where no pod is. Its `ndots:0` goes.
    """
    if loopback_resolver(resolv_conf) is None:
        return resolv_conf
    kept = [line for line in resolv_conf.splitlines() if line.startswith(("search ", "domain "))]
    return "\n".join([f"nameserver {RELAY_ADDRESS}", *kept]) + "\n"


def relay_address() -> None:
    subprocess.run(["ip", "address", "replace", f"{RELAY_ADDRESS}/32", "dev", "lo"], check=True)
