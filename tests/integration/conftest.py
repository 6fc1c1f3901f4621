"""Some of these tests make network namespaces, mounts and cgroups on the host: that takes root."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT_ONLY = ("kubelet", "proxy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    here = Path(__file__).parent
    for item in items:
        if any(here / folder in item.path.parents for folder in ROOT_ONLY):
            item.add_marker(pytest.mark.skip(reason="makes network namespaces and cgroups on this host: needs root"))


@pytest.fixture(scope="module", autouse=True)
def one_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests of one folder use the same bridges, tables and daemons of this host: workers take turns, file by file."""
    with (Path(tempfile.gettempdir()) / f"pykube-integration-{request.path.parent.name}.turn").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
