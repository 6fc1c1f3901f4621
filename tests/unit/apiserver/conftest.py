"""Fixtures of the server's unit tests."""

from tests.support.api import api, api_server

__all__ = ["api", "api_server"]
