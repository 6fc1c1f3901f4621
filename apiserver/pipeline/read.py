"""GET and LIST: which version of the world a read shows, and paging through one.

The rules for resourceVersion and resourceVersionMatch are those of the API's documentation ("Resource versions").
Reads come from the watch cache, once it has proved to be as new as asked for; only versions it no longer shows
(`Exact`, the later pages of a list that has changed since) come from the store.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

from api import errors
from api.types.meta_v1 import ListMeta
from apiserver.endpoint import Endpoint
from apiserver.entries import Entry
from apiserver.feed import Behind, Feed
from apiserver.pipeline.selection import Selection
from apiserver.store import Compacted, FutureRevision

_TOO_OLD = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(slots=True)
class Listing:
    """One page of a list, or all of it."""

    entries: list[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What ListOptions says about version and paging; strings as they came."""

    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_token: str = ""


class _Token(msgspec.Struct):
    v: str = ""
    rv: int = 0
    start: str = ""


def parse_version(text: str) -> int:
    """A resourceVersion as a number, 0 if empty. Raises StatusError 400."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        cause = errors.FieldError.invalid(
            "resourceVersion", text, f'strconv.ParseUint: parsing "{text}": invalid syntax'
        )
        raise errors.bad_request(f"resourceVersion: {cause.error_body()}")
    return int(text)


async def caught_up(endpoint: Endpoint, feed: Feed, version: str) -> None:
    """Wait until the cache may answer a read at `version` ("" is now, "0" any, N at least N)."""
    if not endpoint.cache.ready:
        await endpoint.cache.start()
    if version == "0":
        return
    if not version:
        await feed.fresh()
        return
    wanted = parse_version(version)
    if wanted > feed.revision:
        try:
            await feed.reach(wanted)
        except Behind as behind:
            raise errors.too_large_resource_version(endpoint.resource.group_resource, behind.revision, wanted) from None


async def get(endpoint: Endpoint, feed: Feed, namespace: str, name: str, version: str = "") -> Entry:
    """One object. Raises StatusError 404."""
    await caught_up(endpoint, feed, version)
    entry = endpoint.cache.get(endpoint.key(namespace, name))
    if entry is None:
        raise errors.not_found(endpoint.resource.group_resource, name)
    return entry


def check(query: ListQuery) -> None:
    """The combinations of options that make no sense. Raises StatusError 422."""
    match, version = query.match, query.resource_version
    if not match:
        return
    causes = []
    field = "resourceVersionMatch"
    if not version:
        detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(errors.FieldError.forbidden(field, detail))
    if query.continue_token:
        detail = "resourceVersionMatch is forbidden when continue is provided"
        causes.append(errors.FieldError.forbidden(field, detail))
    if match not in ("Exact", "NotOlderThan"):
        causes.append(errors.FieldError.not_supported(field, match, ("Exact", "NotOlderThan", "")))
    if match == "Exact" and version == "0":
        detail = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        causes.append(errors.FieldError.forbidden(field, detail))
    if causes:
        raise errors.invalid("ListOptions.meta.k8s.io", "", causes)


async def list_(endpoint: Endpoint, feed: Feed, selected: Selection, query: ListQuery) -> Listing:
    """Objects in key order. Raises StatusError 400, 410 (`Expired`), 422 or 504."""
    check(query)
    if query.continue_token:
        return await _continue(endpoint, feed, selected, query)
    version, limit = query.resource_version, query.limit
    exact = query.match == "Exact" or (limit > 0 and version not in ("", "0") and not query.match)
    if exact:
        revision = parse_version(version)
        await caught_up(endpoint, feed, version)
        return await _at(endpoint, feed, selected, revision, limit, after="")
    await caught_up(endpoint, feed, version)
    return _from_cache(endpoint, selected, feed.revision, 0 if version == "0" else limit, after="")


async def _continue(endpoint: Endpoint, feed: Feed, selected: Selection, query: ListQuery) -> Listing:
    if query.resource_version not in ("", "0"):
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    token = _parse_token(query.continue_token)
    after = endpoint.range_prefix(selected.namespace) + token.start
    if token.rv < 0:
        await caught_up(endpoint, feed, "")
        return _from_cache(endpoint, selected, feed.revision, query.limit, after=after)
    await caught_up(endpoint, feed, "0")
    return await _at(endpoint, feed, selected, token.rv, query.limit, after=after)


def _from_cache(endpoint: Endpoint, selected: Selection, revision: int, limit: int, *, after: str) -> Listing:
    found = selected.entries(endpoint, after=after)
    if not limit:
        return Listing(list(found), revision)
    page: list[Entry] = []
    remaining = 0
    for entry in found:
        if len(page) < limit:
            page.append(entry)
        else:
            remaining += 1
            if not selected.all:
                break
    return _page(endpoint, selected, page, revision, remaining)


async def _at(endpoint: Endpoint, feed: Feed, selected: Selection, revision: int, limit: int, *, after: str) -> Listing:
    if revision == feed.revision:
        return _from_cache(endpoint, selected, revision, limit, after=after)
    prefix = endpoint.range_prefix(selected.namespace)
    page: list[Entry] = []
    start, remaining = after, 0
    while True:
        size = limit - len(page) + 1 if limit and selected.all else (1000 if limit else 0)
        try:
            records = await endpoint.store.list(prefix, start=start, limit=size, revision=revision)
        except Compacted:
            raise _too_old(endpoint, selected, after) from None
        except FutureRevision:
            resource = endpoint.resource.group_resource
            raise errors.too_large_resource_version(resource, feed.revision, revision) from None
        for position, record in enumerate(records.records):
            entry = endpoint.entry(record)
            if not selected.all and not selected.matches(entry):
                continue
            if limit and len(page) == limit:
                remaining = records.total - position
                return _page(endpoint, selected, page, revision, remaining)
            page.append(entry)
        if not records.more:
            return _page(endpoint, selected, page, revision, 0)
        start = records.records[-1].key + "\0"


def _page(endpoint: Endpoint, selected: Selection, page: list[Entry], revision: int, remaining: int) -> Listing:
    if not remaining:
        return Listing(page, revision)
    token = _make_token(endpoint, selected, page[-1].key, revision)
    return Listing(page, revision, token, remaining if selected.all else None)


def _make_token(endpoint: Endpoint, selected: Selection, last_key: str, revision: int) -> str:
    start = last_key[len(endpoint.range_prefix(selected.namespace)) :] + "\0"
    token = _Token(v="meta.k8s.io/v1", rv=revision, start=start)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def _parse_token(text: str) -> _Token:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=_Token)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise errors.bad_request(f"continue key is not valid: {error}") from None
    if token.v != "meta.k8s.io/v1":
        raise errors.bad_request(
            f'continue key is not valid: server does not recognize this encoded version "{token.v}"'
        )
    if not token.start or not token.rv:
        raise errors.bad_request("continue key is not valid: incorrect encoded start resourceVersion")
    return token


def _too_old(endpoint: Endpoint, selected: Selection, after: str) -> errors.StatusError:
    if not after:
        return errors.expired(_TOO_OLD)
    error = errors.expired(_CONTINUE_TOO_OLD)
    start = after[len(endpoint.range_prefix(selected.namespace)) :]
    token = _Token(v="meta.k8s.io/v1", rv=-1, start=start)
    encoded = base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()
    error.status.metadata = ListMeta(continue_=encoded)
    return error
