"""Times of the runtime (RFC 3339 with nanoseconds) as seconds."""

from __future__ import annotations

import time

from api import time as api_time


def epoch(timestamp: str) -> float:
    """Seconds of the epoch; now, for a time that is not known."""
    try:
        return api_time.parse(timestamp).timestamp()
    except ValueError:
        return time.time()
