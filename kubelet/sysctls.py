"""Which kernel settings a pod may ask for: those that touch nobody else, and those that the node's owner allows.

Source: https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster; reasons and messages are upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.types.core_v1 import Pod
from kubelet import podutil
from kubelet.admission import Refusal

SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
_IPC = ("kernel.shm", "kernel.msg", "fs.mqueue.")


class Sysctls:
    def __init__(self, unsafe: Sequence[str] = ()) -> None:
        """`unsafe`: further names that are allowed, or prefixes that end in `*`."""
        self._allowed = (*SAFE, *(normal(name) for name in unsafe))

    def refuse(self, pod: Pod) -> Refusal | None:
        security = pod.spec.security_context
        for sysctl in (security.sysctls if security else None) or ():
            if problem := self._problem(normal(sysctl.name), pod):
                return Refusal("SysctlForbidden", f"forbidden sysctl: {problem}")
        return None

    def _problem(self, name: str, pod: Pod) -> str:
        if not any(name == known or (known.endswith("*") and name.startswith(known[:-1])) for known in self._allowed):
            return f'"{name}" not allowlisted'
        if podutil.is_host_network(pod) and name.startswith("net."):
            return f'"{name}" not allowed with host net enabled'
        if pod.spec.host_ipc and (name == "kernel.sem" or name.startswith(_IPC)):
            return f'"{name}" not allowed with host ipc enabled'
        return ""


def normal(name: str) -> str:
    """With dots between its parts: `net/ipv4/conf/eth0.1/x` is another way to write `net.ipv4.conf.eth0/1.x`."""
    first = next((c for c in name if c in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("./", "/."))
