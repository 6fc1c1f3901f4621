"""Volumes, claims and everything of storage.k8s.io."""

from __future__ import annotations

from api import time as api_time
from api.types import core_v1, storage_v1
from apiserver.defaults import core as core_defaults
from apiserver.defaults import others as defaults
from apiserver.printers import cluster as core_rows
from apiserver.printers import others as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import storage as rules
from apiserver.validation import volumes


class PersistentVolumeStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            core_v1.PersistentVolume,
            defaults=core_defaults.default_persistent_volume,
            columns=core_rows.PERSISTENT_VOLUME,
            cells=core_rows.persistent_volume_cells,
            create=volumes.validate_persistent_volume,
            update=volumes.validate_persistent_volume_update,
            fields={"name": lambda volume: volume.metadata.name or ""},
        )

    def prepare_create(self, ctx: Context, obj: core_v1.PersistentVolume) -> None:
        obj.status = core_v1.PersistentVolumeStatus(phase="Pending", last_phase_transition_time=api_time.now())

    def prepare_status_update(self, ctx: Context, new: core_v1.PersistentVolume, old: core_v1.PersistentVolume) -> None:
        new.spec = old.spec
        if new.status.phase != old.status.phase:
            if new.status.last_phase_transition_time in (None, old.status.last_phase_transition_time):
                new.status.last_phase_transition_time = api_time.now()
        elif new.status.last_phase_transition_time is None:
            new.status.last_phase_transition_time = old.status.last_phase_transition_time


class PersistentVolumeClaimStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            core_v1.PersistentVolumeClaim,
            defaults=core_defaults.default_persistent_volume_claim,
            columns=core_rows.PERSISTENT_VOLUME_CLAIM,
            cells=core_rows.persistent_volume_claim_cells,
            create=volumes.validate_persistent_volume_claim,
            update=volumes.validate_persistent_volume_claim_update,
            status=volumes.validate_persistent_volume_claim_status_update,
            fields={"name": lambda claim: claim.metadata.name or ""},
        )

    def prepare_create(self, ctx: Context, obj: core_v1.PersistentVolumeClaim) -> None:
        obj.status = core_v1.PersistentVolumeClaimStatus(phase="Pending")


class CSIDriverStrategy(BuiltIn):
    """Counts changes of the fields that may change."""

    def __init__(self) -> None:
        super().__init__(
            storage_v1.CSIDriver,
            defaults=defaults.default_csi_driver,
            columns=rows.CSI_DRIVER,
            cells=rows.csi_driver_cells,
            create=rules.validate_csi_driver,
            update=rules.validate_csi_driver_update,
            unconditional_update=False,
            generation_of=("spec",),
        )


def strategies() -> list[Strategy]:
    return [
        PersistentVolumeStrategy(),
        PersistentVolumeClaimStrategy(),
        CSIDriverStrategy(),
        BuiltIn(
            storage_v1.StorageClass,
            defaults=defaults.default_storage_class,
            columns=rows.STORAGE_CLASS,
            cells=rows.storage_class_cells,
            create=rules.validate_storage_class,
            update=rules.validate_storage_class_update,
        ),
        BuiltIn(
            storage_v1.VolumeAttributesClass,
            columns=rows.VOLUME_ATTRIBUTES_CLASS,
            cells=rows.volume_attributes_class_cells,
            create=rules.validate_volume_attributes_class,
            update=rules.validate_volume_attributes_class_update,
        ),
        BuiltIn(
            storage_v1.VolumeAttachment,
            columns=rows.VOLUME_ATTACHMENT,
            cells=rows.volume_attachment_cells,
            create=rules.validate_volume_attachment,
            update=rules.validate_volume_attachment_update,
            unconditional_update=False,
        ),
        BuiltIn(
            storage_v1.CSINode,
            columns=rows.CSI_NODE,
            cells=rows.csi_node_cells,
            create=rules.validate_csi_node,
            update=rules.validate_csi_node_update,
            unconditional_update=False,
        ),
        BuiltIn(
            storage_v1.CSIStorageCapacity,
            defaults=defaults.default_csi_storage_capacity,
            columns=rows.CSI_STORAGE_CAPACITY,
            cells=rows.csi_storage_capacity_cells,
            create=rules.validate_csi_storage_capacity,
            update=rules.validate_csi_storage_capacity_update,
            unconditional_update=False,
        ),
    ]
