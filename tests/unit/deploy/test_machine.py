"""What the scripts make of the machine they run on."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from deploy import install, machine, wheels
from deploy.machine import Problem


def test_the_mirror_is_the_one_apt_uses() -> None:
    targets = """\
http://security.example/debian-security/ bookworm-security main
http://mirror.example/debian/ bookworm main
http://other.example/repo/ stable main
"""
    assert machine.parse_index_targets(targets, "bookworm") == "http://mirror.example/debian"
    assert machine.parse_index_targets(targets, "trixie") is None
    assert machine.parse_index_targets("", "bookworm") is None


def test_no_mirror_of_another_distribution_is_taken_for_debians(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        machine, "output", lambda command: None if command[0] == "sh" else "http://x.example noble main"
    )
    assert machine.mirror() is None


def test_a_failing_command_says_which_and_how() -> None:
    with pytest.raises(Problem, match=r"(?s)failed \(3\): sh -c .*it broke"):
        machine.run(["sh", "-c", "echo it broke; exit 3"], quiet=True)


def test_root_needs_no_sudo_and_others_are_told_if_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    assert machine.as_root(["apt-get", "update"]) == ["apt-get", "update"]
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/sudo")
    assert machine.as_root(["apt-get", "update"]) == ["sudo", "apt-get", "update"]
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    with pytest.raises(Problem, match="no sudo here; as root run: apt-get update"):
        machine.as_root(["apt-get", "update"])


@pytest.mark.parametrize(
    ("route", "mtu"),
    [
        ("default via 192.0.2.1 dev eth0", 1400),
        ("default via 192.0.2.1 dev eth1\ndefault via 192.0.3.1 dev eth0 metric 5", 1400),
        ("", 1500),
    ],
)
def test_the_bridges_carry_what_the_uplink_carries(route: str, mtu: int) -> None:
    assert install.uplink_mtu(route, lambda device: {"eth0": 1400, "eth1": 9000}[device]) == mtu


def test_a_docker_that_answers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*arguments: object, **options: object) -> None:
        raise AssertionError(f"ran {arguments}")

    monkeypatch.setattr(install, "docker_answers", lambda: True)
    monkeypatch.setattr(install, "output", lambda command, **options: "present")
    for name in ("run", "apt_install", "_start_daemon"):
        monkeypatch.setattr(install, name, unexpected)
    assert install.main(["docker"]) == 0


@pytest.mark.parametrize(
    ("policy", "how"),
    [
        ("docker-compose:\n  Candidate: 1.29.2-3\n", "newer"),
        ("docker-compose:\n  Candidate: 2.26.1-4\n", "apt"),
        ("docker-compose:\n  Candidate: 5:10.0~rc1\n", "apt"),
        ("docker-compose:\n  Candidate: (none)\n", "newer"),
        (None, "newer"),
    ],
)
def test_a_package_comes_from_the_newer_release_only_if_it_must(
    monkeypatch: pytest.MonkeyPatch, policy: str | None, how: str
) -> None:
    done: list[str] = []
    monkeypatch.setattr(install, "output", lambda command: policy)
    monkeypatch.setattr(install, "apt_install", lambda package: done.append("apt"))
    monkeypatch.setattr(install, "_install_from_newer_suite", lambda package: done.append("newer"))
    install.install_newer("docker-compose", lambda version: int(version.split(".")[0]) >= 2)
    assert done == [how]


@pytest.mark.parametrize(("known", "taken"), [("docker-compose-v2", "docker-compose-v2"), ("", "docker-compose")])
def test_compose_has_another_name_in_ubuntu(monkeypatch: pytest.MonkeyPatch, known: str, taken: str) -> None:
    installed: list[str] = []

    def output(command: list[str]) -> str | None:
        if command[0] == "apt-cache":
            return "Candidate: 2.24.6" if command[-1] in (known, "docker-compose") else "Candidate: (none)"
        return "2.24.6" if installed else None

    monkeypatch.setattr(install, "output", output)
    monkeypatch.setattr(install, "apt_install", installed.append)
    install.compose()
    assert installed == [taken]


def test_an_old_python_is_told_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 12, "final", 0))
    assert install.main(["venv"]) == 1
    assert "Python 3.11 or newer is needed, this is 3.10.12" in capsys.readouterr().err


def test_the_oldest_python_is_the_projects() -> None:
    project = tomllib.loads((machine.ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=" + ".".join(map(str, install.OLDEST_PYTHON))


def test_an_unknown_step_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert install.main(["dokcer"]) == 1
    assert capsys.readouterr().err == "install: unknown step 'dokcer'; there are: docker, venv, tests\n"


def test_uv_follows_pips_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        wheels, "output", lambda command: ":env:.cert='/ca.pem'\nglobal.index-url='https://mirror.example/simple'"
    )
    for name in ("SSL_CERT_FILE", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    environment = wheels.environment()
    assert environment["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert environment["SSL_CERT_FILE"] == "/ca.pem"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://chosen.example/simple")
    assert wheels.environment()["UV_DEFAULT_INDEX"] == "https://chosen.example/simple"


def test_the_installer_runs_before_anything_is_installed() -> None:
    """`deploy.install` and `deploy.machine` import nothing outside the standard library."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import deploy.install"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
