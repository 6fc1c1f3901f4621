"""Installs what a bare Debian machine (12 or newer) lacks: Docker's engine, compose v2, the virtual environment.

Every step first looks whether it is needed, so running it again changes nothing, and a Docker that already answers is
never touched. Root is used only for the steps that need it. Uses the standard library alone.
`python3 -m deploy.install [docker] [venv] [tests]` does the named steps, or the first two.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deploy.machine import ROOT, SUITE, Problem, as_root, docker_answers, mirror, output, run, say

DAEMON_LOG = Path("/var/log/dockerd.log")
DAEMON_PID = Path("/var/run/docker.pid")
START_TIMEOUT = 60.0
"""Seconds that dockerd gets to answer."""

OLDEST_PYTHON = (3, 11)
"""pyproject.toml's `requires-python`."""

COMPOSE_ELSEWHERE = ("docker-compose-v2", "docker-compose-plugin")
"""What the plugin is called in Ubuntu, and in Docker's own archive."""

ADMIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(arguments: list[str]) -> int:
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{ADMIN_PATH}"
    steps = {"docker": [engine, daemon, group, compose], "venv": [venv], "tests": [kubectl, network_tools]}
    try:
        if sys.version_info < OLDEST_PYTHON:
            needed, here = ".".join(map(str, OLDEST_PYTHON)), ".".join(map(str, sys.version_info[:3]))
            raise Problem(f"Python {needed} or newer is needed, this is {here} ({sys.executable})")
        for name in arguments or ["docker", "venv"]:
            if name not in steps:
                raise Problem(f"unknown step {name!r}; there are: {', '.join(steps)}")
            for step in steps[name]:
                step()
    except Problem as problem:
        print(f"install: {problem}", file=sys.stderr)
        return 1
    return 0


_updated = False


def apt_install(*packages: str) -> None:
    """Installs Debian packages without their recommendations, refreshing the lists once before the first."""
    global _updated
    if shutil.which("apt-get") is None:
        raise Problem(f"this is not a Debian machine; install these yourself: {' '.join(packages)}")
    if not _updated:
        run(as_root(["apt-get", "-qq", "update"]), quiet=True)
        _updated = True
    say(f"installing {' '.join(packages)}")
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    run(as_root([*environment, "apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages]), quiet=True)


def engine() -> None:
    """dockerd and a client, from Debian, unless they are here."""
    if docker_answers() or os.environ.get("DOCKER_HOST"):
        return
    if shutil.which("dockerd") is None:
        apt_install("docker.io", "iptables")
    if shutil.which("docker") is None:  # a package of its own from Debian 13 on
        apt_install("docker-cli")


def daemon() -> None:
    """A running dockerd: by systemd where there is one, else in the background, outliving whoever started it."""
    if docker_answers():
        return
    if os.environ.get("DOCKER_HOST"):
        raise Problem(f"nothing answers at DOCKER_HOST={os.environ['DOCKER_HOST']}")
    if _daemon_runs():
        return
    if Path("/run/systemd/system").is_dir():
        say("starting docker.service")
        run(as_root(["systemctl", "enable", "--now", "docker"]))
    else:
        _start_daemon()
    deadline = time.monotonic() + START_TIMEOUT
    while output(as_root(["docker", "version", "--format", "{{.Server.Version}}"])) is None:
        if time.monotonic() > deadline:
            tail = output(as_root(["tail", "-n", "15", str(DAEMON_LOG)])) or "(no log)"
            raise Problem(f"dockerd does not answer after {START_TIMEOUT:.0f} s; the end of {DAEMON_LOG}:\n{tail}")
        time.sleep(0.2)


def _daemon_runs() -> bool:
    """Whether root reaches a daemon that we, not yet in its group, do not."""
    return os.geteuid() != 0 and output(["sudo", "-n", "docker", "version"]) is not None


def _start_daemon() -> None:
    say(f"starting dockerd in the background (log {DAEMON_LOG}, pid {DAEMON_PID})")
    if not _has_cgroups():
        apt_install("cgroupfs-mount")
        run(as_root(["cgroupfs-mount"]))
    pid = output(as_root(["cat", str(DAEMON_PID)]))
    if pid and output(["cat", f"/proc/{pid}/comm"]) != "dockerd":
        run(as_root(["rm", "-f", DAEMON_PID]))  # of a machine that went down hard
    mtu = uplink_mtu(output(["ip", "route", "show", "default"]) or "", _read_mtu)
    options = f"--mtu={mtu}" if mtu < 1500 else ""
    # a shell in between, so that the log is opened with root's rights and nothing here stays its parent
    command = f"setsid dockerd --pidfile {DAEMON_PID} {options} >>{DAEMON_LOG} 2>&1 </dev/null &"
    subprocess.run(as_root(["sh", "-c", command]), check=True, start_new_session=True, env=_clean_environment())


def _clean_environment() -> dict[str, str]:
    """make's own variables must not live on in a daemon."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}


def _has_cgroups() -> bool:
    mounts = Path("/proc/mounts").read_text()
    return re.search(r" cgroup2? ", mounts) is not None


def uplink_mtu(default_route: str, read: Callable[[str], int]) -> int:
    """The smallest MTU among the devices of the default route, in bytes; 1500 if unknown.

    Docker's bridges take 1500 whatever the uplink can carry, and large packets of containers would then vanish.
    """
    devices = re.findall(r" dev (\S+)", default_route)
    return min((read(device) for device in devices), default=1500)


def _read_mtu(device: str) -> int:
    try:
        return int(Path(f"/sys/class/net/{device}/mtu").read_text())
    except (OSError, ValueError):
        return 1500


def group() -> None:
    """Membership in the `docker` group for whoever is not root."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    members = (output(["getent", "group", "docker"]) or ":").rsplit(":", 1)[-1].split(",")
    if os.geteuid() == 0 or docker_answers() or user in members:
        return
    say(f"adding {user} to the docker group (in force from the next login; make does not wait for that)")
    run(as_root(["usermod", "-aG", "docker", user]))


def compose() -> None:
    """The compose v2 plugin. Debian 12 has version 1 only: there it is Debian 13's package, which needs just libc6."""
    if output(["docker", "compose", "version"]) is not None:
        return
    other = next((package for package in COMPOSE_ELSEWHERE if candidate(package)), None)
    if other is not None:
        apt_install(other)
    else:
        install_newer("docker-compose", lambda version: int(version.split(".")[0]) >= 2)
    if output(["docker", "compose", "version"]) is None:
        raise Problem(f"{other or 'docker-compose'} is installed but `docker compose version` still fails")


def kubectl() -> None:
    """kubectl, for the tests. Debian 12 has a very old one under another name; Debian 13's needs just libc6, too."""
    if shutil.which("kubectl") is None:
        install_newer("kubectl", lambda version: True)


def network_tools() -> None:
    """What the tests of packets use on the host, in network namespaces of their own."""
    packages = {"nft": "nftables", "conntrack": "conntrack", "ip": "iproute2"}
    missing = [package for command, package in packages.items() if shutil.which(command) is None]
    if missing:
        apt_install(*missing)


def install_newer(package: str, good: Callable[[str], bool]) -> None:
    """Installs a package as this machine's apt would if that is good enough, else from the newer Debian release."""
    version = candidate(package)
    if version and good(version):
        apt_install(package)
    else:
        _install_from_newer_suite(package)


def candidate(package: str) -> str | None:
    """The version, without its epoch, that this machine's apt would install."""
    policy = output(["apt-cache", "policy", package]) or ""
    found = re.search(r"Candidate: (?:\d+:)?(\d\S*)", policy)
    return found.group(1) if found else None


def _install_from_newer_suite(package: str) -> None:
    """Fetches one package of a newer suite through a private apt state, so that the suite is never enabled here."""
    source = mirror()
    if source is None:
        raise Problem(
            f"there is no {package}, or none that is new enough, for this machine's apt, and no Debian mirror to fetch"
            f" {SUITE}'s from; install it by hand"
        )
    say(f"installing {package} of {SUITE} from {source}")
    with tempfile.TemporaryDirectory(prefix="pykube-apt-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "cache/archives/partial").mkdir(parents=True)
        (folder / "sources.list").write_text(f"deb {source} {SUITE} main\n")
        private = [
            "-qq",
            *("-o", f"Dir::Etc::SourceList={folder}/sources.list"),
            *("-o", "Dir::Etc::SourceParts=/dev/null"),
            *("-o", "Dir::Etc::Preferences=/dev/null"),
            *("-o", "Dir::Etc::PreferencesParts=/dev/null"),
            *("-o", f"Dir::State::Lists={folder}/lists"),
            *("-o", f"Dir::Cache={folder}/cache"),
            *("-o", "APT::Sandbox::User=root"),
            *("-o", "Acquire::Languages=none"),
        ]
        run(as_root(["apt-get", *private, "update"]), quiet=True)
        download = ["sh", "-c", f'cd "{folder}" && exec "$@"', "sh", "apt-get", *private, "download", package]
        run(as_root(download), quiet=True)
        run(as_root(["dpkg", "-i", *folder.glob(f"{package}_*.deb")]), quiet=True)


def venv() -> None:
    """`.venv` with the locked dependencies and the project itself, as long as the lock is what it was made from."""
    home = ROOT / ".venv"
    python = home / "bin/python"
    lock = ROOT / "requirements-dev.lock"
    stamp = home / ".pykube"
    wanted = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not python.exists():
        if output([sys.executable, "-c", "import ensurepip, venv"]) is None:
            apt_install("python3-venv")
        say(f"making {home}")
        run([sys.executable, "-m", "venv", home])
    say("installing the locked Python packages")
    pip: list[str | Path] = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "-r", lock], quiet=True)
    run([*pip, "-e", ROOT], quiet=True)
    stamp.write_text(wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
