"""Namespaces, events and leases."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.types import coordination_v1, core_v1
from apiserver.validation import names
from apiserver.validation.common import IMMUTABLE, POSITIVE, not_negative, semantic_equal

_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def _finalizers(namespace: core_v1.Namespace) -> list[FieldError]:
    errors: list[FieldError] = []
    path = Path("spec", "finalizers")
    for finalizer in namespace.spec.finalizers or ():
        errors += [FieldError.invalid(path, finalizer, message) for message in names.qualified_name(finalizer)]
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(FieldError.invalid(path, finalizer, detail))
    return errors


def validate_namespace(namespace: core_v1.Namespace) -> list[FieldError]:
    return _finalizers(namespace)


def validate_namespace_update(new: core_v1.Namespace, old: core_v1.Namespace) -> list[FieldError]:
    return []


def validate_namespace_finalize(new: core_v1.Namespace, old: core_v1.Namespace) -> list[FieldError]:
    return _finalizers(new)


def validate_namespace_status_update(new: core_v1.Namespace, old: core_v1.Namespace) -> list[FieldError]:
    path, phase = Path("status", "Phase"), new.status.phase or ""
    if not new.metadata.deletion_timestamp:
        if phase != "Active":
            return [FieldError.invalid(path, phase, "may only be 'Active' if `deletionTimestamp` is empty")]
    elif phase != "Terminating":
        return [FieldError.invalid(path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
    return []


def validate_event(event: core_v1.Event, *, new_api: bool) -> list[FieldError]:
    """Events of the old API may be nearly anything; those of events.k8s.io, and any with eventTime, are strict."""
    errors: list[FieldError] = []
    involved = event.involved_object.namespace or ""
    namespace = event.metadata.namespace or ""
    # Events about cluster-scoped objects live in `default`.
    if (namespace not in ("", "default")) if not involved else namespace != involved:
        errors.append(FieldError.invalid("involvedObject.namespace", involved, "does not match event.namespace"))
    controller = event.reporting_component or ""
    controller_path = "reportingController" if new_api else "reportingComponent"
    if not event.event_time and not new_api:
        return errors
    if not event.event_time:
        errors.append(FieldError.required("eventTime"))
    if not controller:
        errors.append(FieldError.required(controller_path))
    for message in names.qualified_name(controller):
        errors.append(FieldError.invalid(controller_path, controller, message))
    for path, value, limit in (
        ("reportingInstance", event.reporting_instance, 128),
        ("action", event.action, 128),
        ("reason", event.reason, 128),
    ):
        if not value:
            errors.append(FieldError.required(path))
        elif len(value) > limit:
            errors.append(FieldError.invalid(path, "", f"can have at most {limit} characters"))
    if len(event.message or "") > 1024:
        errors.append(FieldError.invalid("note" if new_api else "message", "", "can have at most 1024 characters"))
    if new_api and event.type not in ("Normal", "Warning"):
        errors.append(FieldError.invalid("type", "", f"has invalid value: {event.type or ''}"))
    return errors


def validate_event_update(new: core_v1.Event, old: core_v1.Event, *, new_api: bool) -> list[FieldError]:
    errors = validate_event(new, new_api=new_api)
    if not new_api:
        return errors
    for path, now, was in (
        ("involvedObject", new.involved_object, old.involved_object),
        ("reason", new.reason, old.reason),
        ("message", new.message, old.message),
        ("source", new.source, old.source),
        ("type", new.type, old.type),
        ("eventTime", new.event_time, old.event_time),
        ("action", new.action, old.action),
        ("related", new.related, old.related),
        ("reportingController", new.reporting_component, old.reporting_component),
        ("reportingInstance", new.reporting_instance, old.reporting_instance),
    ):
        if not semantic_equal(now, was):
            errors.append(FieldError.invalid(path, now, IMMUTABLE))
    return errors


def validate_lease(lease: coordination_v1.Lease) -> list[FieldError]:
    path, spec = Path("spec"), lease.spec
    errors: list[FieldError] = []
    if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
        errors.append(FieldError.invalid(path.child("leaseDurationSeconds"), spec.lease_duration_seconds, POSITIVE))
    errors += not_negative(spec.lease_transitions, path.child("leaseTransitions"))
    if spec.preferred_holder and not spec.strategy:
        detail = "may only be specified if `strategy` is defined"
        errors.append(FieldError.forbidden(path.child("preferredHolder"), detail))
    return errors
