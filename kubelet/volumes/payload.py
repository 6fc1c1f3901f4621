"""From the data of ConfigMaps and Secrets to the files of a volume: items, modes, optional."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from api import errors
from api.types.core_v1 import ConfigMap, KeyToPath, Secret
from kubelet.objects import Objects
from kubelet.volumes.atomic_writer import Projected
from kubelet.volumes.base import VolumeError

DEFAULT_MODE = 0o644


def config_map_data(found: ConfigMap) -> dict[str, bytes]:
    data = {key: value.encode() for key, value in (found.data or {}).items()}
    data.update({key: base64.b64decode(value) for key, value in (found.binary_data or {}).items()})
    return data


def secret_data(found: Secret) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (found.data or {}).items()}


async def config_map_files(
    objects: Objects, namespace: str, name: str, items: Iterable[KeyToPath] | None, mode: int, optional: bool
) -> dict[str, Projected]:
    try:
        data = config_map_data(await objects.config_map(namespace, name))
    except errors.StatusError as error:
        if not (optional and errors.is_not_found(error)):
            raise VolumeError(error.message) from None
        return {}
    return _files(data, items, mode, optional, "configmap")


async def secret_files(
    objects: Objects, namespace: str, name: str, items: Iterable[KeyToPath] | None, mode: int, optional: bool
) -> dict[str, Projected]:
    try:
        data = secret_data(await objects.secret(namespace, name))
    except errors.StatusError as error:
        if not (optional and errors.is_not_found(error)):
            raise VolumeError(error.message) from None
        return {}
    return _files(data, items, mode, optional, "secret")


def _files(
    data: Mapping[str, bytes], items: Iterable[KeyToPath] | None, mode: int, optional: bool, noun: str
) -> dict[str, Projected]:
    if not items:
        return {key: Projected(value, mode) for key, value in sorted(data.items())}
    files: dict[str, Projected] = {}
    for item in items:
        if item.key not in data:
            if optional:
                continue
            raise VolumeError(
                f"references non-existent secret key: {item.key}"
                if noun == "secret"
                else f"configmap references non-existent config key: {item.key}"
            )
        files[item.path] = Projected(data[item.key], mode if item.mode is None else item.mode)
    return files
