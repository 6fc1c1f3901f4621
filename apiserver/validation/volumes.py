"""Persistent volumes and claims: what they must say, and the little that may change once they are bound."""

from __future__ import annotations

from typing import Any

import msgspec

from api import codec
from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import core_v1
from apiserver.validation import names, scheduling
from apiserver.validation.common import IMMUTABLE, label_selector, name_errors, semantic_equal
from apiserver.validation.pod_updates import difference
from apiserver.validation.pod_volumes import host_path, nfs, no_backsteps, required_fields
from apiserver.validation.resources import is_native, quantity_value

_SPEC, _STATUS = Path("spec"), Path("status")
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES = ("Block", "Filesystem")
_NOT_SOURCES = frozenset({
    "access_modes", "capacity", "claim_ref", "mount_options", "node_affinity", "persistent_volume_reclaim_policy",
    "storage_class_name", "volume_attributes_class_name", "volume_mode",
})  # fmt: skip
_SOURCES = {
    f.name: f.encode_name for f in msgspec.structs.fields(core_v1.PersistentVolumeSpec) if f.name not in _NOT_SOURCES
}
_CLAIM_UPDATE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def _modes(modes: list[str] | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not modes:
        errors.append(FieldError.required(path, "at least 1 access mode is required"))
    for mode in modes or ():
        if mode not in _MODES:
            errors.append(FieldError.not_supported(path, mode, _MODES))
    if modes and "ReadWriteOncePod" in modes and len(modes) > 1:
        detail = "may not use ReadWriteOncePod with other access modes"
        errors.append(FieldError.forbidden(path, detail))
    return errors


def validate_persistent_volume(volume: core_v1.PersistentVolume) -> list[FieldError]:
    spec = volume.spec
    errors = _modes(spec.access_modes, _SPEC.child("accessModes"))
    at = _SPEC.child("capacity")
    if not spec.capacity:
        errors.append(FieldError.required(at))
    elif "storage" not in spec.capacity or len(spec.capacity) > 1:
        errors.append(FieldError.not_supported(at, spec.capacity, ("storage",)))
    for name, value in (spec.capacity or {}).items():
        errors += _positive(name, value, at.key(name))
    used = [name for name in _SOURCES if getattr(spec, name) is not None]
    if not used:
        errors.append(FieldError.required(_SPEC, "must specify a volume type"))
    for name in used[1:]:
        errors.append(FieldError.forbidden(_SPEC.child(_SOURCES[name]), "may not specify more than 1 volume type"))
    if used:
        errors += _source(used[0], getattr(spec, used[0]), _SPEC.child(_SOURCES[used[0]]))
    if spec.node_affinity is not None:
        errors += _node_affinity(spec.node_affinity, _SPEC.child("nodeAffinity"))
    if spec.local is not None and (spec.node_affinity is None or spec.node_affinity.required is None):
        errors.append(FieldError.required(_SPEC.child("nodeAffinity"), "Local volume requires node affinity"))
    if spec.persistent_volume_reclaim_policy not in ("Delete", "Recycle", "Retain"):
        at = _SPEC.child("persistentVolumeReclaimPolicy")
        valid = ("Delete", "Recycle", "Retain")
        errors.append(FieldError.not_supported(at, spec.persistent_volume_reclaim_policy, valid))
    root = spec.host_path is not None and spec.host_path.path == "/"
    if root and spec.persistent_volume_reclaim_policy == "Recycle":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(FieldError.forbidden(_SPEC.child("persistentVolumeReclaimPolicy"), detail))
    if spec.storage_class_name:
        errors += name_errors(names.dns1123_subdomain, spec.storage_class_name, _SPEC.child("storageClassName"))
    if spec.volume_mode is not None and spec.volume_mode not in _VOLUME_MODES:
        errors.append(FieldError.not_supported(_SPEC.child("volumeMode"), spec.volume_mode, _VOLUME_MODES))
    return errors


def _positive(name: str, value: str | int | float, path: Path) -> list[FieldError]:
    errors = quantity_value(name, value, path)
    if Quantity(value) <= Quantity(0):
        errors.append(FieldError.invalid(path, str(Quantity(value)), "must be greater than zero"))
    return errors


def _source(name: str, source: Any, path: Path) -> list[FieldError]:
    match name:
        case "host_path":
            return host_path(source, path)
        case "nfs":
            return nfs(source, path)
        case "local":
            if not source.path:
                return [FieldError.required(path.child("path"))]
            return no_backsteps(source.path, path.child("path"))
        case "csi":
            errors: list[FieldError] = []
            if not source.driver:
                errors.append(FieldError.required(path.child("driver")))
            if not source.volume_handle:
                errors.append(FieldError.required(path.child("volumeHandle")))
            return errors
        case _:
            return required_fields(name, source, path)


def _node_affinity(affinity: core_v1.VolumeNodeAffinity, path: Path) -> list[FieldError]:
    at = path.child("required")
    if affinity.required is None:
        return [FieldError.required(at, "must specify required node constraints")]
    return scheduling.node_selector(affinity.required, at)


def validate_persistent_volume_update(new: core_v1.PersistentVolume, old: core_v1.PersistentVolume) -> list[FieldError]:
    errors = validate_persistent_volume(new)
    for name in _SOURCES:
        if not semantic_equal(getattr(new.spec, name), getattr(old.spec, name)):
            munged = codec.deepcopy(new.spec)
            detail = "spec.persistentvolumesource is immutable after creation"
            errors.append(FieldError.forbidden(_SPEC, f"{detail}\n{difference(old.spec, munged)}"))
            break
    if (new.spec.volume_mode or "") != (old.spec.volume_mode or ""):
        errors.append(FieldError.invalid(_SPEC.child("volumeMode"), new.spec.volume_mode, IMMUTABLE))
    if old.spec.node_affinity is not None and not semantic_equal(new.spec.node_affinity, old.spec.node_affinity):
        errors.append(FieldError.invalid(_SPEC.child("nodeAffinity"), new.spec.node_affinity, IMMUTABLE))
    return errors


# -- claims -----------------------------------------------------------------------------------------------------------


def validate_claim_spec(spec: core_v1.PersistentVolumeClaimSpec, path: Path) -> list[FieldError]:
    errors = _modes(spec.access_modes, path.child("accessModes"))
    errors += label_selector(spec.selector, path.child("selector"))
    at = path.child("resources").key("storage")
    requests = spec.resources.requests or {}
    if "storage" not in requests:
        errors.append(FieldError.required(at))
    else:
        errors += _positive("storage", requests["storage"], at)
        limit = (spec.resources.limits or {}).get("storage")
        if limit is not None and Quantity(requests["storage"]) > Quantity(limit):
            detail = f"must be less than or equal to storage limit of {Quantity(limit)}"
            errors.append(
                FieldError.invalid(path.child("resources").child("requests"), str(requests["storage"]), detail)
            )
    if spec.storage_class_name:
        errors += name_errors(names.dns1123_subdomain, spec.storage_class_name, path.child("storageClassName"))
    if spec.volume_mode is not None and spec.volume_mode not in _VOLUME_MODES:
        errors.append(FieldError.not_supported(path.child("volumeMode"), spec.volume_mode, _VOLUME_MODES))
    for field, source in (("dataSource", spec.data_source), ("dataSourceRef", spec.data_source_ref)):
        if source is None:
            continue
        where = path.child(field)
        for name, value in (("name", source.name), ("kind", source.kind)):
            if not value:
                errors.append(FieldError.required(where.child(name)))
        if not source.api_group and source.kind and source.kind != "PersistentVolumeClaim":
            detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            errors.append(FieldError.invalid(where, source.kind, detail))
    if spec.data_source is not None and spec.data_source_ref is not None:
        a, b = spec.data_source, spec.data_source_ref
        if (a.api_group or "", a.kind, a.name) != (b.api_group or "", b.kind, b.name):
            detail = "must match dataSourceRef"
            errors.append(FieldError.invalid(path, path.child("dataSource"), detail))
    return errors


def validate_persistent_volume_claim(claim: core_v1.PersistentVolumeClaim) -> list[FieldError]:
    return validate_claim_spec(claim.spec, _SPEC)


def validate_persistent_volume_claim_update(
    new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim
) -> list[FieldError]:
    if new.spec == old.spec:
        return []
    errors = validate_claim_spec(new.spec, _SPEC)
    munged = codec.deepcopy(new.spec)
    before = old.spec
    if not before.volume_name:
        # The binder sets it, and sometimes the user does.
        munged.volume_name = before.volume_name
    if munged.storage_class_name is not None and before.storage_class_name is None:
        munged.storage_class_name = before.storage_class_name  # retroactive default class (KEP-3333)
    munged.volume_attributes_class_name = before.volume_attributes_class_name
    now = (new.spec.resources.requests or {}).get("storage")
    was = (before.resources.requests or {}).get("storage")
    if now is not None and was is not None and now != was:
        if old.status.phase == "Bound" and munged.resources.requests is not None:
            munged.resources.requests["storage"] = was
        at = _SPEC.child("resources").child("requests").child("storage")
        reached = (old.status.capacity or {}).get("storage")
        if Quantity(now) < Quantity(was) and (reached is None or Quantity(now) <= Quantity(reached)):
            errors.append(FieldError.forbidden(at, "field can not be less than status.capacity"))
    if not semantic_equal(munged, before):
        errors.append(FieldError.forbidden(_SPEC, f"{_CLAIM_UPDATE}\n{difference(before, munged)}"))
    return errors


def validate_persistent_volume_claim_status_update(
    new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim
) -> list[FieldError]:
    errors: list[FieldError] = []
    if not new.metadata.resource_version:
        errors.append(FieldError.required("metadata.resourceVersion"))
    for field, resources in (("capacity", new.status.capacity), ("allocatedResources", new.status.allocated_resources)):
        for name, value in (resources or {}).items():
            errors += quantity_value(name, value, _STATUS.child(field).key(name))
            if field == "allocatedResources" and is_native(name) and name != "storage":
                errors.append(FieldError.not_supported(_STATUS.child(field).key(name), name, ("storage",)))
    return errors
