"""The host as the scripts in this folder see it: running commands, becoming root, apt's mirror, reaching Docker.

Standard library only: `deploy.install` runs before the virtual environment exists.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

SUITE = "trixie"
"""The Debian release all images are built from."""

DOCKER_SOCKET = Path("/var/run/docker.sock")


class Problem(Exception):
    """Something the person at the terminal has to know; shown as one message, without a traceback."""


def say(message: str) -> None:
    print(f"\033[36m==>\033[0m {message}" if sys.stdout.isatty() else f"==> {message}", flush=True)


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, quiet: bool = False) -> None:
    """Runs a command, and raises `Problem` when it fails. `quiet` shows its output only then."""
    words = [str(word) for word in command]
    if not quiet:
        if subprocess.run(words, env=env).returncode:
            raise Problem(f"failed: {shlex.join(words)}")
        return
    done = subprocess.run(words, env=env, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise Problem(f"failed ({done.returncode}): {shlex.join(words)}\n{tail}")


def output(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> str | None:
    """What a command prints, or None if it fails or does not exist."""
    try:
        done = subprocess.run(command, env=env, text=True, errors="replace", capture_output=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def as_root(command: Sequence[str | Path]) -> list[str]:
    """The command, through sudo unless we are root."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        return words
    if shutil.which("sudo") is None:
        raise Problem(f"this needs root, and there is no sudo here; as root run: {shlex.join(words)}")
    return ["sudo", *words]


def parse_index_targets(text: str, codename: str) -> str | None:
    """The mirror of Debian's main archive among apt's index targets, given as `URI RELEASE COMPONENT` lines."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] == codename and fields[2] == "main":
            return fields[0].rstrip("/")
    return None


def mirror() -> str | None:
    """The Debian mirror this machine's apt uses, whatever the format of its sources; None if it is no Debian."""
    codename = output(["sh", "-c", '. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME"'])
    if not codename:
        return None
    targets = output(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    )
    return parse_index_targets(targets or "", codename)


def docker_answers() -> bool:
    return output(["docker", "version", "--format", "{{.Server.Version}}"]) is not None


def reach_docker() -> None:
    """Makes sure this process may talk to Docker, starting over in the `docker` group if that is what it takes.

    A user who has just been added to the group is not in it before the next login; `sg` spares them that.
    """
    if "DOCKER_HOST" in os.environ or os.access(DOCKER_SOCKET, os.R_OK | os.W_OK):
        return
    if not DOCKER_SOCKET.exists():
        raise Problem("Docker is not running; `make install` starts it")
    user = pwd.getpwuid(os.geteuid()).pw_name
    group = grp.getgrgid(DOCKER_SOCKET.stat().st_gid)
    if user not in group.gr_mem or shutil.which("sg") is None or os.environ.get("PYKUBE_REGROUPED"):
        raise Problem(f"{user} may not use {DOCKER_SOCKET}; `sudo usermod -aG {group.gr_name} {user}` and log in again")
    os.environ["PYKUBE_REGROUPED"] = "1"
    os.execvp("sg", ["sg", group.gr_name, "-c", shlex.join([sys.executable, *sys.orig_argv[1:]])])
