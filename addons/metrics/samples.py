"""From two looks at the kubelets' counters to what is used per second.

Invariants:
- a container or node is shown only with a rate, so from the second look on; a counter that went backwards (the
  container was started anew) makes it wait for another look;
- what the last look at a node did not show is not shown, and a node that cannot be read is not shown for longer than
  one interval.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.eE+-]+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

#: Seconds that a container has to run before a rate since its start says anything (upstream's).
_YOUNG = 10.0
#: Namespace, pod, container; all empty for the node itself.
Key = tuple[str, str, str]
NODE: Key = ("", "", "")


@dataclass(slots=True)
class Counters:
    """One container's or node's line of a page: CPU seconds since its start, bytes of its working set."""

    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """A kubelet's resource page. `at` in seconds since the epoch."""

    at: float
    counters: dict[Key, Counters]


@dataclass(frozen=True, slots=True)
class Used:
    cpu_nanocores: int
    memory_bytes: int

    def usage(self) -> dict[str, str]:
        """As upstream writes it: nanocores and kibibytes."""
        return {
            "cpu": f"{self.cpu_nanocores}n" if self.cpu_nanocores else "0",
            "memory": f"{-(-self.memory_bytes // 1024)}Ki" if self.memory_bytes else "0",
        }


def read(text: str, at: float) -> Page:
    """Reads a page of `/metrics/resource`; lines of other families are skipped."""
    counters: defaultdict[Key, Counters] = defaultdict(Counters)
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        family, labels, value = match.groups()
        scope, _, kind = family.partition("_")
        if scope not in ("container", "node"):
            continue
        named = dict(_LABEL.findall(labels or ""))
        key = (named.get("namespace", ""), named.get("pod", ""), named.get("container", ""))
        if kind == "cpu_usage_seconds_total":
            counters[key].cpu_seconds = float(value)
        elif kind == "memory_working_set_bytes":
            counters[key].memory_bytes = int(float(value))
        elif kind == "start_time_seconds":
            counters[key].started = float(value)
    return Page(at, dict(counters))


class Samples:
    """The last two pages of every node."""

    def __init__(self) -> None:
        self._pages: dict[str, tuple[Page | None, Page]] = {}

    def add(self, node: str, page: Page) -> None:
        last = self._pages.get(node)
        self._pages[node] = (last[1] if last else None, page)

    def keep(self, nodes: set[str], *, newer_than: float) -> None:
        """Forget nodes that are gone, and those whose last page is older."""
        for name, (_, page) in list(self._pages.items()):
            if name not in nodes or page.at < newer_than:
                del self._pages[name]

    def node(self, name: str) -> tuple[Used, float, float] | None:
        """What the node used, until when, and over how many seconds."""
        found = self._pages.get(name)
        if found is None or found[0] is None:
            return None
        used = _used(found[0], found[1], NODE)
        return (used, found[1].at, found[1].at - found[0].at) if used else None

    def pods(self) -> Iterator[tuple[str, str, dict[str, Used], float, float]]:
        """Namespace, name, what each container used, until when, and over how many seconds.

        A pod of which a container has no rate yet is left out: half a pod would make autoscaling err.
        """
        for before, page in self._pages.values():
            if before is None:
                continue
            pods: dict[tuple[str, str], dict[str, Used | None]] = {}
            for key in page.counters:
                if key != NODE:
                    pods.setdefault(key[:2], {})[key[2]] = _used(before, page, key)
            for (namespace, name), containers in pods.items():
                known = {c: used for c, used in containers.items() if used is not None}
                if len(known) == len(containers):
                    yield namespace, name, known, page.at, page.at - before.at


def _used(before: Page, after: Page, key: Key) -> Used | None:
    old, new = before.counters.get(key), after.counters.get(key)
    if new is None or new.cpu_seconds is None or new.memory_bytes is None or after.at <= before.at:
        return None
    since = before.at
    if old is None or old.cpu_seconds is None or old.started != new.started:
        # Started in between: all that it used was used since then.
        if not before.at <= new.started < after.at - _YOUNG:
            return None
        used, since = new.cpu_seconds, new.started
    else:
        used = new.cpu_seconds - old.cpu_seconds
    if used < 0:
        return None
    return Used(int(used / (after.at - since) * 1e9), new.memory_bytes)
