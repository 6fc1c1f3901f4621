"""The environment of a container: env, envFrom, and the variables that describe services.

Precedence is upstream's: `env` over `envFrom` over service variables; later entries over earlier ones.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from api import errors
from api.quantity import Quantity
from api.types.core_v1 import EnvVarSource, FileKeySelector, Pod, Service
from kubelet import downward, env_file, podutil
from kubelet.downward import Addresses
from kubelet.expansion import expand_env
from kubelet.objects import Objects
from kubelet.podutil import AnyContainer

MASTER_NAMESPACE, MASTER_SERVICE = "default", "kubernetes"


class ConfigError(Exception):
    """The container's configuration can't be made (reason CreateContainerConfigError); str() is upstream's message."""


def service_variables(services: Iterable[Service]) -> dict[str, str]:
    """Docker-links variables (`FOO_SERVICE_HOST`, `FOO_PORT_80_TCP_ADDR`, ...) of services with a cluster IP."""
    variables: dict[str, str] = {}
    for service in services:
        ip, ports = service.spec.cluster_ip, service.spec.ports or []
        if not ip or ip == "None" or not ports:
            continue
        prefix = _variable_name(service.metadata.name or "")
        variables[f"{prefix}_SERVICE_HOST"] = ip
        variables[f"{prefix}_SERVICE_PORT"] = str(ports[0].port)
        for port in ports:
            if port.name:
                variables[f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}"] = str(port.port)
        host = f"[{ip}]" if ":" in ip else ip
        for index, port in enumerate(ports):
            protocol = port.protocol or "TCP"
            url = f"{protocol.lower()}://{host}:{port.port}"
            if index == 0:
                variables[f"{prefix}_PORT"] = url
            port_prefix = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
            variables[port_prefix] = url
            variables[f"{port_prefix}_PROTO"] = protocol.lower()
            variables[f"{port_prefix}_PORT"] = str(port.port)
            variables[f"{port_prefix}_ADDR"] = ip
    return variables


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_").replace(".", "_")


def relevant_services(pod: Pod, services: Iterable[Service]) -> list[Service]:
    """The API server's own service, and those of the pod's namespace unless `enableServiceLinks` is false."""
    links = pod.spec.enable_service_links is not False
    master: list[Service] = []
    own: list[Service] = []
    for service in services:
        namespace, name = service.metadata.namespace, service.metadata.name
        if links and namespace == pod.metadata.namespace:
            own.append(service)
        elif namespace == MASTER_NAMESPACE and name == MASTER_SERVICE:
            master.append(service)
    return master + own


class Environment:
    """Makes environments; `services` and `allocatable` are asked each time."""

    def __init__(
        self,
        objects: Objects,
        services: Callable[[], Iterable[Service]],
        allocatable: Callable[[], Mapping[str, Quantity]],
        on_skipped: Callable[[Pod, str, str, Sequence[str]], None] = lambda *_: None,
    ) -> None:
        """`on_skipped(pod, kind, name, keys)` hears of keys of an envFrom source that can't be variables' names."""
        self._objects = objects
        self._services = services
        self._allocatable = allocatable
        self._on_skipped = on_skipped

    async def make(
        self, pod: Pod, container: AnyContainer, addresses: Addresses, volumes: Mapping[str, Path] | None = None
    ) -> list[tuple[str, str]]:
        """`volumes`: where volumes are, for `fileKeyRef`. Raises ConfigError; StatusError if the API server can't be
        asked."""
        service_env = service_variables(relevant_services(pod, self._services()))
        env: dict[str, str] = {}
        for source in container.env_from or ():
            prefix = source.prefix or ""
            if source.config_map_ref:
                ref = source.config_map_ref
                data = await self._config_map(pod, ref.name or "", bool(ref.optional))
                kind, name = "configMap", ref.name or ""
            elif source.secret_ref:
                secret_ref = source.secret_ref
                data = await self._secret(pod, secret_ref.name or "", bool(secret_ref.optional))
                kind, name = "secret", secret_ref.name or ""
            else:
                continue
            skipped = sorted(k for k in data or {} if not _valid(prefix + k))
            if skipped:
                self._on_skipped(pod, kind, name, skipped)
            for data_key, value in sorted((data or {}).items()):
                if _valid(prefix + data_key):
                    env[prefix + data_key] = value
        for variable in container.env or ():
            if variable.value_from and variable.value_from.file_key_ref:
                value_or_none = _from_file(variable.value_from.file_key_ref, volumes or {})
                if value_or_none is not None:
                    env[variable.name] = value_or_none
            elif variable.value_from:
                value_or_none = await self._from(pod, container, variable.value_from, addresses)
                if value_or_none is not None:
                    env[variable.name] = value_or_none
            else:
                env[variable.name] = expand_env(variable.value or "", env, service_env)
        for service_name, value in service_env.items():
            env.setdefault(service_name, value)
        return list(env.items())

    async def _from(self, pod: Pod, container: AnyContainer, source: EnvVarSource, addresses: Addresses) -> str | None:
        try:
            if source.field_ref:
                return downward.field_value(pod, source.field_ref.field_path, addresses)
            if source.resource_field_ref:
                return downward.resource_value(pod, source.resource_field_ref, container, self._allocatable())
        except downward.UnsupportedField as error:
            raise ConfigError(str(error)) from None
        where = podutil.namespace(pod)
        if ref := source.config_map_key_ref:
            data = await self._config_map(pod, ref.name or "", bool(ref.optional))
            if data is None or (ref.key not in data and ref.optional):
                return None
            if ref.key not in data:
                raise ConfigError(f"couldn't find key {ref.key} in ConfigMap {where}/{ref.name}")
            return data[ref.key]
        if secret_ref := source.secret_key_ref:
            data = await self._secret(pod, secret_ref.name or "", bool(secret_ref.optional))
            if data is None or (secret_ref.key not in data and secret_ref.optional):
                return None
            if secret_ref.key not in data:
                raise ConfigError(f"couldn't find key {secret_ref.key} in Secret {where}/{secret_ref.name}")
            return data[secret_ref.key]
        return None

    async def _config_map(self, pod: Pod, name: str, optional: bool) -> dict[str, str] | None:
        try:
            return (await self._objects.config_map(podutil.namespace(pod), name)).data or {}
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
            if optional:
                return None
            raise ConfigError(error.message) from None

    async def _secret(self, pod: Pod, name: str, optional: bool) -> dict[str, str] | None:
        try:
            data = (await self._objects.secret(podutil.namespace(pod), name)).data or {}
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
            if optional:
                return None
            raise ConfigError(error.message) from None
        return {key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()}


def _from_file(source: FileKeySelector, volumes: Mapping[str, Path]) -> str | None:
    try:
        return env_file.variable(source, volumes)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _valid(name: str) -> bool:
    """Any printable ASCII but `=` (KEP-4369)."""
    return bool(name) and all(" " <= char <= "~" and char != "=" for char in name)
