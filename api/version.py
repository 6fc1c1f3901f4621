"""The version of the API that everything here speaks and reports."""

from __future__ import annotations

GIT_VERSION = "v1.36.0"
