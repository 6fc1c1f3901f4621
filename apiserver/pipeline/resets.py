"""Fields that a write through an endpoint may not own, because the strategies put them back (GetResetFields)."""

from __future__ import annotations

import msgspec

from api.managed import Filter
from api.managed.sets import EMPTY, fields
from api.resources import Resource

# Beyond `spec`, which `status` resets, and `status`, which everything else does.
_STATUS_EXTRA = {
    "pods": ("metadata.deletionTimestamp", "metadata.ownerReferences"),
    "deployments.apps": ("metadata.labels",),
    "customresourcedefinitions.apiextensions.k8s.io": ("metadata",),
    "apiservices.apiregistration.k8s.io": ("metadata",),
    "flowschemas.flowcontrol.apiserver.k8s.io": ("metadata",),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": ("metadata",),
    "volumeattachments.storage.k8s.io": ("metadata",),
    "validatingadmissionpolicies.admissionregistration.k8s.io": ("metadata",),
}

_ONLY = {
    ("pods", "ephemeralcontainers"): (("f:spec", "f:ephemeralContainers"),),
    ("pods", "resize"): (
        ("f:spec", "f:containers", "*", "f:resources"),
        ("f:spec", "f:containers", "*", "f:resizePolicy"),
        ("f:spec", "f:initContainers", "*", "f:resources"),
        ("f:spec", "f:initContainers", "*", "f:resizePolicy"),
        ("f:spec", "f:resources"),
    ),
}


def filter_for(resource: Resource, subresource: str) -> Filter:
    """What may be owned through a resource or one of its subresources."""
    name = resource.group_resource
    if (name, subresource) in _ONLY:
        return Filter(include=_ONLY[name, subresource])
    custom = not issubclass(resource.type, msgspec.Struct)
    if subresource == "status" and custom:
        return Filter(fields("metadata", "spec"))
    if subresource == "status":
        return Filter(fields("spec", *_STATUS_EXTRA.get(name, ())))
    if (name, subresource) == ("certificatesigningrequests.certificates.k8s.io", "approval"):
        return Filter(fields("spec", "status.certificate"))
    has_status = "status" in resource.subresources and (custom or "status" in resource.type.__struct_fields__)
    return Filter(fields("status") if has_status else EMPTY)
