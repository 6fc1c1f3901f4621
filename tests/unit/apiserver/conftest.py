"""Fixtures of the server's unit tests, which run on the event loop that the server itself runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from component import loops
from tests.support.api import api, api_server
from tests.support.rest import rest

__all__ = ["api", "api_server", "rest"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"serving": loops.serving}
