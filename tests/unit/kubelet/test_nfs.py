"""NFS volumes: what the system's `mount` is asked for, and what is said when it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from api.types.core_v1 import (
    NFSVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    Volume,
)
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from kubelet.volumes.base import VolumeError
from kubelet.volumes.nfs import NFS
from kubelet.volumes.persistent import PersistentVolumeClaimVolume

POD = Pod(metadata=ObjectMeta(name="p", namespace="d", uid="u"))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `mount` that writes down what it is asked for; it fails for the export /refused."""
    program = tmp_path / "bin" / "mount"
    program.parent.mkdir()
    log = tmp_path / "calls"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {log}\n'
        'case "$*" in *:/refused*) echo "mount.nfs: access denied by server"; exit 32;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def volume(path: str, server: str = "files.example.com", read_only: bool | None = None) -> Volume:
    return Volume(name="v", nfs=NFSVolumeSource(server=server, path=path, read_only=read_only))


async def test_a_pod_mounts_the_export(calls: Path, tmp_path: Path) -> None:
    kind, target = NFS(), tmp_path / "v"
    assert kind.supports(volume("/data")) and not kind.supports(Volume(name="other"))
    assert await kind.set_up(POD, volume("/data"), target) == target
    await kind.set_up(POD, volume("/data", "2001:db8::1", read_only=True), target)
    assert calls.read_text().splitlines() == [
        f"-t nfs files.example.com:/data {target}",
        f"-t nfs -o ro [2001:db8::1]:/data {target}",
    ]


async def test_what_mount_says_is_told(calls: Path, tmp_path: Path) -> None:
    target = tmp_path / "v"
    with pytest.raises(VolumeError) as failure:
        await NFS().set_up(POD, volume("/refused"), target)
    assert str(failure.value) == (
        "mount failed: exit status 32\nMounting command: mount\n"
        f"Mounting arguments: -t nfs files.example.com:/refused {target}\n"
        "Output: mount.nfs: access denied by server\n"
    )


async def test_a_claim_is_mounted_with_its_volumes_options(calls: Path, tmp_path: Path) -> None:
    claim = PersistentVolumeClaim(
        metadata=ObjectMeta(name="c", namespace="d", uid="claim"),
        spec=PersistentVolumeClaimSpec(volume_name="shared"),
        status=PersistentVolumeClaimStatus(phase="Bound"),
    )
    shared = PersistentVolume(
        metadata=ObjectMeta(name="shared"),
        spec=PersistentVolumeSpec(
            nfs=NFSVolumeSource(server="files.example.com", path="/data"),
            mount_options=["vers=4.2", "noatime"],
            claim_ref=ObjectReference(name="c", namespace="d", uid="claim"),
        ),
    )
    data = Volume(
        name="data", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="c", read_only=True)
    )
    target = tmp_path / "v"
    kind = PersistentVolumeClaimVolume(FakeApi(claim, shared))
    assert await kind.set_up(POD, data, target) == target
    assert calls.read_text().splitlines() == [
        f"-t nfs -o vers=4.2,noatime,ro files.example.com:/data {target}",
    ]
