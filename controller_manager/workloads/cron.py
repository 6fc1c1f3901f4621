"""When a CronJob is due: standard cron fields, descriptors (`@daily`), intervals (`@every 1h30m`), time zones.

The arithmetic of fields is `cronsim`'s; what it does not know (descriptors, intervals) is put into its terms here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from api import duration

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: More missed times than this are not counted one by one.
MANY = 100


class Schedule:
    """Raises ValueError for a schedule or time zone that cannot be understood."""

    def __init__(self, text: str, zone: str | None = None) -> None:
        self._every: timedelta | None = None
        self._fields = ""
        try:
            self._zone: tzinfo = ZoneInfo(zone) if zone else UTC
        except (KeyError, ValueError, OSError):
            raise UnknownZone(f"unknown time zone {zone}") from None
        if text.startswith("@every "):
            seconds = duration.parse(text.removeprefix("@every ").strip())
            self._every = timedelta(seconds=max(1, int(seconds)))
            return
        if text.startswith("@") and text not in _DESCRIPTORS:
            raise ValueError(f"unrecognized descriptor: {text}")
        self._fields = _DESCRIPTORS.get(text, text).replace("?", "*")
        try:
            CronSim(self._fields, datetime.now(self._zone))
        except CronSimError as error:
            raise ValueError(str(error)) from None

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times after `moment`, in order, in the schedule's zone."""
        if self._every is not None:
            at = moment.replace(microsecond=0).astimezone(self._zone)
            while True:
                at += self._every
                yield at
        yield from CronSim(self._fields, moment.astimezone(self._zone))

    def next(self, moment: datetime) -> datetime | None:
        """None if it is never due again."""
        return next(self.after(moment), None)

    def latest(self, earliest: datetime, now: datetime) -> tuple[datetime | None, bool]:
        """The last time due after `earliest` and not after `now`, and whether there are too many of them."""
        missed = 0
        latest: datetime | None = None
        for at in self.after(earliest):
            if at > now:
                return latest, missed > MANY
            latest = at
            missed += 1
            if missed > MANY:
                break
        if latest is None:
            return None, False
        # The rest is skipped: look for the last one in ever longer stretches back from now.
        stretch = (latest - earliest) / missed
        while True:
            found = None
            for at in self.after(now - stretch):
                if at > now:
                    break
                found = at
            if found is not None:
                return found, True
            stretch *= 2


class UnknownZone(ValueError):
    """There is no such time zone."""
