"""image: the files of an image as a volume (KEP-4639). Pulled like a container's own image, when a container that
mounts it is started, so that what goes wrong is told in that container's state, with the same reasons and backoff.
"""

from __future__ import annotations

from pathlib import Path

from api.types.core_v1 import Pod, Volume
from kubelet import podutil
from kubelet.cri import Runtime
from kubelet.images import Images
from kubelet.layout import Layout
from kubelet.podutil import AnyContainer

PLUGIN = "kubernetes.io/image"


class ImageVolumes:
    def __init__(self, runtime: Runtime, images: Images, layout: Layout) -> None:
        self._runtime = runtime
        self._images = images
        self._layout = layout

    @staticmethod
    def of(pod: Pod, container: AnyContainer) -> list[Volume]:
        """The image volumes that the container mounts."""
        mounted = {mount.name for mount in container.volume_mounts or ()}
        return [v for v in pod.spec.volumes or () if v.image is not None and v.name in mounted]

    async def mount(self, pod: Pod, container: AnyContainer) -> dict[str, Path]:
        """By volume name. Raises ImageError if an image can't be had, RuntimeFailure if it can't be mounted."""
        paths: dict[str, Path] = {}
        for volume in self.of(pod, container):
            assert volume.image is not None
            reference, policy = volume.image.reference or "", volume.image.pull_policy
            image = await self._images.ensure_named(pod, reference, policy, container.name)
            path = self._layout.volume(podutil.uid(pod), PLUGIN, volume.name)
            await self._runtime.mount_image(image.id, path)
            paths[volume.name] = path
        return paths
