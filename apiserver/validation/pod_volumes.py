"""The volumes of a pod and how containers mount them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import core_v1
from apiserver.validation import names
from apiserver.validation.environment import VOLUME_FIELDS, object_field, resource_field

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
SOURCES = {f.name: f.encode_name for f in msgspec.structs.fields(core_v1.Volume) if f.name != "name"}
#: What the less usual sources require, by their JSON names.
_REQUIRED: dict[str, tuple[tuple[str, str], ...]] = {
    "aws_elastic_block_store": (("volume_id", "volumeID"),),
    "gce_persistent_disk": (("pd_name", "pdName"),),
    "git_repo": (("repository", "repository"),),
    "glusterfs": (("endpoints", "endpoints"), ("path", "path")),
    "iscsi": (("target_portal", "targetPortal"), ("iqn", "iqn")),
    "rbd": (("monitors", "monitors"), ("image", "image")),
    "cinder": (("volume_id", "volumeID"),),
    "cephfs": (("monitors", "monitors"),),
    "flex_volume": (("driver", "driver"),),
    "azure_file": (("secret_name", "secretName"), ("share_name", "shareName")),
    "azure_disk": (("disk_name", "diskName"), ("disk_uri", "diskURI")),
    "vsphere_volume": (("volume_path", "volumePath"),),
    "photon_persistent_disk": (("pd_id", "pdID"),),
    "portworx_volume": (("volume_id", "volumeID"),),
    "quobyte": (("registry", "registry"), ("volume", "volume")),
    "scale_io": (("gateway", "gateway"), ("system", "system"), ("volume_name", "volumeName")),
    "csi": (("driver", "driver"),),
    "image": (("reference", "reference"),),
}  # fmt: skip


def volumes(values: list[core_v1.Volume], path: Path) -> tuple[dict[str, core_v1.Volume], list[FieldError]]:
    """The volumes by name, and what is wrong with them."""
    errors: list[FieldError] = []
    known: dict[str, core_v1.Volume] = {}
    for index, volume in enumerate(values):
        at = path.index(index)
        problems = _source(volume, at)
        errors += problems
        if not volume.name:
            errors.append(FieldError.required(at.child("name")))
        else:
            errors += [
                FieldError.invalid(at.child("name"), volume.name, message)
                for message in names.dns1123_label(volume.name)
            ]
        if volume.name in known:
            errors.append(FieldError.duplicate(at.child("name"), volume.name))
        elif not problems:
            known[volume.name] = volume
    return known, errors


def _source(volume: core_v1.Volume, path: Path) -> list[FieldError]:
    used = [name for name in SOURCES if getattr(volume, name) is not None]
    if not used:
        return [FieldError.required(path, "must specify a volume type")]
    errors: list[FieldError] = []
    for name in used[1:]:
        errors.append(FieldError.forbidden(path.child(SOURCES[name]), "may not specify more than 1 volume type"))
    name = used[0]
    rule = _RULES.get(name)
    source = getattr(volume, name)
    if rule is not None:
        errors += rule(source, path.child(SOURCES[name]))
    else:
        errors += required_fields(name, source, path.child(SOURCES[name]))
    return errors


def required_fields(name: str, source: Any, path: Path) -> list[FieldError]:
    """For the sources that pods and persistent volumes share: the fields that must be there."""
    return [
        FieldError.required(path.child(json)) for field, json in _REQUIRED.get(name, ()) if not getattr(source, field)
    ]


def file_mode(mode: int | None, path: Path) -> list[FieldError]:
    if mode is None or 0 <= mode <= 0o777:
        return []
    return [FieldError.invalid(path, mode, _MODE)]


def local_path(value: str, path: Path) -> list[FieldError]:
    """A relative path that does not climb out."""
    errors: list[FieldError] = []
    if value.startswith("/"):
        errors.append(FieldError.invalid(path, value, "must be a relative path"))
    return errors + no_backsteps(value, path)


def no_backsteps(value: str, path: Path) -> list[FieldError]:
    if ".." in value.replace("\\", "/").split("/"):
        return [FieldError.invalid(path, value, "must not contain '..'")]
    return []


def _not_reserved(value: str, path: Path) -> list[FieldError]:
    errors = local_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(FieldError.invalid(path, value, "must not start with '..'"))
    return errors


def _items(items: list[core_v1.KeyToPath] | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(items or ()):
        at = path.index(index)
        if not item.key:
            errors.append(FieldError.required(at.child("key")))
        if not item.path:
            errors.append(FieldError.required(at.child("path")))
        errors += _not_reserved(item.path, at.child("path"))
        errors += file_mode(item.mode, at.child("mode"))
    return errors


def _empty_dir(source: core_v1.EmptyDirVolumeSource, path: Path) -> list[FieldError]:
    if source.size_limit is not None and Quantity(source.size_limit) < Quantity(0):
        detail = "SizeLimit field must be a valid resource quantity"
        return [FieldError.forbidden(path.child("sizeLimit"), detail)]
    return []


def host_path(source: core_v1.HostPathVolumeSource, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.path:
        errors.append(FieldError.required(path.child("path")))
    errors += no_backsteps(source.path, path.child("path"))
    if source.type and source.type not in _HOST_PATH_TYPES:
        errors.append(FieldError.not_supported(path.child("type"), source.type, _HOST_PATH_TYPES))
    return errors


def _config_map(source: core_v1.ConfigMapVolumeSource, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.name:
        errors.append(FieldError.required(path.child("name")))
    errors += file_mode(source.default_mode, path.child("defaultMode"))
    return errors + _items(source.items, path.child("items"))


def _secret(source: core_v1.SecretVolumeSource, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.secret_name:
        errors.append(FieldError.required(path.child("secretName")))
    errors += file_mode(source.default_mode, path.child("defaultMode"))
    return errors + _items(source.items, path.child("items"))


def _claim(source: core_v1.PersistentVolumeClaimVolumeSource, path: Path) -> list[FieldError]:
    return [] if source.claim_name else [FieldError.required(path.child("claimName"))]


def nfs(source: core_v1.NFSVolumeSource, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.server:
        errors.append(FieldError.required(path.child("server")))
    if not source.path:
        errors.append(FieldError.required(path.child("path")))
    elif not source.path.startswith("/"):
        errors.append(FieldError.invalid(path.child("path"), source.path, "must be an absolute path"))
    return errors


def _downward(source: core_v1.DownwardAPIVolumeSource, path: Path) -> list[FieldError]:
    errors = file_mode(source.default_mode, path.child("defaultMode"))
    for item in source.items or ():
        errors += _downward_item(item, path)
    return errors


def _downward_item(item: core_v1.DownwardAPIVolumeFile, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not item.path:
        errors.append(FieldError.required(path.child("path")))
    errors += _not_reserved(item.path, path.child("path"))
    if item.field_ref is not None:
        errors += object_field(item.field_ref, VOLUME_FIELDS, path.child("fieldRef"))
        if item.resource_field_ref is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(FieldError.invalid(path, "resource", detail))
    elif item.resource_field_ref is not None:
        errors += resource_field(item.resource_field_ref, path.child("resourceFieldRef"), in_volume=True)
    else:
        errors.append(FieldError.required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + file_mode(item.mode, path.child("mode"))


def _projected(source: core_v1.ProjectedVolumeSource, path: Path) -> list[FieldError]:
    errors = file_mode(source.default_mode, path.child("defaultMode"))
    seen: set[str] = set()
    for index, projection in enumerate(source.sources or ()):
        at = path.child("sources").index(index)
        count = 0
        paths: list[str] = []
        if (secret := projection.secret) is not None:
            count += 1
            if not secret.name:
                errors.append(FieldError.required(at.child("secret").child("name")))
            errors += _items(secret.items, at.child("secret").child("items"))
            paths += [item.path for item in secret.items or ()]
        if (config := projection.config_map) is not None:
            count += 1
            if not config.name:
                errors.append(FieldError.required(at.child("configMap").child("name")))
            errors += _items(config.items, at.child("configMap").child("items"))
            paths += [item.path for item in config.items or ()]
        if (downward := projection.downward_api) is not None:
            count += 1
            for item in downward.items or ():
                errors += _downward_item(item, at.child("downwardAPI"))
                paths.append(item.path)
        if (token := projection.service_account_token) is not None:
            count += 1
            errors += _token(token, at.child("serviceAccountToken"))
            paths.append(token.path)
        if (bundle := projection.cluster_trust_bundle) is not None:
            count += 1
            if not bundle.path:
                errors.append(FieldError.required(at.child("clusterTrustBundle").child("path")))
            paths.append(bundle.path)
        if projection.pod_certificate is not None:
            count += 1
        if count > 1:
            errors.append(FieldError.forbidden(at, "may not specify more than 1 volume type per source"))
        for item_path in paths:
            if item_path and item_path in seen:
                errors.append(FieldError.invalid(path, item_path, "conflicting duplicate paths"))
            seen.add(item_path)
    return errors


def _token(token: core_v1.ServiceAccountTokenProjection, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    expiration = token.expiration_seconds
    if expiration is not None and expiration < 600:
        detail = "may not specify a duration less than 10 minutes"
        errors.append(FieldError.invalid(path.child("expirationSeconds"), expiration, detail))
    if expiration is not None and expiration > 1 << 32:
        detail = "may not specify a duration larger than 2^32 seconds"
        errors.append(FieldError.invalid(path.child("expirationSeconds"), expiration, detail))
    if not token.path:
        errors.append(FieldError.required(path.child("path")))
    return errors + _not_reserved(token.path, path.child("path"))


def _ephemeral(source: core_v1.EphemeralVolumeSource, path: Path) -> list[FieldError]:
    if source.volume_claim_template is None:
        return [FieldError.required(path.child("volumeClaimTemplate"))]
    from apiserver.validation.volumes import validate_claim_spec

    return validate_claim_spec(source.volume_claim_template.spec, path.child("volumeClaimTemplate").child("spec"))


_RULES: dict[str, Callable[[Any, Path], list[FieldError]]] = {
    "empty_dir": _empty_dir,
    "host_path": host_path,
    "config_map": _config_map,
    "secret": _secret,
    "persistent_volume_claim": _claim,
    "nfs": nfs,
    "downward_api": _downward,
    "projected": _projected,
    "ephemeral": _ephemeral,
}


def mounts(
    container: core_v1.Container | core_v1.EphemeralContainer, known: dict[str, core_v1.Volume], path: Path
) -> list[FieldError]:
    """ValidateVolumeMounts of one container."""
    errors: list[FieldError] = []
    points: set[str] = set()
    devices = container.volume_devices or []
    for index, mount in enumerate(container.volume_mounts or ()):
        at = path.index(index)
        if not mount.name:
            errors.append(FieldError.required(at.child("name")))
        if mount.name not in known:
            errors.append(FieldError.not_found(at.child("name"), mount.name))
        if not mount.mount_path:
            errors.append(FieldError.required(at.child("mountPath")))
        if mount.mount_path in points:
            errors.append(FieldError.invalid(at.child("mountPath"), mount.mount_path, "must be unique"))
        points.add(mount.mount_path)
        for device in devices:
            if device.name == mount.name:
                detail = "must not already exist in volumeDevices"
                errors.append(FieldError.invalid(at.child("name"), mount.name, detail))
            if device.device_path == mount.mount_path:
                detail = "must not already exist as a path in volumeDevices"
                errors.append(FieldError.invalid(at.child("mountPath"), mount.mount_path, detail))
        if mount.sub_path:
            errors += local_path(mount.sub_path, at.child("subPath"))
        if mount.sub_path_expr:
            if mount.sub_path:
                detail = "subPathExpr and subPath are mutually exclusive"
                errors.append(FieldError.invalid(at.child("subPathExpr"), mount.sub_path_expr, detail))
            errors += local_path(mount.sub_path_expr, at.child("subPathExpr"))
        if mount.mount_propagation is not None:
            errors += _propagation(mount.mount_propagation, container, at.child("mountPropagation"))
        if mount.recursive_read_only is not None:
            errors += _recursive(mount, at.child("recursiveReadOnly"))
    return errors


def _propagation(mode: str, container: core_v1.Container | core_v1.EphemeralContainer, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if mode not in _PROPAGATIONS:
        errors.append(FieldError.not_supported(path, mode, _PROPAGATIONS))
    context = container.security_context
    if mode == "Bidirectional" and not (context is not None and context.privileged):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        errors.append(FieldError.forbidden(path, detail))
    return errors


def _recursive(mount: core_v1.VolumeMount, path: Path) -> list[FieldError]:
    mode = mount.recursive_read_only
    if mode == "Disabled":
        return []
    if mode not in ("Enabled", "IfPossible"):
        return [FieldError.not_supported(path, mode, ("Disabled", "Enabled", "IfPossible"))]
    errors: list[FieldError] = []
    if not mount.read_only:
        errors.append(FieldError.forbidden(path, "may only be specified when readOnly is true"))
    if mount.mount_propagation not in (None, "None"):
        detail = "may only be specified when mountPropagation is None or not specified"
        errors.append(FieldError.forbidden(path, detail))
    return errors


def devices(
    container: core_v1.Container | core_v1.EphemeralContainer, known: dict[str, core_v1.Volume], path: Path
) -> list[FieldError]:
    """ValidateVolumeDevices of one container."""
    errors: list[FieldError] = []
    paths: set[str] = set()
    seen: set[str] = set()
    for index, device in enumerate(container.volume_devices or ()):
        at = path.index(index)
        if not device.name:
            errors.append(FieldError.required(at.child("name")))
        if device.name in seen:
            errors.append(FieldError.invalid(at.child("name"), device.name, "must be unique"))
        seen.add(device.name)
        volume = known.get(device.name)
        if volume is None:
            errors.append(FieldError.not_found(at.child("name"), device.name))
        elif volume.persistent_volume_claim is None and volume.ephemeral is None:
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(FieldError.invalid(at.child("name"), device.name, detail))
        if not device.device_path:
            errors.append(FieldError.required(at.child("devicePath")))
        if device.device_path in paths:
            errors.append(FieldError.invalid(at.child("devicePath"), device.device_path, "must be unique"))
        paths.add(device.device_path)
        errors += no_backsteps(device.device_path, at.child("devicePath"))
    return errors
