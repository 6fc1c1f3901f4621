"""Pod templates: a pod spec with the metadata its pods will have."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.validation.common import labels
from apiserver.validation.meta import validate_annotations
from apiserver.validation.pods import validate_pod_spec


def validate_pod_template_spec(template: core_v1.PodTemplateSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if template.metadata.labels:
        errors += labels(template.metadata.labels, path.child("labels"))
    if template.metadata.annotations:
        errors += validate_annotations(template.metadata.annotations, path.child("annotations"))
    errors += validate_pod_spec(template.spec, path.child("spec"))
    if template.spec.ephemeral_containers:
        detail = "ephemeral containers not allowed in pod template"
        errors.append(FieldError.forbidden(path.child("spec").child("ephemeralContainers"), detail))
    return errors


def validate_pod_template_object(obj: core_v1.PodTemplate) -> list[FieldError]:
    return validate_pod_template_spec(obj.template, Path("template"))


def validate_pod_template_object_update(new: core_v1.PodTemplate, old: core_v1.PodTemplate) -> list[FieldError]:
    return validate_pod_template_object(new)
