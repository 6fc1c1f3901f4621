"""The volume behind a claim: the cluster's own directories are made when they are first used, others must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.types.core_v1 import (
    Container,
    LocalVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSpec,
    Volume,
)
from api.types.meta_v1 import ObjectMeta
from api.volumes import LOCAL_PROVISIONER, PROVISIONED_BY
from client.fake import FakeApi
from kubelet.volumes.base import VolumeError
from kubelet.volumes.persistent import PersistentVolumeClaimVolume

DATA = Volume(name="data", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="c"))
POD = Pod(
    metadata=ObjectMeta(name="p", namespace="d", uid="u"),
    spec=PodSpec(containers=[Container(name="c")], volumes=[DATA]),
)


def cluster(path: Path, provisioner: str) -> FakeApi:
    claim = PersistentVolumeClaim(
        metadata=ObjectMeta(name="c", namespace="d", uid="claim"),
        spec=PersistentVolumeClaimSpec(volume_name="v"),
        status=PersistentVolumeClaimStatus(phase="Bound"),
    )
    volume = PersistentVolume(
        metadata=ObjectMeta(name="v", annotations={PROVISIONED_BY: provisioner}),
        spec=PersistentVolumeSpec(
            local=LocalVolumeSource(path=str(path)), claim_ref=ObjectReference(name="c", namespace="d", uid="claim")
        ),
    )
    return FakeApi(claim, volume)


async def test_a_directory_of_our_own_is_made_by_its_first_pod_and_kept_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "volumes" / "v"
    kind = PersistentVolumeClaimVolume(cluster(path, LOCAL_PROVISIONER))
    assert await kind.set_up(POD, DATA, tmp_path / "unused") == path
    assert path.stat().st_mode & 0o777 == 0o777
    (path / "file").write_text("kept")
    await kind.set_up(POD, DATA, tmp_path / "unused")
    assert (path / "file").read_text() == "kept"


async def test_somebody_elses_directory_must_be_there(tmp_path: Path) -> None:
    kind = PersistentVolumeClaimVolume(cluster(tmp_path / "missing", "example.com/disks"))
    with pytest.raises(VolumeError, match="does not exist"):
        await kind.set_up(POD, DATA, tmp_path / "unused")
