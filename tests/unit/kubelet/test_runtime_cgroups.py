"""Both cgroup drivers on trees of plain files that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubelet.cri import Resources
from kubelet.runtime.cgroups import CgroupV1, CgroupV2, detect, shares_to_weight

POD = "/kubepods/burstable/pod1"


@pytest.fixture
def v1(tmp_path: Path) -> CgroupV1:
    for name in ("cpu", "cpuacct", "memory", "pids", "devices", "unified"):
        (tmp_path / name).mkdir()
    return CgroupV1(tmp_path)


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CgroupV2:
    """Directories get their control files when they are made, as in the kernel."""
    controls = {"cgroup.controllers": "cpuset cpu io memory pids", "cgroup.subtree_control": "cpu", "memory.max": "max"}

    def fill(directory: Path) -> None:
        for name, text in controls.items():
            (directory / name).write_text(text)

    make = Path.mkdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        new = not self.exists()
        make(self, mode, parents, exist_ok)
        if new:
            fill(self)

    fill(tmp_path)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    return CgroupV2(tmp_path)


def test_detection(tmp_path: Path) -> None:
    assert detect(tmp_path).version == 1
    (tmp_path / "cgroup.controllers").write_text("cpu")
    assert detect(tmp_path).version == 2


def test_v1_makes_the_pod_in_the_limiting_hierarchies(v1: CgroupV1, tmp_path: Path) -> None:
    v1.ensure(POD, Resources(cpu_shares=512, cpu_quota=50_000, memory_limit=1 << 20, pids_limit=9))
    cpu, memory = tmp_path / "cpu" / POD[1:], tmp_path / "memory" / POD[1:]
    assert (cpu / "cpu.shares").read_text() == "512"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "50000"
    assert (cpu / "cpu.cfs_period_us").read_text() == "100000"
    assert (memory / "memory.limit_in_bytes").read_text() == str(1 << 20)
    assert (tmp_path / "pids" / POD[1:] / "pids.max").read_text() == "9"
    v1.update(POD, Resources())
    assert (cpu / "cpu.cfs_quota_us").read_text() == "-1"
    assert (memory / "memory.limit_in_bytes").read_text() == "-1"


def test_v1_reads_usage_and_kills(v1: CgroupV1, tmp_path: Path) -> None:
    v1.ensure(POD, Resources())
    memory = tmp_path / "memory" / POD[1:]
    (memory / "memory.usage_in_bytes").write_text("1000\n")
    (memory / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (memory / "memory.stat").write_text("rss 1\ntotal_rss 300\ntotal_inactive_file 400\ntotal_pgfault 7\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (memory / "inner").mkdir()
    (memory / "inner" / "memory.oom_control").write_text("oom_kill 2\n")
    account = tmp_path / "cpuacct" / POD[1:]
    account.mkdir(parents=True)
    (account / "cpuacct.usage").write_text("5000000000\n")
    usage = v1.usage(POD)
    assert usage is not None
    assert (usage.working_set_bytes, usage.rss_bytes, usage.page_faults) == (600, 300, 7)
    assert (usage.cpu_nanoseconds, usage.memory_limit) == (5_000_000_000, None)
    assert v1.oom_kills(POD) == 3
    assert v1.usage("/kubepods/none") is None


def test_v1_removes_from_every_hierarchy(v1: CgroupV1, tmp_path: Path) -> None:
    for name in ("cpu", "devices", "unified"):
        (tmp_path / name / POD[1:] / "container").mkdir(parents=True)
    assert v1.remove(POD)
    assert not any(tmp_path.glob("*/kubepods/burstable/pod1"))
    assert (tmp_path / "cpu/kubepods/burstable").exists()
    assert v1.remove(POD)


def test_best_effort_gets_the_least_shares(v1: CgroupV1, v2: CgroupV2, tmp_path: Path) -> None:
    v1.ensure("/kubepods/besteffort", Resources())
    assert (tmp_path / "cpu/kubepods/besteffort/cpu.shares").read_text() == "2"
    v2.ensure("/kubepods/besteffort", Resources())
    assert (tmp_path / "kubepods/besteffort/cpu.weight").read_text() == "1"


def test_v2_hands_controllers_down_and_translates(v2: CgroupV2, tmp_path: Path) -> None:
    v2.ensure(POD, Resources(cpu_shares=1024, cpu_quota=20_000, memory_limit=1 << 20, pids_limit=9))
    for directory in (tmp_path, tmp_path / "kubepods", tmp_path / "kubepods/burstable", tmp_path / POD[1:]):
        assert (directory / "cgroup.subtree_control").read_text() == "+cpuset +io +memory +pids"
    pod = tmp_path / POD[1:]
    assert (pod / "cpu.weight").read_text() == "39"
    assert (pod / "cpu.max").read_text() == "20000 100000"
    assert (pod / "memory.max").read_text() == str(1 << 20)
    assert (pod / "pids.max").read_text() == "9"
    v2.update(POD, Resources())
    assert (pod / "cpu.max").read_text() == "max 100000"
    assert (pod / "memory.max").read_text() == "max"
    v2.kill_as_one(POD)
    assert (pod / "memory.oom.group").read_text() == "1"


def test_v2_reads_usage(v2: CgroupV2, tmp_path: Path) -> None:
    v2.ensure(POD, Resources())
    pod = tmp_path / POD[1:]
    (pod / "cpu.stat").write_text("usage_usec 1500\nnr_periods 4\nnr_throttled 2\nthrottled_usec 10\n")
    (pod / "memory.current").write_text("1000")
    (pod / "memory.stat").write_text("anon 300\ninactive_file 1200\n")
    (pod / "memory.events").write_text("oom 2\noom_kill 1\n")
    usage = v2.usage(POD)
    assert usage is not None
    assert (usage.cpu_nanoseconds, usage.working_set_bytes, usage.memory_limit) == (1_500_000, 0, None)
    assert (usage.cpu_throttled_periods, usage.cpu_throttled_nanoseconds) == (2, 10_000)
    assert v2.oom_kills(POD) == 1


@pytest.mark.parametrize(("shares", "weight"), [(0, 0), (2, 1), (1024, 39), (262144, 10000), (10**9, 10000)])
def test_shares_become_weights_as_in_runc(shares: int, weight: int) -> None:
    assert shares_to_weight(shares) == weight


def test_a_node_gives_no_more_devices_than_it_has(v1: CgroupV1, v2: CgroupV2, tmp_path: Path) -> None:
    assert v1.device_rules() == ["a *:* rwm"]
    (tmp_path / "devices" / "devices.list").write_text("c *:* m\nc 1:3 rwm\n")
    assert v1.device_rules() == ["c *:* m", "c 1:3 rwm"]
    assert v2.device_rules() == ["a *:* rwm"]
