"""Turns a set of wanted endpoints into as few writes of EndpointSlices as possible.

Shared by the controllers that make slices from pods and from Endpoints objects. Invariants:
- a slice has one address family, one set of ports, and at most 100 endpoints;
- slices that exist keep what is still wanted, take in what is new while they have room, and only then new slices
  are made; a slice left empty is deleted, but one (a placeholder) always remains;
- what was written is remembered until the informer shows it, so that a stale cache makes no slice twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from api import codec, errors
from api import time as api_time
from api.types.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from api.types.meta_v1 import ObjectMeta
from client.batch import Batcher
from client.store import Key
from client.writes import Create, Delete, Update, Write
from controller_manager.network.service_pods import LAST_CHANGE
from controller_manager.owners import controller_ref

MAX_ENDPOINTS = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"

PortSet = tuple[tuple[str | None, int | None, str, str | None], ...]


@dataclass
class Group:
    """Endpoints that may share slices: one family, one set of ports."""

    family: str
    ports: PortSet
    endpoints: dict[str, Endpoint] = field(default_factory=dict)  # by what identifies an endpoint


def identity(endpoint: Endpoint) -> str:
    ref = endpoint.target_ref
    if ref is not None and ref.uid:
        return ref.uid
    return f"{','.join(endpoint.addresses)}|{ref.name if ref else ''}"


def ports_of(found: EndpointSlice) -> PortSet:
    ports = [(p.name or None, p.port, p.protocol or "TCP", p.app_protocol) for p in found.ports or ()]
    return tuple(sorted(ports, key=str))


class SliceWriter:
    """One for all services of a controller."""

    def __init__(self, batcher: Batcher, manager: str) -> None:
        self._batcher, self._manager = batcher, manager
        self._written: dict[Key, dict[str, EndpointSlice | None]] = {}

    def forget(self, key: Key) -> None:
        self._written.pop(key, None)

    def current(self, key: Key, cached: Iterable[EndpointSlice]) -> list[EndpointSlice]:
        """The cache's slices, corrected by what was written and has not arrived there."""
        written = self._written.get(key)
        found = {s.metadata.name or "": s for s in cached}
        if not written:
            return list(found.values())
        for name, ours in list(written.items()):
            theirs = found.get(name)
            if ours is None:
                if theirs is None:
                    del written[name]
                else:
                    del found[name]
            elif theirs is not None and _revision(theirs) >= _revision(ours):
                del written[name]
            else:
                found[name] = ours
        return list(found.values())

    def seen_deleted(self, deleted: EndpointSlice, key: Key) -> None:
        """The informer says that a slice is gone, whoever deleted it."""
        written = self._written.get(key)
        if written is not None:
            written.pop(deleted.metadata.name or "", None)

    async def write(
        self, owner: object, key: Key, current: Sequence[EndpointSlice], groups: Sequence[Group], labels: dict[str, str]
    ) -> None:
        """Bring the slices of `key` from `current` to `groups`. Raises the first StatusError."""
        plan = _Plan(owner, key, {**labels, SERVICE_NAME: key[1], MANAGED_BY: self._manager})
        for group in groups:
            plan.fit([s for s in current if (s.address_type, ports_of(s)) == (group.family, group.ports)], group)
        kept = {(g.family, g.ports) for g in groups}
        plan.drop([s for s in current if (s.address_type, ports_of(s)) not in kept])
        failure = None
        written = self._written.setdefault(key, {})
        for write in plan.writes():
            try:
                outcome = await self._batcher.write(write)
            except errors.StatusError as error:
                gone = isinstance(write, Delete) and errors.is_not_found(error)
                failure = failure or (None if gone else error)
                continue
            if isinstance(write, Delete):
                written[write.name] = None
            else:
                written[outcome.metadata.name or ""] = outcome
        if failure is not None:
            raise failure


def _revision(found: EndpointSlice) -> int:
    return int(found.metadata.resource_version or 0)


class _Plan:
    def __init__(self, owner: object, key: Key, labels: dict[str, str]) -> None:
        self._owner, self._key, self._labels = owner, key, labels
        self._creates: list[EndpointSlice] = []
        self._updates: list[EndpointSlice] = []
        self._deletes: list[EndpointSlice] = []

    def writes(self) -> list[Write]:
        """Additions first: an endpoint that moves between slices is rather in two of them than in none."""
        # A slice that would be deleted carries a new group as well as a new slice does, and saves two writes.
        return [
            *(Create(s) for s in self._creates),
            *(Update(s) for s in self._updates),
            *(
                Delete(EndpointSlice, s.metadata.name or "", s.metadata.namespace or "", uid=s.metadata.uid)
                for s in self._deletes
            ),
        ]

    def drop(self, found: Sequence[EndpointSlice]) -> None:
        self._deletes.extend(found)

    def fit(self, existing: Sequence[EndpointSlice], group: Group) -> None:
        missing = dict(group.endpoints)
        contents: list[tuple[EndpointSlice, list[Endpoint], bool]] = []
        for found in existing:
            keep, changed = [], False
            for endpoint in found.endpoints or ():
                wanted = missing.pop(identity(endpoint), None)
                if wanted is None:
                    changed = True
                else:
                    keep.append(wanted)
                    changed = changed or wanted != endpoint
            contents.append((found, keep, changed))
        added = list(missing.values())
        # Slices that have to be written anyway take new endpoints first, then the fullest that has room for all.
        for position, (found, keep, changed) in enumerate(contents):
            if changed and added and len(keep) < MAX_ENDPOINTS:
                room = MAX_ENDPOINTS - len(keep)
                contents[position] = (found, keep + added[:room], True)
                added = added[room:]
        fullest = sorted(range(len(contents)), key=lambda i: -len(contents[i][1]))
        for position in fullest:
            found, keep, changed = contents[position]
            if added and len(keep) + len(added) <= MAX_ENDPOINTS:
                contents[position] = (found, keep + added, True)
                added = []
        for start in range(0, len(added), MAX_ENDPOINTS):
            self._create(group, added[start : start + MAX_ENDPOINTS])
        full = [c for c in contents if c[1]]
        spare = [c for c in contents if not c[1]]
        if not full and not added:
            # the placeholder, so that a client can tell "no endpoints" from "not looked at yet"
            if spare:
                full, spare = spare[:1], spare[1:]
            else:
                self._create(group, [])
        self._deletes.extend(found for found, _, _ in spare)
        for found, keep, changed in full:
            if changed or self._labels_differ(found) or (found.endpoints is None and keep):
                fresh = codec.deepcopy(found)
                fresh.endpoints = keep
                fresh.metadata.labels = dict(self._labels)
                fresh.metadata.annotations = {**(fresh.metadata.annotations or {}), LAST_CHANGE: api_time.now()}
                self._updates.append(fresh)

    def _labels_differ(self, found: EndpointSlice) -> bool:
        return (found.metadata.labels or {}) != self._labels

    def _create(self, group: Group, endpoints: list[Endpoint]) -> None:
        namespace, name = self._key
        self._creates.append(
            EndpointSlice(
                metadata=ObjectMeta(
                    generate_name=f"{name}-",
                    namespace=namespace,
                    labels=dict(self._labels),
                    annotations={LAST_CHANGE: api_time.now()} if endpoints else None,
                    owner_references=[controller_ref(self._owner)],
                ),
                address_type=group.family,
                endpoints=endpoints,
                ports=[
                    EndpointPort(name=n or "", port=p, protocol=proto, app_protocol=app)
                    for n, p, proto, app in group.ports
                ],
            )
        )
