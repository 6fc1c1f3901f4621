"""Defaults of the volumes of a pod and of the sources of persistent volumes."""

from __future__ import annotations

from typing import Any

import msgspec

from api.types import core_v1
from apiserver.defaults.images import default_pull_policy
from apiserver.defaults.quantities import canonical, default_resource_list

_SOURCES = tuple(f.name for f in msgspec.structs.fields(core_v1.Volume) if f.name != "name")


def default_volume(volume: core_v1.Volume) -> None:
    if volume.config_map is not None:
        if volume.config_map.default_mode is None:
            volume.config_map.default_mode = 0o644
    elif volume.secret is not None:
        if volume.secret.default_mode is None:
            volume.secret.default_mode = 0o644
    elif volume.empty_dir is not None:
        if volume.empty_dir.size_limit is not None:
            volume.empty_dir.size_limit = canonical(volume.empty_dir.size_limit)
    elif volume.projected is not None:
        _projected(volume.projected)
    elif volume.host_path is not None:
        if volume.host_path.type is None:
            volume.host_path.type = ""
    elif volume.downward_api is not None:
        if volume.downward_api.default_mode is None:
            volume.downward_api.default_mode = 0o644
        _downward_items(volume.downward_api.items)
    elif volume.persistent_volume_claim is not None:
        return
    elif all(getattr(volume, source) is None for source in _SOURCES):
        volume.empty_dir = core_v1.EmptyDirVolumeSource()
    else:
        default_rare_source(volume)


def default_rare_source(volume: core_v1.Volume | core_v1.PersistentVolumeSpec) -> None:
    """Sources that pods and persistent volumes have in common, and the two only pods have."""
    if (ephemeral := getattr(volume, "ephemeral", None)) is not None:
        if ephemeral.volume_claim_template is not None:
            default_claim_spec(ephemeral.volume_claim_template.spec)
    elif (image := getattr(volume, "image", None)) is not None and not image.pull_policy:
        image.pull_policy = default_pull_policy(image.reference)
    if volume.iscsi is not None:
        _set(volume.iscsi, iscsi_interface="default")
    if volume.rbd is not None:
        _set(volume.rbd, pool="rbd", user="admin", keyring="/etc/ceph/keyring")
    if (disk := volume.azure_disk) is not None:
        _set(disk, caching_mode="ReadWrite", kind="Shared", fs_type="ext4")
        if disk.read_only is None:
            disk.read_only = False
    if volume.scale_io is not None:
        _set(volume.scale_io, storage_mode="ThinProvisioned", fs_type="xfs")
    if volume.host_path is not None and volume.host_path.type is None:
        volume.host_path.type = ""


def default_claim_spec(spec: core_v1.PersistentVolumeClaimSpec) -> None:
    if spec.volume_mode is None:
        spec.volume_mode = "Filesystem"
    default_resource_list(spec.resources.limits)
    default_resource_list(spec.resources.requests)
    _mirror_data_source(spec)


def _mirror_data_source(spec: core_v1.PersistentVolumeClaimSpec) -> None:
    # Upstream's NormalizeDataSources: the two fields say the same unless dataSourceRef names another namespace.
    if spec.data_source is not None and spec.data_source_ref is None:
        source = spec.data_source
        spec.data_source_ref = core_v1.TypedObjectReference(
            api_group=source.api_group, kind=source.kind, name=source.name
        )
    elif spec.data_source is None and spec.data_source_ref is not None and not spec.data_source_ref.namespace:
        ref = spec.data_source_ref
        spec.data_source = core_v1.TypedLocalObjectReference(api_group=ref.api_group, kind=ref.kind, name=ref.name)


def default_object_field_selector(selector: core_v1.ObjectFieldSelector) -> None:
    if not selector.api_version:
        selector.api_version = "v1"


def _projected(source: core_v1.ProjectedVolumeSource) -> None:
    if source.default_mode is None:
        source.default_mode = 0o644
    for projection in source.sources or ():
        if projection.service_account_token is not None:
            if projection.service_account_token.expiration_seconds is None:
                projection.service_account_token.expiration_seconds = 3600
        elif projection.downward_api is not None:
            _downward_items(projection.downward_api.items)
        elif projection.pod_certificate is not None and projection.pod_certificate.max_expiration_seconds is None:
            projection.pod_certificate.max_expiration_seconds = 86400


def _downward_items(items: list[core_v1.DownwardAPIVolumeFile] | None) -> None:
    for item in items or ():
        if item.field_ref is not None:
            default_object_field_selector(item.field_ref)
        if (ref := item.resource_field_ref) is not None:
            ref.divisor = canonical(ref.divisor) if ref.divisor is not None else "0"


def _set(source: Any, **defaults: str) -> None:
    for name, value in defaults.items():
        if not getattr(source, name):
            setattr(source, name, value)
