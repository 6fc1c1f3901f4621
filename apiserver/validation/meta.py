"""ObjectMeta: what it may hold when an object is created and what an update may change.

Source: k8s.io/apimachinery/pkg/api/validation and, for finalizer names, pkg/apis/core/validation.
"""

from __future__ import annotations

from api.errors import FieldError, Path
from api.types.meta_v1 import ObjectMeta, OwnerReference
from apiserver.validation import names
from apiserver.validation.common import immutable, labels

ANNOTATIONS_LIMIT = 256 * 1024
_METADATA = Path("metadata")
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
#: Older than the rule that finalizers have a path.
_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_BANNED_OWNERS = frozenset({("v1", "Event")})


def validate_object_meta(
    meta: ObjectMeta, namespaced: bool, name_errors: names.Check, path: Path = _METADATA
) -> list[FieldError]:
    """Everything about the metadata of a new object. `name_errors` gives the messages for a bad name of its kind."""
    errors: list[FieldError] = []
    if meta.generate_name:
        for message in names.masked(name_errors, meta.generate_name):
            errors.append(FieldError.invalid(path.child("generateName"), meta.generate_name, message))
    if not meta.name:
        errors.append(FieldError.required(path.child("name"), "name or generateName is required"))
    else:
        for message in name_errors(meta.name):
            errors.append(FieldError.invalid(path.child("name"), meta.name, message))
    if namespaced:
        if not meta.namespace:
            errors.append(FieldError.required(path.child("namespace")))
        else:
            for message in names.dns1123_label(meta.namespace):
                errors.append(FieldError.invalid(path.child("namespace"), meta.namespace, message))
    elif meta.namespace:
        errors.append(FieldError.forbidden(path.child("namespace"), "not allowed on this type"))
    if meta.generation is not None and meta.generation < 0:
        errors.append(
            FieldError.invalid(path.child("generation"), meta.generation, "must be greater than or equal to 0")
        )
    return errors + _common(meta, path)


def validate_object_meta_update(new: ObjectMeta, old: ObjectMeta, path: Path = _METADATA) -> list[FieldError]:
    """What an update may not do to the metadata."""
    errors: list[FieldError] = []
    if old.deletion_timestamp:
        added = sorted(set(new.finalizers or ()) - set(old.finalizers or ()))
        if added:
            detail = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers {names.go_strings(added)}"
            )
            errors.append(FieldError.forbidden(path.child("finalizers"), detail))
    if not new.resource_version:
        errors.append(FieldError.invalid(path.child("resourceVersion"), "", "must be specified for an update"))
    if (new.generation or 0) < (old.generation or 0):
        errors.append(FieldError.invalid(path.child("generation"), new.generation or 0, "must not be decremented"))
    if new.name != old.name:
        errors += immutable(new.name, old.name, path.child("name"))
    if new.namespace != old.namespace:
        errors += immutable(new.namespace, old.namespace, path.child("namespace"))
    if new.uid != old.uid:
        errors += immutable(new.uid, old.uid, path.child("uid"))
    if new.creation_timestamp != old.creation_timestamp:
        errors += immutable(new.creation_timestamp, old.creation_timestamp, path.child("creationTimestamp"))
    if new.deletion_timestamp != old.deletion_timestamp:
        errors += immutable(new.deletion_timestamp, old.deletion_timestamp, path.child("deletionTimestamp"))
    if new.deletion_grace_period_seconds != old.deletion_grace_period_seconds:
        errors += immutable(
            new.deletion_grace_period_seconds,
            old.deletion_grace_period_seconds,
            path.child("deletionGracePeriodSeconds"),
        )
    return errors + _common(new, path)


def validate_annotations(annotations: dict[str, str] | None, path: Path) -> list[FieldError]:
    if not annotations:
        return []
    errors = []
    total = 0
    for key, value in annotations.items():
        # Keys may be written in upper case, for what was once a label.
        errors += [FieldError.invalid(path, key, message) for message in names.qualified_name(key.lower())]
        total += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if total > ANNOTATIONS_LIMIT:
        errors.append(FieldError.too_long(path, "", ANNOTATIONS_LIMIT))
    return errors


def _common(meta: ObjectMeta, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if meta.labels:
        errors += labels(meta.labels, path.child("labels"))
    if meta.annotations:
        errors += validate_annotations(meta.annotations, path.child("annotations"))
    if meta.owner_references:
        errors += _owner_references(meta.owner_references, path.child("ownerReferences"))
    if meta.finalizers:
        errors += _finalizers(meta.finalizers, path.child("finalizers"))
    if meta.managed_fields:
        errors += _managed_fields(meta, path.child("managedFields"))
    return errors


def _owner_references(owners: list[OwnerReference], path: Path) -> list[FieldError]:
    errors = []
    controller = ""
    for owner in owners:
        if not owner.api_version.rpartition("/")[2]:
            errors.append(FieldError.invalid(path.child("apiVersion"), owner.api_version, "version must not be empty"))
        for name, value in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
            if not value:
                errors.append(FieldError.invalid(path.child(name), value, "must not be empty"))
        if (owner.api_version, owner.kind) in _BANNED_OWNERS:
            detail = f"{owner.api_version}, Kind={owner.kind} is disallowed from being an owner"
            errors.append(FieldError.invalid(path, owner, detail))
        if owner.controller:
            if controller:
                detail = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {owner.kind}/{owner.name}'
                )
                errors.append(FieldError.invalid(path, owners, detail))
            controller = controller or f"{owner.kind}/{owner.name}"
    return errors


def _finalizers(finalizers: list[str], path: Path) -> list[FieldError]:
    errors = []
    for finalizer in finalizers:
        errors += [FieldError.invalid(path, finalizer, message) for message in names.qualified_name(finalizer)]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(FieldError.invalid(path, finalizers, detail))
    for index, finalizer in enumerate(finalizers):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS and finalizer != _CLEANUP:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(FieldError.invalid(path.index(index), finalizer, detail))
    return errors


def _managed_fields(meta: ObjectMeta, path: Path) -> list[FieldError]:
    errors = []
    for index, entry in enumerate(meta.managed_fields or ()):
        if entry.operation not in ("Apply", "Update"):
            detail = "must be `Apply` or `Update`"
            errors.append(FieldError.invalid(path.index(index).child("operation"), entry.operation, detail))
        if entry.fields_type and entry.fields_type != "FieldsV1":
            errors.append(
                FieldError.invalid(path.index(index).child("fieldsType"), entry.fields_type, "must be `FieldsV1`")
            )
        if entry.manager and len(entry.manager) > 128:
            errors.append(FieldError.too_long(path.index(index).child("manager"), entry.manager, 128))
    return errors
