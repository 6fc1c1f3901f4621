"""WATCH: from which version a watch starts, and whether it first tells the state it starts from.

Rules: the API's documentation ("Efficient detection of changes", "Streaming lists", KEP-3157).
"""

from __future__ import annotations

from dataclasses import dataclass

from api import errors
from apiserver.endpoint import Endpoint
from apiserver.feed import Feed
from apiserver.pipeline.read import caught_up, parse_version
from apiserver.pipeline.selection import Selection
from apiserver.watching import Item, Watcher


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """What ListOptions says about a watch."""

    resource_version: str = ""
    match: str = ""
    send_initial_events: bool | None = None
    bookmarks: bool = False
    continue_token: str = ""


def check(query: WatchQuery) -> None:
    """Raises StatusError 422 for options that contradict each other, 400 for a version that is none."""
    causes = []
    field = "resourceVersionMatch"
    if query.send_initial_events is not None and query.match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(errors.FieldError.forbidden(field, detail))
    if query.match:
        if query.send_initial_events is None:
            detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            causes.append(errors.FieldError.forbidden(field, detail))
        if query.match != "NotOlderThan":
            causes.append(errors.FieldError.not_supported(field, query.match, ("NotOlderThan",)))
        if query.continue_token:
            detail = "resourceVersionMatch is forbidden when continue is provided"
            causes.append(errors.FieldError.forbidden(field, detail))
    if causes:
        raise errors.invalid("ListOptions.meta.k8s.io", "", causes)
    parse_version(query.resource_version)


async def watch(endpoint: Endpoint, feed: Feed, selected: Selection, query: WatchQuery) -> Watcher:
    """An open watch, to be closed with `endpoint.cache.unwatch`.

    Raises StatusError 410 if it starts too far back, 504 if it is to begin with a state that is not known yet. A watch
    without initial events may start in the future: it is silent until the world has come so far.
    """
    check(query)
    version = query.resource_version
    initial = query.send_initial_events if query.send_initial_events is not None else version in ("", "0")
    cache = endpoint.cache
    watcher = Watcher(selected.match())
    if not initial:
        if not version or version == "0":
            await caught_up(endpoint, feed, version)
            start = feed.revision
        else:
            await caught_up(endpoint, feed, "0")
            start = parse_version(version)
            watcher.after = start
        cache.watch(watcher, start)
        return watcher
    await caught_up(endpoint, feed, version)
    # From here to the end nothing may await: state and events have to fit together.
    watcher.preload_items(Item("ADDED", entry, entry.revision, entry.json) for entry in selected.entries(endpoint))
    if query.send_initial_events and query.bookmarks:
        watcher.preload_items([initial_events_end(endpoint, feed.revision)])
    watcher.exempt_preloaded()
    cache.watch(watcher, feed.revision)
    return watcher


def bookmark(endpoint: Endpoint, revision: int) -> Item:
    """Tells a client how far it has come, so that it can resume from there."""
    return _bookmark(endpoint, revision, b"")


def initial_events_end(endpoint: Endpoint, revision: int) -> Item:
    """The bookmark after the initial events of `sendInitialEvents`."""
    return _bookmark(endpoint, revision, b',"annotations":{"k8s.io/initial-events-end":"true"}')


def _bookmark(endpoint: Endpoint, revision: int, annotations: bytes) -> Item:
    resource = endpoint.resource
    json = b'{"kind":"%b","apiVersion":"%b","metadata":{"resourceVersion":"%d","creationTimestamp":null%b}}' % (
        resource.kind.encode(),
        resource.api_version.encode(),
        revision,
        annotations,
    )
    return Item("BOOKMARK", None, revision, json)
