"""Keeps the cluster's entry in the user's kubeconfig, beside whatever else is there.

As kubectl and kind do it: the file is the first of $KUBECONFIG, or ~/.kube/config; a `.lock` file beside it keeps
writers apart; the file is replaced whole and readable to its owner alone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.machine import Problem

NAME = "pykube"
LOCK_TIMEOUT = 5.0
"""Seconds to wait for another writer."""

Config = dict[str, Any]


def location(environment: Mapping[str, str]) -> Path:
    for name in environment.get("KUBECONFIG", "").split(os.pathsep):
        if name:
            return Path(name)
    return Path(environment.get("HOME") or Path.home()) / ".kube/config"


def merged(config: Config, ours: Config) -> Config:
    """`config` with the clusters, users and contexts of `ours`, and its current context."""
    result = {"apiVersion": "v1", "kind": "Config", **config}
    for section in ("clusters", "users", "contexts"):
        names = {entry["name"] for entry in ours[section]}
        kept = [entry for entry in result.get(section) or [] if entry.get("name") not in names]
        result[section] = [*kept, *ours[section]]
    result["current-context"] = ours["current-context"]
    return result


def without(config: Config, name: str = NAME) -> Config:
    """`config` without the entries of this name; the current context goes only if it was this one."""
    result = dict(config)
    for section in ("clusters", "users", "contexts"):
        result[section] = [entry for entry in result.get(section) or [] if entry.get("name") != name]
    if result.get("current-context") == name:
        result["current-context"] = ""
    return result


def read(file: Path) -> Config:
    try:
        config = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise Problem(f"{file} is not valid YAML, leaving it alone: {error}") from None
    if not isinstance(config, dict):
        raise Problem(f"{file} is not a kubeconfig, leaving it alone")
    return config


def write(file: Path, config: Config) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        yaml.safe_dump(config, handle, sort_keys=False)
    temporary.replace(file.resolve())


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds client-go's lock on a kubeconfig: a file beside it that only one can create."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.with_name(f"{file.name}.lock")
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise Problem(f"{lock} exists: another program is writing {file}, or one died doing so") from None
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def install(ours: Config, file: Path) -> None:
    """Adds the cluster to the kubeconfig and makes it the current one."""
    with locked(file):
        write(file, merged(read(file), ours))


def remove(file: Path, name: str = NAME, *, server: str = "") -> bool:
    """Takes the cluster out again; says whether it was there. One of the same name at another `server` stays."""
    if not file.exists():
        return False
    with locked(file):
        config = read(file)
        clusters = [entry.get("cluster") or {} for entry in config.get("clusters") or () if entry.get("name") == name]
        if server and any(cluster.get("server") != server for cluster in clusters):
            return False
        cleaned = without(config, name)
        if cleaned == config:
            return False
        write(file, cleaned)
    return True
