"""The Pod Security Standards: what the levels `baseline` and `restricted` forbid a pod.

Each check answers a reason and a detail in upstream's words (k8s.io/pod-security-admission/policy), or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from api.types.core_v1 import Container, EphemeralContainer, PodSpec, SecurityContext, Volume

Violation = tuple[str, str]
AnyContainer = Container | EphemeralContainer
Check = Callable[[PodSpec, dict[str, str]], Violation | None]

_BASELINE_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
})  # fmt: skip
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_RESTRICTED_VOLUMES = frozenset({
    "config_map", "csi", "downward_api", "empty_dir", "ephemeral", "persistent_volume_claim", "projected", "secret",
    "image",
})  # fmt: skip
_APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"


def _containers(spec: PodSpec) -> Iterator[AnyContainer]:
    yield from spec.init_containers or ()
    yield from spec.containers
    yield from spec.ephemeral_containers or ()


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _plural(word: str, names: list[str]) -> str:
    return word if len(names) == 1 else f"{word}s"


def _which(names: list[str], word: str = "container") -> str:
    return f"{_plural(word, names)} {_quoted(names)}"


# -- baseline ---------------------------------------------------------------------------------------------------------


def _app_armor(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    found = []
    if spec.security_context is not None and _unconfined(spec.security_context.app_armor_profile):
        found.append('pod must not set AppArmor profile type to "Unconfined"')
    bad = [
        c.name for c in _containers(spec) if c.security_context and _unconfined(c.security_context.app_armor_profile)
    ]
    if bad:
        found.append(f'{_which(bad)} must not set AppArmor profile type to "Unconfined"')
    marked = sorted(
        f'{key}="{value}"'
        for key, value in annotations.items()
        if key.startswith(_APPARMOR_PREFIX)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if marked:
        found.append(f"{_plural('annotation', marked)} {', '.join(marked)}")
    return (f"forbidden AppArmor {_plural('profile', found)}", "; ".join(found)) if found else None


def _unconfined(profile: object) -> bool:
    return getattr(profile, "type", None) == "Unconfined"


def _capabilities(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad, added = [], set()
    for container in _containers(spec):
        forbidden = set(_added(container)) - _BASELINE_CAPABILITIES
        if forbidden:
            bad.append(container.name)
            added |= forbidden
    if not bad:
        return None
    listed = _quoted(sorted(added))
    return "non-default capabilities", f"{_which(bad)} must not include {listed} in securityContext.capabilities.add"


def _added(container: AnyContainer) -> list[str]:
    context = container.security_context
    return (context.capabilities.add or []) if context is not None and context.capabilities is not None else []


def _host_namespaces(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    used = [
        f"{name}=true"
        for name, value in (("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc))
        if value
    ]
    return ("host namespaces", ", ".join(used)) if used else None


def _host_paths(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad = [v.name for v in spec.volumes or () if v.host_path is not None]
    return ("hostPath volumes", _which(bad, "volume")) if bad else None


def _host_ports(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad, ports = [], []
    for container in _containers(spec):
        used = [str(port.host_port) for port in container.ports or () if port.host_port]
        if used:
            bad.append(container.name)
            ports += [port for port in used if port not in ports]
    if not bad:
        return None
    verb = "uses" if len(bad) == 1 else "use"
    word = _plural("hostPort", ports)
    return "hostPort", f"{_which(bad)} {verb} {word} {', '.join(sorted(ports, key=int))}"


def _privileged(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad = [c.name for c in _containers(spec) if c.security_context is not None and c.security_context.privileged]
    return ("privileged", f"{_which(bad)} must not set securityContext.privileged=true") if bad else None


def _proc_mount(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad, types = [], set()
    for container in _containers(spec):
        context = container.security_context
        if context is not None and context.proc_mount not in (None, "", "Default"):
            bad.append(container.name)
            types.add(context.proc_mount or "")
    if not bad:
        return None
    return "procMount", f"{_which(bad)} must not set securityContext.procMount to {_quoted(sorted(types))}"


def _se_linux(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    setters, types, user, role = [], set(), False, False
    candidates = [("pod", spec.security_context)] + [(c.name, c.security_context) for c in _containers(spec)]
    bad_containers = []
    for name, context in candidates:
        options = context.se_linux_options if context is not None else None
        if options is None:
            continue
        wrong = (options.type or "") not in _SELINUX_TYPES or options.user or options.role
        if not wrong:
            continue
        if (options.type or "") not in _SELINUX_TYPES:
            types.add(options.type or "")
        user, role = user or bool(options.user), role or bool(options.role)
        if context is spec.security_context:
            setters.append("pod")
        else:
            bad_containers.append(name)
    if bad_containers:
        setters.append(_which(bad_containers))
    if not setters:
        return None
    data = []
    if types:
        data.append(f"{_plural('type', sorted(types))} {_quoted(sorted(types))}")
    if user:
        data.append("user may not be set")
    if role:
        data.append("role may not be set")
    detail = f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
    return "seLinuxOptions", detail


def _seccomp_baseline(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    found = []
    if spec.security_context is not None and _unconfined(spec.security_context.seccomp_profile):
        found.append('pod must not set securityContext.seccompProfile.type to "Unconfined"')
    bad = [c.name for c in _containers(spec) if c.security_context and _unconfined(c.security_context.seccomp_profile)]
    if bad:
        found.append(f'{_which(bad)} must not set securityContext.seccompProfile.type to "Unconfined"')
    return ("seccompProfile", "; ".join(found)) if found else None


def _sysctls(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    context = spec.security_context
    bad = [s.name for s in context.sysctls or () if s.name not in _SYSCTLS] if context is not None else []
    return ("forbidden sysctls", ", ".join(bad)) if bad else None


def _host_process(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    found = []
    pod = spec.security_context
    if pod is not None and pod.windows_options is not None and pod.windows_options.host_process:
        found.append("pod")
    bad = [c.name for c in _containers(spec) if _runs_as_host(c.security_context)]
    if bad:
        found.append(_which(bad))
    if not found:
        return None
    detail = f"{' and '.join(found)} must not set securityContext.windowsOptions.hostProcess=true"
    return "hostProcess", detail


def _runs_as_host(context: SecurityContext | None) -> bool:
    return context is not None and context.windows_options is not None and bool(context.windows_options.host_process)


def _probe_hosts(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad, hosts = [], set()
    for container in _containers(spec):
        handlers: list[object] = [container.liveness_probe, container.readiness_probe, container.startup_probe]
        if container.lifecycle is not None:
            handlers += [container.lifecycle.post_start, container.lifecycle.pre_stop]
        used = set()
        for handler in handlers:
            for action in (getattr(handler, "http_get", None), getattr(handler, "tcp_socket", None)):
                if action is not None and action.host:
                    used.add(action.host)
        if used:
            bad.append(container.name)
            hosts |= used
    if not bad:
        return None
    verb = "uses" if len(bad) == 1 else "use"
    return "probe or lifecycle host", f"{_which(bad)} {verb} probe or lifecycle host {_quoted(sorted(hosts))}"


# -- restricted -------------------------------------------------------------------------------------------------------


def _escalation(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad = [
        c.name
        for c in _containers(spec)
        if c.security_context is None or c.security_context.allow_privilege_escalation is not False
    ]
    if not bad:
        return None
    detail = f"{_which(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return "allowPrivilegeEscalation != false", detail


def _capabilities_restricted(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    missing, adding, added = [], [], set()
    for container in _containers(spec):
        context = container.security_context
        dropped = (context.capabilities.drop or []) if context is not None and context.capabilities is not None else []
        if "ALL" not in dropped:
            missing.append(container.name)
        forbidden = set(_added(container)) - {"NET_BIND_SERVICE"}
        if forbidden:
            adding.append(container.name)
            added |= forbidden
    found = []
    if missing:
        found.append(f'{_which(missing)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        listed = _quoted(sorted(added))
        found.append(f"{_which(adding)} must not include {listed} in securityContext.capabilities.add")
    return ("unrestricted capabilities", "; ".join(found)) if found else None


def _volume_types(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    bad, types = [], set()
    for volume in spec.volumes or ():
        used = _volume_type(volume)
        if used:
            bad.append(volume.name)
            types.add(used)
    if not bad:
        return None
    verb = "uses" if len(bad) == 1 else "use"
    word = _plural("type", sorted(types))
    return (
        "restricted volume types",
        f"{_which(bad, 'volume')} {verb} restricted volume {word} {_quoted(sorted(types))}",
    )


def _volume_type(volume: Volume) -> str:
    from apiserver.validation.pod_volumes import SOURCES

    for attribute, name in SOURCES.items():
        if getattr(volume, attribute) is not None and attribute not in _RESTRICTED_VOLUMES:
            return name
    return ""


def _non_root(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    found = []
    pod = spec.security_context.run_as_non_root if spec.security_context is not None else None
    if pod is False:
        found.append("pod must not set securityContext.runAsNonRoot=false")
    explicit, implicit = [], []
    for container in _containers(spec):
        own = container.security_context.run_as_non_root if container.security_context is not None else None
        if own is False:
            explicit.append(container.name)
        elif own is None and pod is None:
            implicit.append(container.name)
    if explicit:
        found.append(f"{_which(explicit)} must not set securityContext.runAsNonRoot=false")
    if implicit:
        found.append(f"pod or {_which(implicit)} must set securityContext.runAsNonRoot=true")
    return ("runAsNonRoot != true", "; ".join(found)) if found else None


def _run_as_user(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    found = []
    if spec.security_context is not None and spec.security_context.run_as_user == 0:
        found.append("pod must not set runAsUser=0")
    bad = [c.name for c in _containers(spec) if c.security_context is not None and c.security_context.run_as_user == 0]
    if bad:
        found.append(f"{_which(bad)} must not set runAsUser=0")
    return ("runAsUser=0", "; ".join(found)) if found else None


def _seccomp_restricted(spec: PodSpec, annotations: dict[str, str]) -> Violation | None:
    found = []
    pod = spec.security_context.seccomp_profile if spec.security_context is not None else None
    good = ("RuntimeDefault", "Localhost")
    if pod is not None and pod.type not in good:
        found.append(f'pod must not set securityContext.seccompProfile.type to "{pod.type}"')
    explicit, implicit, types = [], [], set()
    for container in _containers(spec):
        own = container.security_context.seccomp_profile if container.security_context is not None else None
        if own is not None:
            if own.type not in good:
                explicit.append(container.name)
                types.add(own.type)
        elif pod is None:
            implicit.append(container.name)
    if explicit:
        listed = _quoted(sorted(types))
        found.append(f"{_which(explicit)} must not set securityContext.seccompProfile.type to {listed}")
    if implicit:
        wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        found.append(f"pod or {_which(implicit)} {wanted}")
    return ("seccompProfile", "; ".join(found)) if found else None


_BASELINE: tuple[Check, ...] = (
    _app_armor, _capabilities, _host_namespaces, _host_paths, _host_ports, _probe_hosts, _privileged, _proc_mount,
    _se_linux, _seccomp_baseline, _sysctls, _host_process,
)  # fmt: skip
#: Three of the baseline's checks are overridden by stricter ones.
_RESTRICTED: tuple[Check, ...] = (
    _app_armor, _host_namespaces, _host_ports, _probe_hosts, _privileged, _proc_mount, _se_linux, _sysctls,
    _host_process, _escalation, _capabilities_restricted, _volume_types, _non_root, _run_as_user, _seccomp_restricted,
)  # fmt: skip
_LEVELS: dict[str, tuple[Check, ...]] = {"privileged": (), "baseline": _BASELINE, "restricted": _RESTRICTED}
LEVELS = ("privileged", "baseline", "restricted")


def violations(level: str, spec: PodSpec, annotations: dict[str, str]) -> str:
    """Everything that a level forbids of this pod, as errors list it; empty if it is allowed."""
    found = [result for check in _LEVELS[level] if (result := check(spec, annotations)) is not None]
    return ", ".join(f"{reason} ({detail})" for reason, detail in found)
