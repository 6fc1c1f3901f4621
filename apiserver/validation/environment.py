"""Environment variables and the fields of a pod that they and volumes may refer to."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import core_v1
from apiserver.validation import names

#: Field paths that an environment variable, and those that a volume, may use.
ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_CONVERTIBLE = frozenset({
    *ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host",
})  # fmt: skip
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip
_CPU_DIVISORS = frozenset({"1m", "1"})
_SIZE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_ONE_OF = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"


def environment(variables: list[core_v1.EnvVar], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, variable in enumerate(variables):
        if not variable.name:
            errors.append(FieldError.required(path.index(index).child("name")))
        else:
            for message in names.environment_name(variable.name):
                errors.append(FieldError.invalid(path.index(index).child("name"), variable.name, message))
        if variable.value_from is not None:
            errors += _value_from(variable, variable.value_from, path.index(index).child("valueFrom"))
    return errors


def _value_from(variable: core_v1.EnvVar, source: core_v1.EnvVarSource, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    count = 0
    if source.field_ref is not None:
        count += 1
        errors += object_field(source.field_ref, ENV_FIELDS, path.child("fieldRef"))
    if source.resource_field_ref is not None:
        count += 1
        errors += resource_field(source.resource_field_ref, path.child("resourceFieldRef"), in_volume=False)
    if source.config_map_key_ref is not None:
        count += 1
        ref = source.config_map_key_ref
        errors += _key(ref.name, ref.key, path.child("configMapKeyRef"))
    if source.secret_key_ref is not None:
        count += 1
        errors += _key(source.secret_key_ref.name, source.secret_key_ref.key, path.child("secretKeyRef"))
    if source.file_key_ref is not None:
        count += 1
        file = source.file_key_ref
        for field, value in (("key", file.key), ("path", file.path), ("volumeName", file.volume_name)):
            if not value:
                errors.append(FieldError.required(path.child("fileKeyRef").child(field)))
    if not count:
        errors.append(FieldError.invalid(path, "", _ONE_OF))
    elif variable.value:
        errors.append(FieldError.invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(FieldError.invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _key(name: str | None, key: str, path: Path) -> list[FieldError]:
    errors = [
        FieldError.invalid(path.child("name"), name or "", message) for message in names.dns1123_subdomain(name or "")
    ]
    if not key:
        errors.append(FieldError.required(path.child("key")))
    else:
        errors += [FieldError.invalid(path.child("key"), key, message) for message in names.config_map_key(key)]
    return errors


def environment_from(sources: list[core_v1.EnvFromSource], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        at = path.index(index)
        if source.prefix:
            errors += [
                FieldError.invalid(at.child("prefix"), source.prefix, message)
                for message in names.environment_name(source.prefix)
            ]
        count = 0
        for field, ref in (("configMapRef", source.config_map_ref), ("secretRef", source.secret_ref)):
            if ref is None:
                continue
            count += 1
            if not ref.name:
                errors.append(FieldError.required(at.child(field).child("name")))
            else:
                errors += [
                    FieldError.invalid(at.child(field).child("name"), ref.name, message)
                    for message in names.dns1123_subdomain(ref.name)
                ]
        if not count:
            errors.append(FieldError.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(FieldError.invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def object_field(selector: core_v1.ObjectFieldSelector, allowed: tuple[str, ...], path: Path) -> list[FieldError]:
    """A field of the pod, perhaps with a subscript: `metadata.labels['app']`."""
    if not selector.api_version:
        return [FieldError.required(path.child("apiVersion"))]
    field = selector.field_path
    if not field:
        return [FieldError.required(path.child("fieldPath"))]
    base, bracket, rest = field.partition("['")
    subscript = rest[:-2] if bracket and rest.endswith("']") else None
    if selector.api_version != "v1":
        detail = f"error converting fieldPath: unsupported pod version: {selector.api_version}"
        return [FieldError.invalid(path.child("fieldPath"), field, detail)]
    if (base if subscript is not None else field) not in _CONVERTIBLE:
        detail = f"error converting fieldPath: field label not supported: {field}"
        return [FieldError.invalid(path.child("fieldPath"), field, detail)]
    if subscript is None:
        return [] if field in allowed else [FieldError.not_supported(path.child("fieldPath"), field, allowed)]
    if base not in ("metadata.labels", "metadata.annotations"):
        return [FieldError.invalid(path, base, "does not support subscript")]
    key = subscript.lower() if base == "metadata.annotations" else subscript
    return [FieldError.invalid(path, key, message) for message in names.qualified_name(key)]


def resource_field(selector: core_v1.ResourceFieldSelector, path: Path, *, in_volume: bool) -> list[FieldError]:
    """A request or limit of a container."""
    if in_volume and not selector.container_name:
        return [FieldError.required(path.child("containerName"))]
    resource = selector.resource
    if not resource:
        return [FieldError.required(path.child("resource"))]
    if resource not in _RESOURCES and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        return [FieldError.not_supported(path.child("resource"), resource, _RESOURCES)]
    divisor = str(Quantity(selector.divisor)) if selector.divisor is not None else "0"
    if divisor == "0":
        return []
    kind = resource.partition(".")[2]
    if kind == "cpu":
        if divisor in _CPU_DIVISORS:
            return []
        detail = "only divisor's values 1m and 1 are supported with the cpu resource"
    elif divisor in _SIZE_DIVISORS:
        return []
    else:
        name = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(kind, "hugepages")
        detail = f"only divisor's values {', '.join(_SIZE_DIVISORS)} are supported with the {name} resource"
    return [FieldError.invalid(path.child("divisor"), kind, detail)]
