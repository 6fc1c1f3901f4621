"""The finalizer that keeps a deleted definition until its objects are gone."""

from __future__ import annotations

from api.types.apiextensions_v1 import CustomResourceDefinition
from apiserver.extensions.names import set_condition

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def mark_for_cleanup(obj: CustomResourceDefinition) -> None:
    """On the first request to delete a definition: it goes when its objects are gone."""
    if obj.metadata.deletion_timestamp:
        return
    if FINALIZER not in (obj.metadata.finalizers or ()):
        obj.metadata.finalizers = [*(obj.metadata.finalizers or ()), FINALIZER]
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    set_condition(obj, "Terminating", "True", "InstanceDeletionPending", message)
