"""Fetches the locked Python packages for the Python of the images, on the host.

pip resolves environment markers for the Python it runs under; uv does for the one it is asked for, which is why it does
this. It reads pip's settings for the index, so that a machine set up for a mirror stays on it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from deploy.machine import output, run

PYTHON = "3.13"
GLIBC = "manylinux_2_40"
"""What the images have at least (Debian 13: glibc 2.41)."""

DROPPED = ("numpy/*/tests", "numpy/tests", "bin")
"""Parts of packages that no program here reads."""


def command() -> list[str]:
    """uv, as installed beside the running Python."""
    beside = Path(sys.executable).parent / "uv"
    return [str(beside) if beside.exists() else "uv"]


def environment() -> dict[str, str]:
    """uv's environment, with the index, the certificates and the timeout pip is set up with."""
    result = dict(os.environ)
    settings = output([sys.executable, "-m", "pip", "config", "list"]) or ""
    values = dict(line.split("=", 1) for line in settings.splitlines() if "=" in line)
    for pip, uv in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        for section in (":env:", "install", "download", "global"):
            key = f"{section}.{pip}"
            if key in values and uv not in result:
                result[uv] = values[key].strip("'\"")
    result.setdefault("UV_SYSTEM_CERTS", "1")
    result.setdefault("UV_NATIVE_TLS", "1")
    return result


def unpack(lock: Path, *, into: Path, only: Path | None = None) -> Path:
    """Installs the locked packages into a folder, for the images' Python; with `only`, just what is named there."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    requirements = ["-r", str(only), "-c", str(lock)] if only else ["-r", str(lock)]
    target = ["--target", str(into), "--python-version", PYTHON, "--python-platform", f"{machine}-{GLIBC}"]
    run([*command(), "pip", "install", "--quiet", *target, "--only-binary", ":all:", *requirements], env=environment())
    for pattern in DROPPED:
        for folder in into.glob(pattern):
            shutil.rmtree(folder)
    return into
