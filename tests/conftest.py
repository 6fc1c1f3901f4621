"""What concerns the run as a whole: its name, and what is cleaned up at the very end."""

from __future__ import annotations

import os
import uuid

import pytest

# Names this run to its workers: the process that starts them reads this file first, and they inherit its environment.
os.environ.setdefault("PYKUBE_TEST_RUN", uuid.uuid4().hex)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        from tests.cluster.conftest import take_down

        take_down()
