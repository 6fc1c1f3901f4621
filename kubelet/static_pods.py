"""Static pods: manifests in a directory of the node, run without the API; and their mirrors, which show them in it.

A static pod's UID comes from its manifest, so that a changed manifest is another pod. Its mirror cannot be changed
through the API: deleting it only has it made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api import codec, errors
from api import time as api_time
from api.types.core_v1 import Node, Pod, Toleration
from api.types.meta_v1 import OwnerReference
from client import Api
from client.informer import Informer
from kubelet import podutil
from kubelet.config import Config
from kubelet.pods import Pods

log = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between looks at the directory
RETRY = 5.0


@dataclass(slots=True)
class _File:
    stamp: tuple[int, int]  # modification time, size
    pods: list[Pod]


def parse(text: bytes, config: Config, source: str) -> list[Pod]:
    """The pods of a manifest (a Pod or a PodList). Raises ValueError, StatusError."""
    import yaml  # most nodes have a directory without manifests: they need no YAML parser in memory

    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    pods: list[Pod] = []
    for document in documents:
        if not isinstance(document, dict):
            continue
        items = document.get("items") if document.get("kind") in ("PodList", "List") else [document]
        for item in items or ():
            if not isinstance(item, dict) or item.get("kind", "Pod") != "Pod":
                raise ValueError(f"{source}: only pods may be static")
            pods.append(_prepare(item, config, source))
    return pods


def _prepare(document: dict[str, Any], config: Config, source: str) -> Pod:
    pod = codec.from_dict(Pod, {**document, "apiVersion": "v1", "kind": "Pod"})
    if not pod.metadata.name:
        raise ValueError(f"{source}: a pod needs a name")
    if not pod.spec.containers:
        raise ValueError(f"{source}: a pod needs a container")
    material = f"host:{config.node_name}file:{source}".encode() + codec.encode(pod)
    digest = hashlib.md5(material, usedforsecurity=False).hexdigest()
    pod.metadata.uid = pod.metadata.uid or digest
    pod.metadata.name = f"{pod.metadata.name}-{config.node_name}"
    pod.metadata.namespace = pod.metadata.namespace or "default"
    pod.metadata.creation_timestamp = api_time.now()
    pod.metadata.annotations = {
        **(pod.metadata.annotations or {}),
        podutil.CONFIG_SOURCE: "file",
        podutil.CONFIG_HASH: digest,
        "kubernetes.io/config.seen": api_time.now_micro(),
    }
    pod.spec.node_name = config.node_name
    pod.spec.tolerations = [*(pod.spec.tolerations or ()), Toleration(operator="Exists", effect="NoExecute")]
    pod.status.phase = "Pending"
    return pod


class StaticPods:
    def __init__(self, config: Config, api: Api, pods: Pods, informer: Informer[Pod]) -> None:
        self._config = config
        self._api = api
        self._pods = pods
        self._informer = informer
        self._files: dict[Path, _File] = {}
        self._wanted: dict[str, Pod] = {}  # by UID
        self._look = asyncio.Event()
        # A mirror that is gone is made anew at the next look, not at once: whoever deleted it may be waiting to see
        # that name gone.
        informer.add_handler(on_update=lambda _, new: self._mirror_changed(new))

    def mirror(self, pod: Pod) -> Pod | None:
        """The mirror of a static pod, if it is there."""
        found = self._informer.get(podutil.namespace(pod), podutil.name(pod))
        if found is None or found.metadata.deletion_timestamp:
            return None
        digest = (pod.metadata.annotations or {}).get(podutil.CONFIG_HASH)
        return found if (found.metadata.annotations or {}).get(podutil.CONFIG_MIRROR) == digest else None

    def _mirror_changed(self, pod: Pod) -> None:
        if podutil.is_mirror(pod) and self.mirror(pod) is None:
            self._look.set()

    async def run(self, node: Node, *, on_read: Callable[[], None]) -> None:
        """Until cancelled. `on_read` is called when the pods of the first look have their workers."""
        directory = self._config.static_pod_path
        assert directory is not None
        while True:
            self._look.clear()
            self._read(directory)
            self._apply()
            on_read()
            pause = INTERVAL
            try:
                await self._keep_mirrors(node)
            except errors.StatusError as error:
                log.info("mirror pods: %s", error)
                pause = RETRY
            try:
                async with asyncio.timeout(pause):
                    await self._look.wait()
            except TimeoutError:
                pass

    def _read(self, directory: Path) -> None:
        """Read what has changed; a manifest that is wrong leaves what was there before."""
        found: dict[Path, tuple[int, int]] = {}
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            entries = []
        for entry in entries:
            try:
                if entry.is_file() and not entry.name.startswith("."):
                    stat = entry.stat()
                    found[Path(entry.path)] = (stat.st_mtime_ns, stat.st_size)
            except OSError:
                continue  # gone between the list and the look
        for path, stamp in found.items():
            known = self._files.get(path)
            if known is not None and known.stamp == stamp:
                continue
            try:
                pods = parse(path.read_bytes(), self._config, str(path))
            except (ValueError, errors.StatusError, OSError) as error:
                log.error("static pod manifest %s: %s", path, error)
                pods = known.pods if known else []
            self._files[path] = _File(stamp, pods)
        self._files = {path: file for path, file in self._files.items() if path in found}

    def _apply(self) -> None:
        wanted = {podutil.uid(pod): pod for file in self._files.values() for pod in file.pods}
        for uid in self._wanted.keys() - wanted.keys():
            if worker := self._pods.get(uid):
                worker.remove(self._wanted[uid])
        self._wanted = wanted
        busy = {worker.key for worker in self._pods.workers() if podutil.is_static(worker.pod)}
        for uid, pod in wanted.items():
            # Two static pods of one name never run side by side: the new one waits for the old one's end.
            if self._pods.get(uid) is None and podutil.key(pod) not in busy:
                self._pods.add(pod)

    async def _keep_mirrors(self, node: Node) -> None:
        keys = {podutil.key(pod): pod for pod in self._wanted.values()}
        for found in self._informer.list():
            if not podutil.is_mirror(found):
                continue
            pod = keys.get(podutil.key(found))
            if pod is None or self.mirror(pod) is None:
                await self._delete(found)
        for pod in keys.values():
            if self._informer.get(podutil.namespace(pod), podutil.name(pod)) is None:
                await self._create(pod, node)
                self._pods.mirrored(pod)

    async def _delete(self, mirror: Pod) -> None:
        try:
            await self._api.delete(
                Pod,
                podutil.name(mirror),
                namespace=podutil.namespace(mirror),
                grace_period_seconds=0,
                uid=podutil.uid(mirror),
            )
        except errors.StatusError as error:
            if not (errors.is_not_found(error) or errors.is_conflict(error)):
                raise

    async def _create(self, pod: Pod, node: Node) -> None:
        mirror = codec.deepcopy(pod)
        annotations = dict(mirror.metadata.annotations or {})
        annotations[podutil.CONFIG_MIRROR] = annotations[podutil.CONFIG_HASH]
        mirror.metadata.annotations = annotations
        mirror.metadata.uid = None
        mirror.metadata.creation_timestamp = None
        mirror.metadata.owner_references = [
            OwnerReference(
                api_version="v1", kind="Node", name=self._config.node_name, uid=node.metadata.uid or "", controller=True
            )
        ]
        try:
            await self._api.create(mirror)
        except errors.StatusError as error:
            if not errors.is_already_exists(error):
                raise
