"""How the tests are dealt out to workers: what shares a fixture or a name on this machine stays together."""

from __future__ import annotations

from pathlib import Path

import pytest

_INTEGRATION = Path(__file__).parent / "integration"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Integration tests make bridges, tables and daemons whose names are those of their folder.
        whole_folder = _INTEGRATION in item.path.parents
        item.add_marker(pytest.mark.xdist_group(str(item.path.parent if whole_folder else item.path)))
