"""Fixtures of the server's unit tests."""

from tests.support.api import api, api_server
from tests.support.rest import rest

__all__ = ["api", "api_server", "rest"]
