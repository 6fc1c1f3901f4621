"""Who set which field, as the pipeline keeps it: `api.managed` for typed objects of this server's endpoints.

Ownership is settled right after a request has said what it wants and before admission: what admission, defaults on
read or the strategies add is owned by nobody (upstream's order). Writes that the server makes of its own accord
(a binding, a deletion) have no manager and change no ownership.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from api import codec, errors
from api import time as api_time
from api.managed import FieldManager, Type, deduced, entries, from_openapi, sets, type_of
from api.managed.entries import Managed
from api.managed.updater import Versioned
from api.types.meta_v1 import ManagedFieldsEntry, ObjectMeta
from apiserver import documents
from apiserver.endpoint import Endpoint
from apiserver.pipeline.decode import finish
from apiserver.pipeline.resets import filter_for
from apiserver.strategy import Context

if TYPE_CHECKING:
    from apiserver.registry import Registry

log = logging.getLogger(__name__)

#: What metadata holds that can be owned; the rest is the server's or names the object.
_METADATA = tuple(
    name
    for name in ObjectMeta.__struct_fields__
    if name
    not in (
        "name",
        "namespace",
        "uid",
        "creation_timestamp",
        "self_link",
        "generation",
        "resource_version",
        "managed_fields",
    )
)
_JSON_NAMES = dict(zip(ObjectMeta.__struct_fields__, ObjectMeta.__struct_encode_fields__, strict=True))

_REMEMBERED = 1024  # sections of new objects whose fields are remembered, per endpoint
_REMEMBERED_SIZE = 8192  # bytes of JSON of one

to_builtins: Callable[[Any], Any] = codec.to_dict


class Owners:
    """Ownership through one endpoint and subresource."""

    def __init__(self, endpoint: Endpoint, subresource: str, registry: Registry | None = None) -> None:
        resource = endpoint.resource
        self.endpoint = endpoint
        self._registry = registry
        keep = filter_for(resource, subresource)
        self.manager = FieldManager(
            _type(resource.type),
            resource.api_version,
            resource.kind,
            empty=codec.to_dict(resource.type()),
            subresource=subresource,
            keep=keep,
            convert=self._convert,
        )
        self._ignored = frozenset({"apiVersion", "kind", "metadata", *keep.sections})
        self._sections: list[tuple[str, str]] | None = None
        if issubclass(resource.type, msgspec.Struct):
            names = zip(resource.type.__struct_fields__, resource.type.__struct_encode_fields__, strict=True)
            self._sections = [(attribute, name) for attribute, name in names if name not in self._ignored]
        self._metadata = "metadata" not in keep.sections
        self._seen: dict[tuple[str, bytes], sets.Set] = {}

    def _parts(self, obj: Any) -> dict[str, Any]:
        """What an object has beside its metadata, as far as it can be owned."""
        if self._sections is None:
            return {name: value for name, value in obj.content.items() if name not in self._ignored}
        parts = {}
        for attribute, name in self._sections:
            value = getattr(obj, attribute)
            if value is not None:
                parts[name] = value
        return parts

    # -- create ---------------------------------------------------------------------------------------------------

    def create(self, obj: Any, manager: str) -> None:
        """Everything in a new object is its creator's."""
        meta = obj.metadata
        managed = _sent(meta.managed_fields) or {}
        meta.managed_fields = None
        served = self.endpoint.served(obj)
        now = api_time.now()
        if managed or self.manager.filter.include is not None:
            self.manager.update(self.manager.empty, codec.to_dict(served), managed, manager, now)
        else:
            self.manager.write(managed, self._new_fields(served), manager, now)
        meta.managed_fields = entries.encode(managed)

    def _new_fields(self, served: Any) -> sets.Set:
        """What a new object sets. Many are alike in all but their metadata: a section seen before is looked up."""
        found: sets.Set = {}
        if self._metadata:
            below = _metadata(served.metadata, _METADATA)
            if below:
                found.update(self._seen_or("metadata", {}, below, codec.encode(below)))
        empty = self.manager.empty
        for name, value in self._parts(served).items():
            found.update(self._seen_or(name, empty.get(name), value, codec.encode(value)))
        return sets.ordered(found)

    def _seen_or(self, name: str, before: Any, value: Any, json: bytes) -> sets.Set:
        fields = self._seen.get((name, json))
        if fields is None:
            live = {} if before is None else {name: before}
            fields = self.manager.written(live, {name: to_builtins(value)})
            if len(json) <= _REMEMBERED_SIZE:
                if len(self._seen) >= _REMEMBERED:
                    self._seen.clear()
                self._seen[name, json] = fields
        return fields

    # -- update ---------------------------------------------------------------------------------------------------

    def update(self, new: Any, old: Any, manager: str) -> None:
        """What the write changed is the writer's now; what it removed is nobody's."""
        stored, sent = old.metadata.managed_fields, new.metadata.managed_fields
        managed, untouched = self._before(stored, sent)
        if not managed:
            # Nobody has been asked to keep track of this object: it takes an apply to begin.
            new.metadata.managed_fields = None
            return
        before = dict(managed)
        live, now = self._changed(old, new, managed)
        if live != now:
            self.manager.update(live, now, managed, manager, api_time.now())
        new.metadata.managed_fields = stored if untouched and managed == before else entries.encode(managed)

    def _before(
        self, stored: list[ManagedFieldsEntry] | None, sent: list[ManagedFieldsEntry] | None
    ) -> tuple[Managed, bool]:
        """The managers to start from, and whether they are those that are stored.

        A client may send others, or forget them all; one that knows nothing of them deletes none by accident.
        """
        if sent is not None and not self.manager.subresource and sent != stored:
            if entries.is_reset(sent):
                return {}, False
            if managed := _sent(sent):
                return managed, False
        return entries.decode_or_nothing(stored), True

    def _changed(self, old: Any, new: Any, managed: Managed) -> tuple[dict[str, Any], dict[str, Any]]:
        """The parts of both that differ; all of both if managers have to be asked in another version."""
        version = self.manager.api_version
        if self.endpoint.conversion is not None or any(entry.api_version != version for entry in managed.values()):
            return self._plain(old), self._plain(new)
        live: dict[str, Any] = {}
        now: dict[str, Any] = {}
        if self._metadata:
            differing = [n for n in _METADATA if getattr(old.metadata, n) != getattr(new.metadata, n)]
            if differing:
                live["metadata"] = _metadata(old.metadata, differing)
                now["metadata"] = _metadata(new.metadata, differing)
        before, after = self._parts(old), self._parts(new)
        for name, value in before.items():
            if name not in after or value != after[name]:
                live[name] = to_builtins(value)
        for name, value in after.items():
            if name not in before or name in live:
                now[name] = to_builtins(value)
        return live, now

    def _plain(self, obj: Any) -> dict[str, Any]:
        served = codec.to_dict(self.endpoint.served(obj))
        served["metadata"].pop("managedFields", None)
        return served

    # -- apply ----------------------------------------------------------------------------------------------------

    def apply(self, old: Any, applied: dict[str, Any], manager: str, *, force: bool, exists: bool) -> Any:
        """The object (of the stored type, with defaults) after an apply. Raises StatusError 400 or 409."""
        live = self._plain(old)
        managed = entries.decode_or_nothing(old.metadata.managed_fields)
        now = api_time.now()
        try:
            document, managed = self.manager.apply(live, applied, managed, manager, now, force=force, exists=exists)
        except RecursionError:
            raise errors.bad_request("the applied configuration is nested too deeply") from None
        new = self.endpoint.served(old) if document is live else codec.from_dict(self.endpoint.resource.type, document)
        stored = finish(self.endpoint, new)
        stored.metadata.managed_fields = entries.encode(managed)
        if "resourceVersion" not in (applied.get("metadata") or {}):
            stored.metadata.resource_version = None
        return stored

    # -- versions -------------------------------------------------------------------------------------------------

    def _convert(self, value: Versioned, version: str) -> Versioned | None:
        """The object in another version of its kind; None for one that is not served."""
        source, target = self._sibling(value.api_version), self._sibling(version)
        if source is None or target is None:
            return None
        stored = source.to_stored(codec.from_dict(source.resource.type, value.value))
        kind = target.resource.type
        return Versioned(codec.to_dict(target.served(stored)), version, _type(kind))

    def _sibling(self, version: str) -> Endpoint | None:
        """The endpoint that serves what this one stores in another version."""
        if version == self.endpoint.resource.api_version or self._registry is None:
            return self.endpoint if version == self.endpoint.resource.api_version else None
        stored = self.endpoint.stored
        for other in self._registry.endpoints:
            if other.resource.api_version == version and other.stored == stored:
                return other
        return None


def _type(kind: type[Any]) -> Type:
    """A custom kind's schema is its definition's; without one, the value decides."""
    if issubclass(kind, msgspec.Struct):
        return type_of(kind)
    schema = getattr(kind, "openapi", None)
    return from_openapi(schema) if schema else deduced


def _metadata(meta: Any, names: Any) -> dict[str, Any]:
    found = {}
    for name in names:
        value = getattr(meta, name)
        if value is not None:
            found[_JSON_NAMES[name]] = to_builtins(value)
    return found


def _sent(sent: list[ManagedFieldsEntry] | None) -> Managed | None:
    """The managers a client sent; None if it sent none, or something that cannot be understood."""
    if not sent:
        return None
    try:
        return entries.parse(sent)
    except ValueError:
        return None


def owners(endpoint: Endpoint, ctx: Context) -> Owners:
    """Made once per endpoint and subresource."""
    found: Owners | None = endpoint.owners.get(ctx.subresource)
    if found is None:
        found = endpoint.owners[ctx.subresource] = Owners(endpoint, ctx.subresource, ctx.registry)
    return found


def track_create(endpoint: Endpoint, ctx: Context, obj: Any) -> None:
    """Note the creator of a new object, if the request has a manager.

    An object whose list items cannot be told apart is stored all the same, with nobody noted (UpdateNoErrors).
    """
    try:
        if ctx.field_manager:
            owners(endpoint, ctx).create(obj, ctx.field_manager)
            return
    except (ValueError, RecursionError) as error:
        log.info("%s %s: fields are not tracked: %s", endpoint.resource.group_resource, ctx.name, error)
    obj.metadata.managed_fields = None


def track_update(endpoint: Endpoint, ctx: Context, new: Any, old: Any) -> None:
    """Note who changed what, if the request has a manager; else, or if it cannot be told, ownership stays as it is."""
    try:
        if ctx.field_manager:
            owners(endpoint, ctx).update(new, old, ctx.field_manager)
            return
    except (ValueError, RecursionError) as error:
        log.info("%s %s: fields are not tracked: %s", endpoint.resource.group_resource, ctx.name, error)
    new.metadata.managed_fields = old.metadata.managed_fields


def keep_timestamps(new: Any, old: Any) -> None:
    """A write that changed nothing but the time of a manager changes nothing (after defaults, admission, ...)."""
    after, before = new.metadata.managed_fields, old.metadata.managed_fields
    if after is before or not after or not before or len(after) != len(before):
        return
    new.metadata.managed_fields = before
    if new == old and all(map(_same_but_time, after, before)):
        return
    new.metadata.managed_fields = after


def _same_but_time(a: ManagedFieldsEntry, b: ManagedFieldsEntry) -> bool:
    return (
        a.manager == b.manager
        and a.operation == b.operation
        and a.api_version == b.api_version
        and a.subresource == b.subresource
        and a.fields_v1 == b.fields_v1
    )


# -- apply ----------------------------------------------------------------------------------------------------------


def read_applied(ctx: Context, body: bytes, validation: str) -> dict[str, Any]:
    """The applied configuration. Raises StatusError 400 for another document, 422 without a manager."""
    if not ctx.field_manager:
        cause = errors.FieldError.required("fieldManager", "is required for apply patch")
        raise errors.invalid("PatchOptions.meta.k8s.io", "", [cause])
    try:
        document, repeated = documents.load(body)
    except ValueError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(document, dict):
        raise errors.bad_request(
            "error decoding YAML: error unmarshaling JSON: json: cannot unmarshal "
            f"{_json_kind(document)} into Go value of type map[string]interface {{}}"
        )
    if not isinstance(document.get("metadata"), dict | None):
        raise errors.bad_request("error decoding YAML: metadata has to be an object")
    if repeated and validation == "Strict":
        raise errors.bad_request(f"error strict decoding YAML: {documents.strict_error(repeated)}")
    if repeated and validation == "Warn":
        ctx.warn(" ".join(documents.strict_error(repeated).split()))
    return document


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "null"


def apply_transform(
    endpoint: Endpoint, ctx: Context, applied: dict[str, Any], *, force: bool
) -> Callable[[Any], Awaitable[Any]]:
    """For `pipeline.update`: the object after an apply."""

    async def transform(old: Any) -> Any:
        keeper = owners(endpoint, ctx)
        new = keeper.apply(old, applied, ctx.field_manager, force=force, exists=True)
        _same_name(ctx, applied)
        return new

    return transform


def applied_as_new(endpoint: Endpoint, ctx: Context, applied: dict[str, Any], *, force: bool) -> Any:
    """The object that an apply creates."""
    empty = endpoint.to_stored(endpoint.resource.type())
    new = owners(endpoint, ctx).apply(empty, applied, ctx.field_manager, force=force, exists=False)
    named = applied.get("metadata") or {}
    if not named.get("name"):
        raise errors.bad_request(
            f"the name of the object ({ctx.name} based on URL) was undeterminable: name must be provided"
        )
    _same_name(ctx, applied)
    if uid := named.get("uid"):
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise errors.conflict(endpoint.resource.group_resource, ctx.name, why)
    new.metadata.resource_version = None
    return new


def _same_name(ctx: Context, applied: dict[str, Any]) -> None:
    metadata = applied.get("metadata") or {}
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if name and name != ctx.name:
        raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({ctx.name})")
    if ctx.namespace and namespace and namespace != ctx.namespace:
        raise errors.bad_request(
            f"the namespace of the object ({namespace}) does not match the namespace on the request ({ctx.namespace})"
        )
