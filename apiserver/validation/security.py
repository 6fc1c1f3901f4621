"""Security contexts of pods and containers."""

from __future__ import annotations

import re

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.validation.names import in_range

_MAX_ID = 2**31 - 1
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"^({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}$"
_is_sysctl = re.compile(_SYSCTL).match
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def identity(value: int | None, path: Path) -> list[FieldError]:
    """A user or group id."""
    if value is None or 0 <= value <= _MAX_ID:
        return []
    return [FieldError.invalid(path, value, in_range(0, _MAX_ID))]


def pod_security_context(context: core_v1.PodSecurityContext, spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, value in (
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ):
        if value is not None:
            errors += identity(value, path.child(field))
    for index, group in enumerate(context.supplemental_groups or ()):
        errors += identity(group, path.child("supplementalGroups").index(index))
    if context.sysctls:
        errors += _sysctls(context.sysctls, spec, path.child("sysctls"))
    if context.fs_group_change_policy is not None:
        errors += _choice(context.fs_group_change_policy, ("Always", "OnRootMismatch"), path, "fsGroupChangePolicy")
    if context.supplemental_groups_policy is not None:
        errors += _choice(context.supplemental_groups_policy, ("Merge", "Strict"), path, "supplementalGroupsPolicy")
    if context.se_linux_change_policy is not None:
        errors += _choice(context.se_linux_change_policy, ("MountOption", "Recursive"), path, "seLinuxChangePolicy")
    if context.seccomp_profile is not None:
        errors += _seccomp(context.seccomp_profile, path.child("seccompProfile"))
    if context.app_armor_profile is not None:
        errors += _app_armor(context.app_armor_profile, path.child("appArmorProfile"))
    return errors


def _choice(value: str, valid: tuple[str, ...], path: Path, field: str) -> list[FieldError]:
    return [] if value in valid else [FieldError.not_supported(path.child(field), value, valid)]


def _sysctls(sysctls: list[core_v1.Sysctl], spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        at = path.index(index).child("name")
        name = sysctl.name
        if not name:
            errors.append(FieldError.required(at))
        elif len(name) > 253 or not _is_sysctl(name):
            detail = f"must have at most 253 characters and match regex {_SYSCTL}"
            errors.append(FieldError.invalid(at, name, detail))
        elif name in seen:
            errors.append(FieldError.duplicate(at, name))
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.host_network and dotted.startswith("net."):
            errors.append(FieldError.invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        ipc = dotted.startswith(("kernel.shm", "kernel.msg", "fs.mqueue.")) or dotted == "kernel.sem"
        if spec.host_ipc and ipc:
            errors.append(FieldError.invalid(at, name, "may not be specified when 'hostIPC' is true"))
    return errors


def _seccomp(profile: core_v1.SeccompProfile, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if profile.type == "Localhost":
        if not profile.localhost_profile:
            detail = "must be set when seccomp type is Localhost"
            errors.append(FieldError.required(path.child("localhostProfile"), detail))
        elif profile.localhost_profile.startswith("/") or ".." in profile.localhost_profile.split("/"):
            detail = "must be a relative path"
            errors.append(FieldError.invalid(path.child("localhostProfile"), profile.localhost_profile, detail))
    elif profile.localhost_profile is not None:
        detail = "can only be set when seccomp type is Localhost"
        errors.append(FieldError.invalid(path.child("localhostProfile"), profile.localhost_profile, detail))
    if not profile.type:
        errors.append(FieldError.required(path.child("type"), "type is required when seccompProfile is set"))
    elif profile.type not in _SECCOMP:
        errors.append(FieldError.not_supported(path.child("type"), profile.type, _SECCOMP))
    return errors


def _app_armor(profile: core_v1.AppArmorProfile, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if profile.type == "Localhost":
        if not (profile.localhost_profile or "").strip():
            detail = "must be set when AppArmor type is Localhost"
            errors.append(FieldError.required(path.child("localhostProfile"), detail))
    elif profile.type in ("RuntimeDefault", "Unconfined"):
        if profile.localhost_profile is not None:
            detail = "can only be set when AppArmor type is Localhost"
            errors.append(FieldError.invalid(path.child("localhostProfile"), profile.localhost_profile, detail))
    elif not profile.type:
        errors.append(FieldError.required(path.child("type"), "type is required when appArmorProfile is set"))
    else:
        errors.append(FieldError.not_supported(path.child("type"), profile.type, _SECCOMP))
    return errors


def container_security_context(
    context: core_v1.SecurityContext, path: Path, *, host_users: bool | None
) -> list[FieldError]:
    errors: list[FieldError] = []
    if context.run_as_user is not None:
        errors += identity(context.run_as_user, path.child("runAsUser"))
    if context.run_as_group is not None:
        errors += identity(context.run_as_group, path.child("runAsGroup"))
    if context.proc_mount is not None:
        if context.proc_mount not in ("Default", "Unmasked"):
            valid = ("Default", "Unmasked")
            errors.append(FieldError.not_supported(path.child("procMount"), context.proc_mount, valid))
        elif context.proc_mount == "Unmasked" and host_users is not False:
            detail = "`hostUsers` must be false to use `Unmasked`"
            errors.append(FieldError.invalid(path.child("procMount"), context.proc_mount, detail))
    if context.seccomp_profile is not None:
        errors += _seccomp(context.seccomp_profile, path.child("seccompProfile"))
    if context.app_armor_profile is not None:
        errors += _app_armor(context.app_armor_profile, path.child("appArmorProfile"))
    if context.allow_privilege_escalation is False:
        if context.privileged:
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(FieldError.invalid(path, context, detail))
        added = context.capabilities.add or () if context.capabilities is not None else ()
        if "CAP_SYS_ADMIN" in added:
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(FieldError.invalid(path, context, detail))
    return errors
