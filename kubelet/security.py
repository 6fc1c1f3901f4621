"""Pod and container security context to what the runtime takes."""

from __future__ import annotations

from pathlib import Path

from api.types.core_v1 import Pod, SeccompProfile
from kubelet import podutil
from kubelet.cri import ImageStatus, SecurityConfig
from kubelet.environment import ConfigError
from kubelet.podutil import AnyContainer


def effective_user(pod: Pod, container: AnyContainer) -> tuple[int | None, int | None]:
    """(runAsUser, runAsGroup): the container's, else the pod's."""
    own, shared = container.security_context, pod.spec.security_context
    user = own.run_as_user if own and own.run_as_user is not None else (shared.run_as_user if shared else None)
    group = own.run_as_group if own and own.run_as_group is not None else (shared.run_as_group if shared else None)
    return user, group


def _non_root(pod: Pod, container: AnyContainer) -> bool:
    own, shared = container.security_context, pod.spec.security_context
    if own and own.run_as_non_root is not None:
        return own.run_as_non_root
    return bool(shared and shared.run_as_non_root)


def verify_non_root(pod: Pod, container: AnyContainer, image: ImageStatus) -> None:
    """Raises ConfigError if the container says `runAsNonRoot` and would run, or might run, as root."""
    if not _non_root(pod, container):
        return
    user, _ = effective_user(pod, container)
    where = f'(pod: "{podutil.describe(pod)}", container: {container.name})'
    if user is not None:
        if user == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    image_user = image.user.split(":")[0]
    if image_user in ("", "0"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not image_user.isdigit():
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image_user}), "
            f"cannot verify user is non-root {where}"
        )


def security_config(pod: Pod, container: AnyContainer, image: ImageStatus, root: Path) -> SecurityConfig:
    """`root` is the kubelet's directory, below which `seccomp/` holds Localhost profiles. Raises ConfigError."""
    verify_non_root(pod, container, image)
    own, shared = container.security_context, pod.spec.security_context
    user, group = effective_user(pod, container)
    spelled = ""
    if user is not None or group is not None:
        base = str(user) if user is not None else (image.user.split(":")[0] or "0")
        spelled = base if group is None else f"{base}:{group}"
    groups: list[int] = []
    if shared:
        groups += shared.supplemental_groups or []
        if shared.fs_group is not None:
            groups.append(shared.fs_group)
    privileged = bool(own and own.privileged)
    added = tuple((own.capabilities.add or ()) if own and own.capabilities else ())
    dropped = tuple((own.capabilities.drop or ()) if own and own.capabilities else ())
    unmasked = privileged or bool(own and own.proc_mount == "Unmasked")
    return SecurityConfig(
        user=spelled,
        supplemental_groups=tuple(dict.fromkeys(groups)),
        privileged=privileged,
        read_only_rootfs=bool(own and own.read_only_root_filesystem),
        no_new_privileges=bool(own and own.allow_privilege_escalation is False),
        add_capabilities=added,
        drop_capabilities=dropped,
        seccomp_profile="unconfined" if privileged else _seccomp(pod, container, root),
        apparmor_profile=_apparmor(pod, container),
        masked_paths=() if unmasked else None,
        readonly_paths=() if unmasked else None,
    )


def _seccomp(pod: Pod, container: AnyContainer, root: Path) -> str:
    own, shared = container.security_context, pod.spec.security_context
    profile: SeccompProfile | None = own.seccomp_profile if own else None
    profile = profile or (shared.seccomp_profile if shared else None)
    if profile is None or profile.type == "Unconfined":
        return "unconfined"
    if profile.type == "RuntimeDefault":
        return ""
    path = root / "seccomp" / (profile.localhost_profile or "")
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f'cannot load seccomp profile "{path}": {error.strerror}') from None


def _apparmor(pod: Pod, container: AnyContainer) -> str:
    own, shared = container.security_context, pod.spec.security_context
    profile = (own.app_armor_profile if own else None) or (shared.app_armor_profile if shared else None)
    if profile is None or profile.type == "RuntimeDefault":
        return ""
    return "unconfined" if profile.type == "Unconfined" else (profile.localhost_profile or "")
