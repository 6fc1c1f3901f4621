"""storage.k8s.io: classes, drivers, attachments. Nearly all of it is fixed once created."""

from __future__ import annotations

from api import codec
from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import core_v1, storage_v1
from apiserver.validation import names
from apiserver.validation.common import immutable, label_selector, name_errors, semantic_equal

_SPEC = Path("spec")
_MAX_PARAMETERS, _MAX_PARAMETERS_SIZE = 512, 256 * 1024
_UPDATES_FORBIDDEN = "updates to {} are forbidden."


def _provisioner(provisioner: str, path: Path) -> list[FieldError]:
    if not provisioner:
        return [FieldError.required(path)]
    return name_errors(names.qualified_name, provisioner.lower(), path)


def _parameters(parameters: dict[str, str] | None, path: Path) -> list[FieldError]:
    values = parameters or {}
    if len(values) > _MAX_PARAMETERS:
        return [FieldError.too_long(path, "Provisioner Parameters exceeded max allowed", _MAX_PARAMETERS)]
    errors: list[FieldError] = []
    for key in values:
        if not key:
            errors.append(FieldError.invalid(path, key, "field can not be empty."))
    if sum(len(key) + len(value) for key, value in values.items()) > _MAX_PARAMETERS_SIZE:
        errors.append(FieldError.too_long(path, "", _MAX_PARAMETERS_SIZE))
    return errors


def validate_storage_class(storage_class: storage_v1.StorageClass) -> list[FieldError]:
    errors = _provisioner(storage_class.provisioner, Path("provisioner"))
    errors += _parameters(storage_class.parameters, Path("parameters"))
    if storage_class.reclaim_policy not in (None, "", "Delete", "Retain"):
        valid = ("Delete", "Retain")
        errors.append(FieldError.not_supported("reclaimPolicy", storage_class.reclaim_policy, valid))
    mode = storage_class.volume_binding_mode
    if mode is None:
        errors.append(FieldError.required("volumeBindingMode"))
    elif mode not in ("Immediate", "WaitForFirstConsumer"):
        errors.append(FieldError.not_supported("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer")))
    for index, term in enumerate(storage_class.allowed_topologies or ()):
        errors += _topology(term, Path("allowedTopologies").index(index))
    return errors


def _topology(term: core_v1.TopologySelectorTerm, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, requirement in enumerate(term.match_label_expressions or ()):
        at = path.child("matchLabelExpressions").index(index)
        errors += name_errors(names.qualified_name, requirement.key, at.child("key"))
        if not requirement.values:
            errors.append(FieldError.required(at.child("values")))
    return errors


def validate_storage_class_update(new: storage_v1.StorageClass, old: storage_v1.StorageClass) -> list[FieldError]:
    errors: list[FieldError] = []
    if (new.parameters or {}) != (old.parameters or {}):
        errors.append(FieldError.forbidden("parameters", _UPDATES_FORBIDDEN.format("parameters")))
    if new.provisioner != old.provisioner:
        errors.append(FieldError.forbidden("provisioner", _UPDATES_FORBIDDEN.format("provisioner")))
    if new.reclaim_policy != old.reclaim_policy:
        errors.append(FieldError.forbidden("reclaimPolicy", _UPDATES_FORBIDDEN.format("reclaimPolicy")))
    return errors + immutable(new.volume_binding_mode, old.volume_binding_mode, Path("volumeBindingMode"))


def validate_volume_attributes_class(volume_class: storage_v1.VolumeAttributesClass) -> list[FieldError]:
    errors = _provisioner(volume_class.driver_name, Path("driverName"))
    if not volume_class.parameters:
        errors.append(FieldError.required("parameters", "must contain at least one key/value pair"))
    return errors + _parameters(volume_class.parameters, Path("parameters"))


def validate_volume_attributes_class_update(
    new: storage_v1.VolumeAttributesClass, old: storage_v1.VolumeAttributesClass
) -> list[FieldError]:
    errors: list[FieldError] = []
    if new.driver_name != old.driver_name:
        errors.append(FieldError.forbidden("driverName", _UPDATES_FORBIDDEN.format("driverName")))
    if (new.parameters or {}) != (old.parameters or {}):
        errors.append(FieldError.forbidden("parameters", _UPDATES_FORBIDDEN.format("parameters")))
    return errors


def validate_volume_attachment(attachment: storage_v1.VolumeAttachment) -> list[FieldError]:
    spec = attachment.spec
    errors: list[FieldError] = []
    if not spec.attacher:
        errors.append(FieldError.required(_SPEC.child("attacher")))
    else:
        errors += _driver_name(spec.attacher, _SPEC.child("attacher"))
    source, at = spec.source, _SPEC.child("source")
    if source.inline_volume_spec is None and not source.persistent_volume_name:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        errors.append(FieldError.required(at, detail))
    elif source.inline_volume_spec is not None and source.persistent_volume_name:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        errors.append(FieldError.forbidden(at, detail))
    errors += name_errors(names.dns1123_subdomain, spec.node_name, _SPEC.child("nodeName"))
    return errors


def validate_volume_attachment_update(
    new: storage_v1.VolumeAttachment, old: storage_v1.VolumeAttachment
) -> list[FieldError]:
    return immutable(new.spec, old.spec, _SPEC)


def _driver_name(name: str, path: Path) -> list[FieldError]:
    if not name:
        return [FieldError.required(path)]
    errors: list[FieldError] = []
    if len(name) > 63:
        errors.append(FieldError.too_long(path, name, 63))
    return errors + name_errors(names.dns1123_subdomain, name.lower(), path)


def validate_csi_driver(driver: storage_v1.CSIDriver) -> list[FieldError]:
    spec = driver.spec
    errors = _driver_name(driver.metadata.name or "", Path("metadata", "name"))
    for index, mode in enumerate(spec.volume_lifecycle_modes or ()):
        if mode not in ("Ephemeral", "Persistent"):
            at = _SPEC.child("volumeLifecycleModes").index(index)
            errors.append(FieldError.not_supported(at, mode, ("Ephemeral", "Persistent")))
    policies = ("File", "None", "ReadWriteOnceWithFSType")
    if spec.fs_group_policy is not None and spec.fs_group_policy not in policies:
        errors.append(FieldError.not_supported(_SPEC.child("fsGroupPolicy"), spec.fs_group_policy, policies))
    seen: set[str] = set()
    for index, request in enumerate(spec.token_requests or ()):
        at = _SPEC.child("tokenRequests").index(index)
        if request.audience in seen:
            errors.append(FieldError.duplicate(at.child("audience"), request.audience))
        seen.add(request.audience)
        if request.expiration_seconds is not None and request.expiration_seconds < 600:
            detail = "may not specify a duration less than 10 minutes"
            errors.append(FieldError.invalid(at.child("expirationSeconds"), request.expiration_seconds, detail))
    return errors


def validate_csi_driver_update(new: storage_v1.CSIDriver, old: storage_v1.CSIDriver) -> list[FieldError]:
    errors = validate_csi_driver(new)
    errors += immutable(new.spec.attach_required, old.spec.attach_required, _SPEC.child("attachRequired"))
    errors += immutable(
        new.spec.volume_lifecycle_modes, old.spec.volume_lifecycle_modes, _SPEC.child("volumeLifecycleModes")
    )
    return errors


def validate_csi_node(node: storage_v1.CSINode) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, driver in enumerate(node.spec.drivers):
        at = _SPEC.child("drivers").index(index)
        errors += _driver_name(driver.name, at.child("name"))
        if driver.name in seen:
            errors.append(FieldError.duplicate(at.child("name"), driver.name))
        seen.add(driver.name)
        if not driver.node_id:
            errors.append(FieldError.required(at.child("nodeID")))
        for position, key in enumerate(driver.topology_keys or ()):
            errors += name_errors(names.qualified_name, key, at.child("topologyKeys").index(position))
    return errors


def validate_csi_node_update(new: storage_v1.CSINode, old: storage_v1.CSINode) -> list[FieldError]:
    errors = validate_csi_node(new)
    now = {driver.name: driver for driver in new.spec.drivers}
    for before in old.spec.drivers:
        current = codec.deepcopy(now[before.name]) if before.name in now else None
        if current is not None:
            current.allocatable = before.allocatable
            if not semantic_equal(current, before):
                errors.append(FieldError.invalid(_SPEC.child("drivers"), current, "field is immutable"))
    return errors


def validate_csi_storage_capacity(capacity: storage_v1.CSIStorageCapacity) -> list[FieldError]:
    errors = label_selector(capacity.node_topology, Path("nodeTopology"))
    errors += name_errors(names.dns1123_subdomain, capacity.storage_class_name, Path("storageClassName"))
    for field, value in (("capacity", capacity.capacity), ("maximumVolumeSize", capacity.maximum_volume_size)):
        if value is not None and Quantity(value) < Quantity(0):
            detail = "must be greater than or equal to 0"
            errors.append(FieldError.invalid(field, str(Quantity(value)), detail))
    return errors


def validate_csi_storage_capacity_update(
    new: storage_v1.CSIStorageCapacity, old: storage_v1.CSIStorageCapacity
) -> list[FieldError]:
    errors = immutable(new.node_topology, old.node_topology, Path("nodeTopology"))
    errors += immutable(new.storage_class_name, old.storage_class_name, Path("storageClassName"))
    return errors + validate_csi_storage_capacity(new)
