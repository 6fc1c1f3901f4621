"""Removes and copies the directories of local volumes, by pods that run on the node where they are.

A directory can only be reached from its node, and only pods run there: each task is a pod of `kube-system`, bound to
the node, that mounts the folder of all local volumes. Its name follows from the volume's, so that a task is never done
twice at once, and a controller that starts anew finds what its predecessor had begun.
"""

from __future__ import annotations

from collections.abc import Sequence

from api import errors
from api.types.core_v1 import (
    Container,
    HostPathVolumeSource,
    Node,
    PersistentVolume,
    Pod,
    PodSpec,
    Toleration,
    Volume,
    VolumeMount,
)
from api.types.meta_v1 import ObjectMeta
from api.volumes import SELECTED_NODE, annotation
from client.api import Api
from client.informer import Informer

NAMESPACE = "kube-system"
LABEL = "pykube.dev/local-volume"
_MOUNT = "/volumes"


class TaskFailed(Exception):
    """The pod could not do it. The message is its own; the next call tries again."""


def directory(volume: PersistentVolume) -> str:
    """The name of the volume's directory in the folder of all; "" if it has none."""
    return volume.spec.local.path.rpartition("/")[2] if volume.spec.local is not None else ""


class LocalDirectories:
    """`done` is true once a task has ended well; until then call again whenever the task's pod has changed."""

    def __init__(self, api: Api, pods: Informer[Pod], nodes: Informer[Node], *, root: str, image: str) -> None:
        self._api = api
        self._pods = pods
        self._nodes = nodes
        self._root = root
        self._image = image

    async def removed(self, volume: PersistentVolume) -> bool:
        """Whether the directory is gone: removed, or with the node that had it."""
        node, name = annotation(volume, SELECTED_NODE), directory(volume)
        if not name or not self._image or self._nodes.get("", node) is None:
            return True
        return await self._done(f"remove-{volume.metadata.name}", volume, node, ["rm", "-rf", f"{_MOUNT}/{name}"])

    async def copied(self, source: PersistentVolume, target: PersistentVolume) -> bool:
        """Whether `target`'s directory holds what `source`'s does. Both are on one node."""
        assert directory(source) and directory(target)
        made = f"{_MOUNT}/{directory(target)}"
        script = f"rm -rf {made}.part && cp -a {_MOUNT}/{directory(source)} {made}.part && mv {made}.part {made}"
        node = annotation(target, SELECTED_NODE)
        return await self._done(
            f"copy-{target.metadata.name}", target, node, ["sh", "-c", f"test -e {made} || {{ {script}; }}"]
        )

    async def _done(self, name: str, volume: PersistentVolume, node: str, command: Sequence[str]) -> bool:
        pod = self._pods.get(NAMESPACE, name)
        if pod is None:
            try:
                await self._api.create(self._pod(name, volume.metadata.name or "", node, command))
            except errors.StatusError as error:
                if not errors.is_already_exists(error):
                    raise
            return False
        if pod.status.phase not in ("Succeeded", "Failed") or pod.metadata.deletion_timestamp:
            return False
        await self._api.delete(Pod, name, namespace=NAMESPACE, grace_period_seconds=0, uid=pod.metadata.uid)
        if pod.status.phase == "Succeeded":
            return True
        ended = [s.state.terminated for s in pod.status.container_statuses or () if s.state.terminated]
        said = next((t.message for t in ended if t.message), pod.status.message or pod.status.reason or "unknown")
        raise TaskFailed(f"{' '.join(command)} on node {node}: {said}")

    def _pod(self, name: str, volume: str, node: str, command: Sequence[str]) -> Pod:
        return Pod(
            metadata=ObjectMeta(name=name, namespace=NAMESPACE, labels={LABEL: volume}),
            spec=PodSpec(
                node_name=node,
                restart_policy="Never",
                priority_class_name="system-node-critical",
                termination_grace_period_seconds=0,
                automount_service_account_token=False,
                tolerations=[Toleration(operator="Exists")],
                containers=[
                    Container(
                        name="main",
                        image=self._image,
                        image_pull_policy="IfNotPresent",
                        command=list(command),
                        termination_message_policy="FallbackToLogsOnError",
                        volume_mounts=[VolumeMount(name="volumes", mount_path=_MOUNT)],
                    )
                ],
                volumes=[
                    Volume(
                        name="volumes",
                        host_path=HostPathVolumeSource(path=self._root, type="DirectoryOrCreate"),
                    )
                ],
            ),
        )
