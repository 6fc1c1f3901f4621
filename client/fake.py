"""An API in memory, for fast tests: `FakeApi()` is an `Api` whose messages are answered by a dictionary.

It does what controllers depend on: resourceVersions and conflicts, generation, finalizers, graceful deletion of pods,
deletion propagation's finalizers, subresources status, scale, binding, eviction and finalize, selectors, watches with
resumption and 410. It does not authenticate, default, validate or admit: what needs that is tested against the real
apiserver. Unlike the real one it keeps the status that an object is created with, so that a test can start anywhere.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from api import codec, errors, names
from api import time as api_time
from api.resource import Resource
from api.resources import find, resource_for
from api.selectors import parse_field_selector, parse_label_selector
from client.api import Api
from client.transport import CALL_TIMEOUT
from client.writes import kind_of
from proto import api_pb2

T = TypeVar("T")
Document = dict[str, Any]
_Key = tuple[str, str]
_GroupPlural = tuple[str, str]


@dataclass(frozen=True)
class Action:
    """One call that the code under test made."""

    verb: str  # get, list, create, update, patch, delete
    resource: str  # plural
    namespace: str
    name: str
    subresource: str = ""


@dataclass
class _Change:
    revision: int
    resource: _GroupPlural
    kind: int  # api_pb2.WatchEvent.Type
    new: Document
    old: Document | None


@dataclass
class _Watcher:
    request: api_pb2.WatchOpen
    queue: asyncio.Queue[_Change] = field(default_factory=asyncio.Queue)


class FakeApi(Api):
    """`await FakeApi(pod, node)` starts with these objects. `actions` lists every call; `on` plants failures."""

    def __init__(self, *objects: Any) -> None:
        self.fake = FakeTransport()
        super().__init__(self.fake)
        for obj in objects:
            self.add(obj)

    def add(self, obj: T) -> T:
        """Put an object in, as a client other than the code under test would."""
        resource = resource_for(type(obj))
        stored = self.fake.put_new(resource, codec.to_dict(obj))
        return codec.from_dict(type(obj), stored)

    def objects(self, kind: type[T]) -> list[T]:
        """Everything of a kind, in order of creation."""
        resource = kind_of(kind).resource
        return [codec.from_dict(kind, d) for d in self.fake.table(resource).values()]

    def one(self, kind: type[T], name: str, namespace: str = "") -> T | None:
        document = self.fake.table(kind_of(kind).resource).get((namespace, name))
        return None if document is None else codec.from_dict(kind, document)

    @property
    def actions(self) -> list[Action]:
        return self.fake.actions

    def writes(self, resource: str = "") -> list[Action]:
        """The calls that change something, of one resource if named."""
        return [a for a in self.actions if a.verb not in ("get", "list") and resource in ("", a.resource)]

    def on(self, verb: str, resource: str, react: Callable[[Action], None]) -> None:
        """Call `react` before each such call; what it raises is the call's outcome."""
        self.fake.reactions.append((verb, resource, react))

    def compact(self) -> None:
        """Forget history: watches and resumptions from before now get 410."""
        self.fake.compact()


class FakeTransport:
    """Answers the messages of `proto/api.proto` from memory."""

    def __init__(self) -> None:
        self.revision = 1
        self.actions: list[Action] = []
        self.reactions: list[tuple[str, str, Callable[[Action], None]]] = []
        self._tables: dict[_GroupPlural, dict[_Key, Document]] = {}
        self._history: list[_Change] = []
        self._compacted = 0
        self._watchers: list[_Watcher] = []

    # -- the transport ----------------------------------------------------------------------------------------------

    async def unary(self, method: str, request: Any, timeout: float = CALL_TIMEOUT) -> Any:
        await asyncio.sleep(0)
        if method == "Batch":
            return api_pb2.BatchResponse(results=[self._outcome(write) for write in request.writes])
        return _message(self._one(method, request))

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def list(self, request: api_pb2.ListRequest) -> AsyncIterator[api_pb2.ListPage]:
        await asyncio.sleep(0)
        self._act("list", request, "")
        matches = _matcher(request)
        found = [d for d in self.table(_resource(request)).values() if matches(d)]
        yield api_pb2.ListPage(items=[_message(d) for d in found], revision=self.revision, last=True)

    async def watch(self, request: api_pb2.WatchOpen) -> AsyncGenerator[Sequence[api_pb2.WatchEvent], None]:
        since = int(request.resource_version or 0)
        if since and since < self._compacted:
            raise errors.expired(f"too old resource version: {since} ({self._compacted})")
        watcher = _Watcher(request)
        resource = (request.resource.group, request.resource.resource)
        if since:
            for change in self._history:
                if change.revision > since:
                    watcher.queue.put_nowait(change)
        else:
            for document in self._tables.get(resource, {}).values():
                watcher.queue.put_nowait(
                    _Change(_revision(document), resource, api_pb2.WatchEvent.ADDED, document, None)
                )
        matches = _matcher(request)
        self._watchers.append(watcher)
        try:
            while True:
                change = await watcher.queue.get()
                if change.kind < 0:
                    raise errors.expired("too old resource version")
                event = None if change.resource != resource else _event(change, matches)
                if event is not None:
                    yield [event]
        finally:
            self._watchers.remove(watcher)

    async def close(self) -> None:
        return None

    # -- storage ----------------------------------------------------------------------------------------------------

    def table(self, resource: Resource) -> dict[_Key, Document]:
        return self._tables.setdefault((resource.group, resource.plural), {})

    def compact(self) -> None:
        self._compacted = self.revision + 1
        self.revision += 1
        self._history.clear()
        for watcher in self._watchers:
            watcher.queue.put_nowait(_Change(0, ("", ""), -1, {}, None))

    def put_new(self, resource: Resource, document: Document) -> Document:
        meta = document.setdefault("metadata", {})
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise errors.invalid(resource.kind, "", [errors.FieldError.required("metadata.name")])
            meta["name"] = names.generate(meta["generateName"])
        key = _key(resource, meta)
        table = self.table(resource)
        if key in table:
            raise errors.already_exists(resource.group_resource, meta["name"])
        meta.pop("resourceVersion", None)
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", api_time.now())
        if "spec" in document:
            meta.setdefault("generation", 1)
        if resource.plural == "namespaces":
            document.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            document.setdefault("status", {}).setdefault("phase", "Active")
        return self._store(resource, key, document, None)

    def _store(self, resource: Resource, key: _Key, document: Document, old: Document | None) -> Document:
        self.revision += 1
        document = json.loads(json.dumps(document))
        document["metadata"]["resourceVersion"] = str(self.revision)
        self.table(resource)[key] = document
        self._changed(resource, api_pb2.WatchEvent.ADDED if old is None else api_pb2.WatchEvent.MODIFIED, document, old)
        return document

    def _remove(self, resource: Resource, key: _Key) -> Document:
        old = self.table(resource).pop(key)
        self.revision += 1
        gone: Document = json.loads(json.dumps(old))
        gone["metadata"]["resourceVersion"] = str(self.revision)
        self._changed(resource, api_pb2.WatchEvent.DELETED, gone, old)
        return gone

    def _changed(self, resource: Resource, kind: int, new: Document, old: Document | None) -> None:
        change = _Change(self.revision, (resource.group, resource.plural), kind, new, old)
        self._history.append(change)
        for watcher in self._watchers:
            watcher.queue.put_nowait(change)

    # -- calls ------------------------------------------------------------------------------------------------------

    def _outcome(self, write: api_pb2.Write) -> api_pb2.WriteResult:
        which = write.WhichOneof("write")
        assert which is not None
        try:
            return api_pb2.WriteResult(object=_message(self._one(which.capitalize(), getattr(write, which))))
        except errors.StatusError as error:
            return api_pb2.WriteResult(status=codec.encode(error.status))

    def _one(self, method: str, request: Any) -> Document:
        verb = method.lower()
        subresource = getattr(request, "subresource", "")
        name = request.name
        if verb in ("create", "update") and not name:
            name = (json.loads(request.json).get("metadata") or {}).get("name", "")
        self._act(verb, request, subresource, name)
        resource = _resource(request)
        key = (request.namespace if resource.namespaced else "", name)
        if verb == "create" and not subresource:
            document = json.loads(request.json)
            if resource.namespaced:
                document.setdefault("metadata", {}).setdefault("namespace", request.namespace)
            return self.put_new(resource, document)
        current = self.table(resource).get(key)
        if current is None:
            raise errors.not_found(resource.group_resource, name)
        if verb == "get":
            return _scale(resource, current) if subresource == "scale" else current
        if verb == "create":
            return self._create_subresource(resource, key, current, request)
        if verb == "delete":
            return self._delete(resource, key, current, json.loads(request.options or b"{}"))
        new = json.loads(request.json) if verb == "update" else _patched(resource, current, request)
        return self._update(resource, key, current, new, subresource)

    def _act(self, verb: str, request: Any, subresource: str, name: str = "") -> None:
        action = Action(verb, request.resource.resource, request.namespace, name, subresource)
        self.actions.append(action)
        for on_verb, on_resource, react in list(self.reactions):
            if on_verb in ("*", verb) and on_resource in ("*", action.resource):
                react(action)

    def _update(self, resource: Resource, key: _Key, current: Document, new: Document, subresource: str) -> Document:
        meta, now = new.setdefault("metadata", {}), current["metadata"]
        if meta.get("resourceVersion") not in (None, "", now["resourceVersion"]):
            raise errors.conflict(resource.group_resource, key[1])
        if meta.get("uid") not in (None, "", now["uid"]):
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {now['uid']}"
            raise errors.conflict(resource.group_resource, key[1], why)
        if subresource == "scale":
            merged = json.loads(json.dumps(current))
            merged["spec"]["replicas"] = new.get("spec", {}).get("replicas", 0)
            return _scale(resource, self._store(resource, key, _generation(merged, current), current))
        if subresource == "status":
            merged = json.loads(json.dumps(current))
            merged["status"] = new.get("status", {})
            new = merged
        elif "status" in resource.subresources:
            new.pop("status", None)
            if "status" in current:
                new["status"] = current["status"]
        meta = new["metadata"]
        for kept in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            meta.pop(kept, None)
            if kept in now:
                meta[kept] = now[kept]
        meta["name"] = now["name"]
        if "namespace" in now:
            meta["namespace"] = now["namespace"]
        new["apiVersion"], new["kind"] = current["apiVersion"], current["kind"]
        meta["resourceVersion"] = now["resourceVersion"]
        if new == current:
            return current
        stored = self._store(resource, key, _generation(new, current), current)
        if _may_go(resource, stored):
            return self._remove(resource, key)
        return stored

    def _delete(self, resource: Resource, key: _Key, current: Document, options: Document) -> Document:
        wanted = options.get("preconditions") or {}
        for name, field_name in (("uid", "uid"), ("resourceVersion", "resourceVersion")):
            if wanted.get(name) not in (None, current["metadata"][field_name]):
                label = "UID" if name == "uid" else "ResourceVersion"
                why = (
                    f"Precondition failed: {label} in precondition: {wanted[name]}, "
                    f"{label} in object meta: {current['metadata'][field_name]}"
                )
                raise errors.conflict(resource.group_resource, key[1], why)
        new: Document = json.loads(json.dumps(current))
        meta = new["metadata"]
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.get("propagationPolicy") or "")
        if finalizer and finalizer not in meta.setdefault("finalizers", []):
            meta["finalizers"].append(finalizer)
        grace = _grace(resource, new, options)
        already = "deletionTimestamp" in meta
        if not already or grace < meta.get("deletionGracePeriodSeconds", 0):
            due = datetime.now(UTC) + timedelta(seconds=grace)
            meta["deletionTimestamp"] = api_time.format_time(due)
            meta["deletionGracePeriodSeconds"] = grace
        if resource.plural == "namespaces":
            new.setdefault("status", {})["phase"] = "Terminating"
        if _may_go(resource, new):
            return self._remove(resource, key)
        if new == current:
            return current
        if not already and "generation" in meta:
            meta["generation"] += 1
        return self._store(resource, key, new, current)

    def _create_subresource(self, resource: Resource, key: _Key, current: Document, request: Any) -> Document:
        body = json.loads(request.json)
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        if request.subresource == "binding":
            if current["spec"].get("nodeName"):
                why = f'pod {key[1]} is already assigned to node "{current["spec"]["nodeName"]}"'
                raise errors.conflict("pods/binding", key[1], why)
            new = json.loads(json.dumps(current))
            new["spec"]["nodeName"] = body["target"]["name"]
            new.setdefault("status", {}).setdefault("conditions", []).append(
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": api_time.now()}
            )
            self._store(resource, key, new, current)
            return success
        if request.subresource == "eviction":
            self._delete(resource, key, current, body.get("deleteOptions") or {})
            return success
        raise errors.not_found(resource.group_resource, f"{key[1]}/{request.subresource}")


def _resource(request: Any) -> Resource:
    wanted = request.resource
    resource = find(wanted.group, wanted.version, wanted.resource)
    return resource or Resource(
        wanted.group, wanted.version, "", wanted.resource, wanted.resource, type_ref=cast(Any, dict)
    )


def _key(resource: Resource, meta: Document) -> _Key:
    return (meta.get("namespace") or "") if resource.namespaced else "", meta["name"]


def _revision(document: Document) -> int:
    return int(document.get("metadata", {}).get("resourceVersion") or 0)


def _message(document: Document) -> api_pb2.Object:
    return api_pb2.Object(json=json.dumps(document, separators=(",", ":")).encode(), revision=_revision(document))


def _matcher(request: Any) -> Callable[[Document], bool]:
    labels = parse_label_selector(request.label_selector) if request.label_selector else None
    fields = parse_field_selector(request.field_selector) if request.field_selector else None

    def matches(document: Document) -> bool:
        meta = document["metadata"]
        if request.namespace and meta.get("namespace") != request.namespace:
            return False
        if labels is not None and not labels.matches(meta.get("labels")):
            return False
        return fields is None or fields.matches(_flat(document))

    return matches


def _flat(document: Any, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            flat[prefix + name] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat


def _event(change: _Change, matches: Callable[[Document], bool]) -> api_pb2.WatchEvent | None:
    now = matches(change.new)
    before = change.old is not None and matches(change.old)
    kind = change.kind
    if kind == api_pb2.WatchEvent.MODIFIED:
        if now and not before:
            kind = api_pb2.WatchEvent.ADDED
        elif before and not now:
            kind = api_pb2.WatchEvent.DELETED
        elif not now:
            return None
    elif not (now or before):
        return None
    message = _message(change.new)
    return api_pb2.WatchEvent(type=kind, object=message)  # type: ignore[arg-type]


def _generation(new: Document, old: Document) -> Document:
    if new.get("spec") != old.get("spec") and "generation" in new["metadata"]:
        new["metadata"]["generation"] += 1
    return new


def _may_go(resource: Resource, document: Document) -> bool:
    meta = document["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if resource.plural == "namespaces" and document["spec"].get("finalizers"):
        return False
    return not meta.get("deletionGracePeriodSeconds")


def _grace(resource: Resource, document: Document, options: Document) -> int:
    if resource.plural != "pods":
        return 0
    spec = document.get("spec", {})
    if not spec.get("nodeName") or document.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    grace = options.get("gracePeriodSeconds")
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds")
    return int(30 if grace is None else grace)


def _patched(resource: Resource, current: Document, request: api_pb2.PatchRequest) -> Document:
    from api import patch

    change = json.loads(request.patch)
    document = json.loads(json.dumps(current))
    if request.content_type == "application/json-patch+json":
        return patch.json_patch(document, change)
    if request.content_type == "application/strategic-merge-patch+json":
        return patch.strategic_merge(document, change, cast(Any, resource.type))
    return patch.merge_patch(document, change)


def _scale(resource: Resource, document: Document) -> Document:
    meta = {k: v for k, v in document["metadata"].items() if k in ("name", "namespace", "uid", "resourceVersion")}
    selector = document["spec"].get("selector") or {}
    labels = selector.get("matchLabels", selector) if isinstance(selector, dict) else {}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": meta,
        "spec": {"replicas": document["spec"].get("replicas", 0)},
        "status": {
            "replicas": document.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{k}={v}" for k, v in sorted(labels.items())),
        },
    }
