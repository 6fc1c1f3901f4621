"""ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import binascii

import msgspec

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.validation import names
from apiserver.validation.common import immutable

MAX_SIZE = 1024 * 1024
_SEALED = "field is immutable when `immutable` is set"
_ACCOUNT = "kubernetes.io/service-account.name"
_DATA = Path("data")


def _keys(keys: list[str], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in keys:
        errors += [FieldError.invalid(path.key(key), key, message) for message in names.config_map_key(key)]
    return errors


def _decoded_size(value: str) -> int:
    return len(value) * 3 // 4 - value[-2:].count("=")


def validate_config_map(config_map: core_v1.ConfigMap) -> list[FieldError]:
    data, binary = config_map.data or {}, config_map.binary_data or {}
    errors = _keys(list(data), _DATA)
    for key in data:
        if key in binary:
            errors.append(FieldError.invalid(_DATA.key(key), key, "duplicate of key present in binaryData"))
    errors += _keys(list(binary), Path("binaryData"))
    size = sum(len(value) if value.isascii() else len(value.encode()) for value in data.values())
    size += sum(map(_decoded_size, binary.values()))
    if size > MAX_SIZE:
        errors.append(FieldError.too_long("[]", "", MAX_SIZE))
    return errors


def validate_config_map_update(new: core_v1.ConfigMap, old: core_v1.ConfigMap) -> list[FieldError]:
    errors: list[FieldError] = []
    if old.immutable:
        if not new.immutable:
            errors.append(FieldError.forbidden("immutable", _SEALED))
        if (new.data or {}) != (old.data or {}):
            errors.append(FieldError.forbidden("data", _SEALED))
        if (new.binary_data or {}) != (old.binary_data or {}):
            errors.append(FieldError.forbidden("binaryData", _SEALED))
    return errors + validate_config_map(new)


def validate_secret(secret: core_v1.Secret) -> list[FieldError]:
    data = secret.data or {}
    errors = _keys(list(data), _DATA)
    if sum(map(_decoded_size, data.values())) > MAX_SIZE:
        errors.append(FieldError.too_long(_DATA, "", MAX_SIZE))
    match secret.type:
        case "kubernetes.io/service-account-token":
            if not (secret.metadata.annotations or {}).get(_ACCOUNT):
                errors.append(FieldError.required(Path("metadata", "annotations").key(_ACCOUNT)))
        case "kubernetes.io/dockercfg":
            errors += _json_key(data, ".dockercfg")
        case "kubernetes.io/dockerconfigjson":
            errors += _json_key(data, ".dockerconfigjson")
        case "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                errors.append(FieldError.required(_DATA.key("username")))
                errors.append(FieldError.required(_DATA.key("password")))
        case "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                errors.append(FieldError.required(_DATA.key("ssh-privatekey")))
        case "kubernetes.io/tls":
            for key in ("tls.crt", "tls.key"):
                if key not in data:
                    errors.append(FieldError.required(_DATA.key(key)))
    return errors


def _json_key(data: dict[str, str], key: str) -> list[FieldError]:
    path = _DATA.key(key)
    if key not in data:
        return [FieldError.required(path)]
    try:
        msgspec.json.decode(base64.b64decode(data[key]))
    except (msgspec.DecodeError, binascii.Error) as error:
        return [FieldError.invalid(path, "<secret contents redacted>", str(error))]
    return []


def validate_secret_update(new: core_v1.Secret, old: core_v1.Secret) -> list[FieldError]:
    errors = immutable(new.type, old.type, Path("type"))
    if old.immutable:
        if not new.immutable:
            errors.append(FieldError.forbidden("immutable", _SEALED))
        if (new.data or {}) != (old.data or {}):
            errors.append(FieldError.forbidden("data", _SEALED))
    return errors + validate_secret(new)
