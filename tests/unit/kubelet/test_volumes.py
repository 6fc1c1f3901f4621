"""Volumes as directories: contents that change at once, paths that can't escape, ownership, certain removal."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from api import codec
from api.types.core_v1 import Pod, Volume
from kubelet import mounts
from kubelet.volumes import atomic_writer, contents, host_path, sub_path
from kubelet.volumes.atomic_writer import Projected
from kubelet.volumes.base import VolumeError
from kubelet.volumes.empty_dir import EmptyDir
from kubelet.volumes.ownership import apply_fs_group

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and changes of owners need root")


def files(target: Path) -> dict[str, str]:
    return {e.name: Path(e.path).read_text() for e in os.scandir(target) if not e.name.startswith("..") and e.is_file()}


def test_a_payload_is_written_and_replaced_as_a_whole(tmp_path: Path) -> None:
    assert atomic_writer.write(tmp_path, {"a": Projected(b"1", 0o644), "deep/b": Projected(b"2", 0o400)})
    assert files(tmp_path) == {"a": "1"}
    assert (tmp_path / "deep/b").read_text() == "2"
    assert stat.S_IMODE((tmp_path / "deep/b").stat().st_mode) == 0o400
    held = (tmp_path / "..data").readlink()
    opened = (tmp_path / "a").open()
    assert atomic_writer.write(tmp_path, {"a": Projected(b"3", 0o644), "c": Projected(b"4", 0o644)})
    assert files(tmp_path) == {"a": "3", "c": "4"}
    assert not (tmp_path / "deep").is_symlink()
    assert opened.read() == "1", "a reader keeps the version it opened"
    opened.close()
    assert (tmp_path / "..data").readlink() != held
    assert not (tmp_path / held).exists()


def test_nothing_is_touched_when_nothing_has_changed(tmp_path: Path) -> None:
    payload = {"a": Projected(b"1", 0o644)}
    atomic_writer.write(tmp_path, payload)
    before = (tmp_path / "..data").readlink()
    assert not atomic_writer.write(tmp_path, payload)
    assert (tmp_path / "..data").readlink() == before


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "..data"])
def test_payload_paths_stay_inside(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        atomic_writer.write(tmp_path, {path: Projected(b"", 0o644)})


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("Directory", None, "hostPath type check failed: {} is not a directory"),
        ("File", None, "hostPath type check failed: {} is not a file"),
        ("Directory", "file", "hostPath type check failed: {} is not a directory"),
        ("File", "directory", "hostPath type check failed: {} is not a file"),
        ("Socket", "file", "hostPath type check failed: {} is not a socket file"),
        ("BlockDevice", "file", "hostPath type check failed: {} is not a block device"),
    ],
)
def test_host_path_types_are_checked(tmp_path: Path, kind: str, make: str | None, message: str) -> None:
    path = tmp_path / "x"
    if make == "file":
        path.touch()
    elif make == "directory":
        path.mkdir()
    with pytest.raises(VolumeError) as refused:
        host_path.check(path, kind)
    assert str(refused.value) == message.format(path)


def test_host_paths_are_made_where_the_type_says_so(tmp_path: Path) -> None:
    host_path.check(tmp_path / "a/b", "DirectoryOrCreate")
    host_path.check(tmp_path / "f", "FileOrCreate")
    host_path.check(tmp_path / "c", "")
    assert (tmp_path / "a/b").is_dir() and (tmp_path / "f").is_file() and (tmp_path / "c").is_dir()
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755


def pod_with(**security: object) -> Pod:
    return codec.from_dict(Pod, {"metadata": {"uid": "u"}, "spec": {"securityContext": security}})


@root_only
def test_fs_group_owns_what_is_there_and_what_will_be(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d/f").touch(mode=0o600)
    (tmp_path / "link").symlink_to("/etc/passwd")
    apply_fs_group(pod_with(fsGroup=2000), tmp_path)
    assert (tmp_path / "d/f").stat().st_gid == 2000
    assert stat.S_IMODE((tmp_path / "d/f").stat().st_mode) == 0o660
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o2770
    assert Path("/etc/passwd").stat().st_gid == 0, "links are not followed"


@root_only
def test_on_root_mismatch_looks_at_the_root_only(tmp_path: Path) -> None:
    pod = pod_with(fsGroup=2000, fsGroupChangePolicy="OnRootMismatch")
    apply_fs_group(pod, tmp_path, outlives_pod=True)
    (tmp_path / "late").touch(mode=0o600)
    os.chown(tmp_path / "late", 0, 0)
    apply_fs_group(pod, tmp_path, outlives_pod=True)
    assert (tmp_path / "late").stat().st_gid == 0
    apply_fs_group(pod, tmp_path)
    assert (tmp_path / "late").stat().st_gid == 2000, "the policy is for what outlives the pod"


@root_only
@pytest.mark.parametrize("in_memory", [False, True])
def test_files_that_follow_the_api_belong_to_the_group_with_their_root(tmp_path: Path, in_memory: bool) -> None:
    path = tmp_path / "pods/u/volumes/kubernetes.io~configmap/v"
    pod = pod_with(fsGroup=2000, fsGroupChangePolicy="OnRootMismatch")
    try:
        for data in (b"1", b"2"):
            contents.show(pod, path, {"a": Projected(data, 0o400)}, in_memory=in_memory)
            assert mounts.is_mount_point(path) is in_memory
            assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (2000, 0o3777 if in_memory else 0o2777)
            assert ((path / "a").stat().st_gid, stat.S_IMODE((path / "a").stat().st_mode)) == (2000, 0o440)
            assert (path / "a").lstat().st_gid == 2000
    finally:
        mounts.clear(tmp_path / "pods/u")


@root_only
async def test_memory_volumes_are_bounded_and_go_away(tmp_path: Path) -> None:
    volume = codec.from_dict(Volume, {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})
    path = tmp_path / "pods/u/volumes/kubernetes.io~empty-dir/v"
    await EmptyDir().set_up(pod_with(), volume, path)
    await EmptyDir().set_up(pod_with(), volume, path)
    assert mounts.is_mount_point(path)
    assert os.statvfs(path).f_blocks * os.statvfs(path).f_frsize == 1 << 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o1777
    assert len(mounts.mounts_below(tmp_path)) == 1
    mounts.clear(tmp_path / "pods/u")
    assert not (tmp_path / "pods/u").exists() and not mounts.mounts_below(tmp_path)


@root_only
def test_clearing_never_deletes_what_is_mounted_from_elsewhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("kept")
    target = tmp_path / "pod/volume-subpaths/v/c/0"
    sub_path.prepare(precious, "", target)
    assert (target / "data").read_text() == "kept"
    mounts.clear(tmp_path / "pod")
    assert (precious / "data").read_text() == "kept"
    assert not (tmp_path / "pod").exists()


@root_only
def test_sub_paths_are_made_and_bound_once(tmp_path: Path) -> None:
    volume, target = tmp_path / "volume", tmp_path / "pod/volume-subpaths/v/c/0"
    volume.mkdir()
    volume.chmod(0o770)
    try:
        sub_path.prepare(volume, "a/b", target)
        sub_path.prepare(volume, "a/b", target)
        assert mounts.mount_points().count(str(target)) == 1
        assert stat.S_IMODE((volume / "a/b").stat().st_mode) == 0o770
        (target / "seen").touch()
        assert (volume / "a/b/seen").exists()
    finally:
        mounts.clear(tmp_path / "pod")


@root_only
@pytest.mark.parametrize("escape", ["out", "out/passwd", "../sibling"])
def test_sub_paths_cannot_leave_the_volume(tmp_path: Path, escape: str) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (tmp_path / "sibling").mkdir()
    (volume / "out").symlink_to("/etc")
    with pytest.raises(VolumeError, match="is outside of the volume"):
        sub_path.prepare(volume, escape, tmp_path / "pod/0")
    assert not mounts.mounts_below(tmp_path)


async def test_an_empty_dir_belongs_to_its_pod_once_it_is_made(tmp_path: Path) -> None:
    volume = codec.from_dict(Volume, {"name": "v", "emptyDir": {}})
    path = tmp_path / "pods/u/volumes/kubernetes.io~empty-dir/v"
    await EmptyDir().set_up(pod_with(), volume, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    path.chmod(0o700)
    await EmptyDir().set_up(pod_with(), volume, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700, "a restarted kubelet must not change it back"
