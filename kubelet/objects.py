"""The ConfigMaps and Secrets that pods of this node refer to: watched one by one, for as long as a pod needs them.

The node authorizer lets a kubelet see only what its pods refer to, so there is no list of all; each object has its own
informer on the shared watch stream, and what the cache holds is what the API server said last, also while it is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from api import errors
from api.types.core_v1 import ConfigMap, Pod, Secret
from client import Api
from client.informer import Informer
from kubelet import podutil

T = TypeVar("T", ConfigMap, Secret)
Key = tuple[type[Any], str, str]  # type, namespace, name

#: As upstream's kubelet names them in `configmap "x" not found`.
_RESOURCE = {ConfigMap: "configmap", Secret: "secret"}


@dataclass(slots=True)
class _Watched:
    informer: Informer[Any]
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)  # pod UIDs


def references(pod: Pod) -> set[Key]:
    """Every ConfigMap and Secret that the pod's spec names, optional ones too."""
    namespace = podutil.namespace(pod)
    return {(kind, namespace, name) for kind, name in _references(pod) if name}


def _references(pod: Pod) -> Iterator[tuple[type[Any], str | None]]:
    for secret in pod.spec.image_pull_secrets or ():
        yield Secret, secret.name
    for container in podutil.all_containers(pod):
        for source in container.env_from or ():
            if source.config_map_ref:
                yield ConfigMap, source.config_map_ref.name
            if source.secret_ref:
                yield Secret, source.secret_ref.name
        for variable in container.env or ():
            if variable.value_from and variable.value_from.config_map_key_ref:
                yield ConfigMap, variable.value_from.config_map_key_ref.name
            if variable.value_from and variable.value_from.secret_key_ref:
                yield Secret, variable.value_from.secret_key_ref.name
    for volume in pod.spec.volumes or ():
        if volume.config_map:
            yield ConfigMap, volume.config_map.name
        if volume.secret:
            yield Secret, volume.secret.secret_name
        for projection in (volume.projected.sources if volume.projected else None) or ():
            if projection.config_map:
                yield ConfigMap, projection.config_map.name
            if projection.secret:
                yield Secret, projection.secret.name


class Objects:
    """Must be used as an async context manager: leaving it ends the watches."""

    def __init__(self, api: Api, on_change: Callable[[set[str]], None]) -> None:
        """`on_change` is told the UIDs of the pods that refer to an object which has changed."""
        self._api = api
        self._on_change = on_change
        self._watched: dict[Key, _Watched] = {}
        self._by_pod: dict[str, set[Key]] = {}

    async def __aenter__(self) -> Objects:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [watched.task for watched in self._watched.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watched.clear()

    def register(self, pod: Pod) -> None:
        """Start (or keep) watching what the pod refers to, and nothing that it no longer does."""
        uid = podutil.uid(pod)
        wanted = references(pod)
        before = self._by_pod.get(uid, set())
        for key in wanted - before:
            self._acquire(key, uid)
        for key in before - wanted:
            self._release(key, uid)
        self._by_pod[uid] = wanted

    def unregister(self, uid: str) -> None:
        for key in self._by_pod.pop(uid, set()):
            self._release(key, uid)

    async def config_map(self, namespace: str, name: str) -> ConfigMap:
        """Raises StatusError (404) if there is none."""
        return await self._get(ConfigMap, namespace, name)

    async def secret(self, namespace: str, name: str) -> Secret:
        """Raises StatusError (404) if there is none."""
        return await self._get(Secret, namespace, name)

    async def _get(self, kind: type[T], namespace: str, name: str) -> T:
        watched = self._watched.get((kind, namespace, name))
        if watched is not None:
            await watched.informer.synced()
            found: T | None = watched.informer.get(namespace, name)
        else:
            found = await self._ask(kind, namespace, name)
        if found is None:
            raise errors.not_found(_RESOURCE[kind], name)
        return found

    async def _ask(self, kind: type[T], namespace: str, name: str) -> T | None:
        try:
            return await self._api.get(kind, name, namespace=namespace)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
            return None

    def _acquire(self, key: Key, uid: str) -> None:
        watched = self._watched.get(key)
        if watched is None:
            kind, namespace, name = key
            informer = Informer(self._api, kind, namespace=namespace, fields=f"metadata.name={name}")

            def changed(*_: Any) -> None:
                if current := self._watched.get(key):
                    self._on_change(set(current.users))

            informer.add_handler(on_add=changed, on_update=changed, on_delete=changed)
            task = asyncio.create_task(informer.run(), name=f"watch {kind.__name__} {namespace}/{name}")
            watched = self._watched[key] = _Watched(informer, task)
        watched.users.add(uid)

    def _release(self, key: Key, uid: str) -> None:
        watched = self._watched.get(key)
        if watched is None:
            return
        watched.users.discard(uid)
        if not watched.users:
            watched.task.cancel()
            del self._watched[key]
