"""The indented, tab-aligned text that describers write."""

from __future__ import annotations

from typing import Any

from cli.errors import Object
from cli.human import age, parse_time, rfc1123
from cli.objects import annotations_of, dig, labels_of, name_of, namespace_of
from cli.printers.tabwriter import align

MAX_ANNOTATION = 140


class Text:
    """Lines with tabs; a flush begins a new alignment."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._current: list[str] = []

    def line(self, level: int, text: str) -> None:
        self._current.append("  " * level + text + "\n")

    def raw(self, text: str) -> None:
        self._current.append(text)

    def flush(self) -> None:
        if self._current:
            self._done.append(align("".join(self._current), padding=2))
            self._current = []

    def render(self) -> str:
        self.flush()
        return "".join(self._done).rstrip("\n")

    def field(self, title: str, value: Any, level: int = 0) -> None:
        self.line(level, f"{title}:\t{value}")

    def labels(self, title: str, labels: dict[str, str] | None, indent: str = "") -> None:
        """`Labels:  a=b`, one to a line; `<none>` without any."""
        if not labels:
            self.line(0, f"{indent}{title}:\t<none>")
            return
        for index, (key, value) in enumerate(sorted(labels.items())):
            self.line(0, f"{indent}{title}:\t{key}={value}" if not index else f"{indent}\t{key}={value}")

    def annotations(self, title: str, annotations: dict[str, str] | None, indent: str = "") -> None:
        shown = {
            key: value
            for key, value in sorted((annotations or {}).items())
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        }
        if not shown:
            self.line(0, f"{indent}{title}:\t<none>")
            return
        for index, (key, value) in enumerate(shown.items()):
            start = f"{indent}{title}:\t" if not index else f"{indent}\t"
            value = value.removesuffix("\n")
            if len(value) + len(key) + 2 > MAX_ANNOTATION or "\n" in value:
                self.line(0, f"{start}{key}:")
                for part in value.split("\n"):
                    short = part if len(part) <= MAX_ANNOTATION - 2 else part[: MAX_ANNOTATION - 2] + "..."
                    self.line(0, f"\t  {short}")
            else:
                self.line(0, f"{start}{key}: {value}")

    def head(self, obj: Object, *, namespaced: bool = True) -> None:
        """Name, namespace, labels and annotations: how every description begins."""
        self.field("Name", name_of(obj))
        if namespaced and namespace_of(obj):
            self.field("Namespace", namespace_of(obj))
        self.labels("Labels", labels_of(obj))
        self.annotations("Annotations", annotations_of(obj))

    def events(self, events: list[Object] | None) -> None:
        if events is None:
            return
        if not events:
            self.field("Events", "<none>")
            return
        self.flush()
        self.line(0, "Events:")
        self.line(1, "Type\tReason\tAge\tFrom\tMessage")
        self.line(1, "----\t------\t----\t----\t-------")
        for event in sorted(events, key=event_time):
            source = dig(event, "source", "component") or event.get("reportingComponent") or ""
            message = str(event.get("message") or "").strip()
            self.line(1, f"{event.get('type', '')}\t{event.get('reason', '')}\t{event_age(event)}\t{source}\t{message}")


def event_time(event: Object) -> float:
    """When the event was last seen, for sorting."""
    text = (
        dig(event, "series", "lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or dig(event, "metadata", "creationTimestamp")
    )
    return parse_time(text).timestamp() if text else 0.0


def event_age(event: Object) -> str:
    """`5m (x3 over 10m)`."""
    first = age(event.get("eventTime") or event.get("firstTimestamp"))
    series = event.get("series")
    if series:
        return f"{age(series.get('lastObservedTime'))} (x{series.get('count', 0)} over {first})"
    if int(event.get("count") or 0) > 1:
        return f"{age(event.get('lastTimestamp'))} (x{event['count']} over {first})"
    return first


def conditions_table(text: Text, obj: Object, columns: tuple[str, ...] = ("Status", "Reason")) -> None:
    """The short table of a workload's conditions."""
    rows = dig(obj, "status", "conditions", default=[])
    if not rows:
        return
    text.line(0, "Conditions:")
    text.line(1, "\t".join(["Type", *columns]))
    text.line(1, "\t".join(["----", *("-" * len(name) for name in columns)]))
    for row in rows:
        text.line(
            1,
            "\t".join([row.get("type", ""), *(str(row.get(name.lower(), "")) for name in columns)]).rstrip("\t") or "",
        )


def created(text: Text, obj: Object, title: str = "CreationTimestamp") -> None:
    text.field(title, rfc1123(dig(obj, "metadata", "creationTimestamp")))
