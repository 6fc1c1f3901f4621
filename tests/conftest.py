"""What concerns the run as a whole: how tests are dealt out to workers, and what is cleaned up at the very end."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

# Names this run to its workers: the process that starts them reads this file first, and they inherit its environment.
os.environ.setdefault("PYKUBE_TEST_RUN", uuid.uuid4().hex)

_INTEGRATION = Path(__file__).parent / "integration"


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Integration tests make bridges, tables and daemons whose names are those of their folder.
        whole_folder = _INTEGRATION in item.path.parents
        item.add_marker(pytest.mark.xdist_group(str(item.path.parent if whole_folder else item.path)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        from tests.cluster.conftest import take_down

        take_down()
