"""The node's CSINode: which CSI drivers are registered here (none: `kubelet.volumes.csi`), and that the volumes of old
in-tree plugins are theirs. As upstream, a node is not Ready before it is there, since the scheduler counts by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from api import codec, errors
from api.types.core_v1 import Node
from api.types.meta_v1 import ObjectMeta, OwnerReference
from api.types.storage_v1 import CSINode, CSINodeSpec
from client import Api

log = logging.getLogger(__name__)

NOT_INITIALIZED = "CSINode is not yet initialized"
RETRY = 1.0  # seconds
MIGRATED = "storage.alpha.kubernetes.io/migrated-plugins"
#: In-tree plugins that are no more: their volumes are of the CSI drivers that took over.
MIGRATED_PLUGINS = ",".join(
    f"kubernetes.io/{plugin}"
    for plugin in ("aws-ebs", "azure-disk", "azure-file", "cinder", "gce-pd", "portworx-volume", "vsphere-volume")
)


class CSINodeInfo:
    def __init__(self, api: Api, node: Callable[[], Node | None]) -> None:
        self._api = api
        self._node = node

    async def ensure(self) -> None:
        """Returns when the API server has it; tries until then. The node must be registered."""
        while True:
            try:
                await self._ensure()
                return
            except errors.StatusError as error:
                log.info("making the CSINode: %s", error)
            await self._api.pause(RETRY)

    async def _ensure(self) -> None:
        node = self._node()
        assert node is not None
        name = node.metadata.name or ""
        try:
            known = await self._api.get(CSINode, name)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
            owner = OwnerReference(api_version="v1", kind="Node", name=name, uid=node.metadata.uid or "")
            annotations = {MIGRATED: MIGRATED_PLUGINS}
            metadata = ObjectMeta(name=name, owner_references=[owner], annotations=annotations)
            await self._api.create(CSINode(metadata=metadata, spec=CSINodeSpec(drivers=[])))
            return
        if (known.metadata.annotations or {}).get(MIGRATED) != MIGRATED_PLUGINS:
            known = codec.deepcopy(known)
            known.metadata.annotations = {**(known.metadata.annotations or {}), MIGRATED: MIGRATED_PLUGINS}
            await self._api.update(known)
