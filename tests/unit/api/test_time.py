"""Time as the API writes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from api import time as api_time


@pytest.mark.parametrize(
    ("moment", "seconds", "micro"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000006Z"),
        (datetime(1, 1, 1, 0, 0, 2, 0, UTC), "0001-01-01T00:00:02Z", "0001-01-01T00:00:02.000000Z"),
        (
            datetime(2026, 1, 2, 3, 4, 5, 0, timezone(timedelta(hours=2))),
            "2026-01-02T01:04:05Z",
            "2026-01-02T01:04:05.000000Z",
        ),
    ],
)
def test_times_are_written_in_utc_with_four_digits_of_a_year(moment: datetime, seconds: str, micro: str) -> None:
    assert api_time.format_time(moment) == seconds
    assert api_time.format_micro(moment) == micro
    assert api_time.parse(seconds) == moment.replace(microsecond=0)
