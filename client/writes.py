"""The writes that `Api` can make, as values: one by one through its methods, or many at once through `batch`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from api import codec
from api.resource import Resource
from api.resources import resource_for
from api.types import core_v1, meta_v1
from proto import api_pb2

T = TypeVar("T")

_CONTENT_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A resource together with the type to read it as: a part of the real one, or `dict` for a custom resource."""

    resource: Resource
    type: type[T]


@dataclass(frozen=True)
class Ref:
    """Names an object without having it."""

    kind: type[Any] | Kind[Any] | Resource
    name: str
    namespace: str = ""


_kinds: dict[type[Any], Kind[Any]] = {}


def kind_of(kind: Any) -> Kind[Any]:
    """The `Kind` of a type, a resource or a `Kind`. Raises LookupError for a type that is no resource's."""
    if isinstance(kind, Kind):
        return kind
    if isinstance(kind, Resource):
        return Kind(kind, kind.type)
    known = _kinds.get(kind)
    if known is None:
        known = _kinds[kind] = Kind(resource_for(kind), kind)
    return known


@lru_cache(maxsize=512)
def resource_message(resource: Resource) -> api_pb2.Resource:
    return api_pb2.Resource(group=resource.group, version=resource.version, resource=resource.plural)


def read(data: bytes, kind: type[T]) -> T:
    """Decode an answer; the server may answer with a Status where REST would."""
    if data.startswith(b"{") and b'"kind":"Status"' in data[:200] and kind is not meta_v1.Status:
        answer: Any = codec.decode(data, meta_v1.Status)
        return answer  # type: ignore[no-any-return]
    return codec.decode(data, kind)


def _json(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return codec.encode(body) if isinstance(body, msgspec.Struct) else msgspec.json.encode(body)


@dataclass(frozen=True)
class Write:
    """Base of the writes. `type` is what the answer is read as, `message` what goes on the wire."""

    @property
    def type(self) -> Any:
        raise NotImplementedError

    def message(self) -> api_pb2.Write:
        raise NotImplementedError


def _names(obj: Any) -> tuple[str, str]:
    if isinstance(obj, dict):
        return obj["metadata"].get("name", ""), obj["metadata"].get("namespace", "")
    return obj.metadata.name or "", obj.metadata.namespace or ""


@dataclass(frozen=True)
class Create(Write):
    obj: Any
    kind: type[Any] | Kind[Any] | Resource | None = None
    field_manager: str = ""

    @property
    def type(self) -> Any:
        return kind_of(self.kind or type(self.obj)).type

    def message(self) -> api_pb2.Write:
        _, namespace = _names(self.obj)
        return api_pb2.Write(
            create=api_pb2.CreateRequest(
                resource=resource_message(kind_of(self.kind or type(self.obj)).resource),
                namespace=namespace,
                json=_json(self.obj),
                options=api_pb2.WriteOptions(field_manager=self.field_manager),
            )
        )


@dataclass(frozen=True)
class CreateSubresource(Write):
    ref: Any  # an object or a Ref
    subresource: str
    body: Any

    @property
    def type(self) -> Any:
        return type(self.body)

    def message(self) -> api_pb2.Write:
        resource, name, namespace = _ref(self.ref)
        return api_pb2.Write(
            create=api_pb2.CreateRequest(
                resource=resource_message(resource),
                namespace=namespace,
                name=name,
                subresource=self.subresource,
                json=_json(self.body),
            )
        )


@dataclass(frozen=True)
class Bind(Write):
    """Binds a pod to a node."""

    pod: core_v1.Pod
    node: str

    @property
    def type(self) -> Any:
        return meta_v1.Status

    def message(self) -> api_pb2.Write:
        meta = self.pod.metadata
        body = core_v1.Binding(
            metadata=meta_v1.ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid),
            target=core_v1.ObjectReference(kind="Node", name=self.node),
        )
        return CreateSubresource(self.pod, "binding", body).message()


@dataclass(frozen=True)
class Update(Write):
    obj: Any
    subresource: str = ""
    kind: type[Any] | Kind[Any] | Resource | None = None
    ref: Any = None  # the parent, if `obj` is the body of a subresource such as Scale
    field_manager: str = ""

    @property
    def type(self) -> Any:
        return type(self.obj) if self.ref is not None else kind_of(self.kind or type(self.obj)).type

    def message(self) -> api_pb2.Write:
        if self.ref is not None:
            resource, name, namespace = _ref(self.ref)
        else:
            resource = kind_of(self.kind or type(self.obj)).resource
            name, namespace = _names(self.obj)
        return api_pb2.Write(
            update=api_pb2.UpdateRequest(
                resource=resource_message(resource),
                namespace=namespace,
                name=name,
                subresource=self.subresource,
                json=_json(self.obj),
                options=api_pb2.WriteOptions(field_manager=self.field_manager),
            )
        )


@dataclass(frozen=True)
class UpdateStatus(Update):
    subresource: str = "status"


@dataclass(frozen=True)
class Patch(Write):
    kind: type[Any] | Kind[Any] | Resource
    name: str
    patch: Any
    namespace: str = ""
    patch_type: str = "merge"  # merge, strategic, json, apply
    subresource: str = ""
    field_manager: str = ""
    force: bool = False
    as_type: type[Any] | None = None

    @property
    def type(self) -> Any:
        return self.as_type or kind_of(self.kind).type

    def message(self) -> api_pb2.Write:
        return api_pb2.Write(
            patch=api_pb2.PatchRequest(
                resource=resource_message(kind_of(self.kind).resource),
                namespace=self.namespace,
                name=self.name,
                subresource=self.subresource,
                content_type=_CONTENT_TYPES.get(self.patch_type, self.patch_type),
                patch=_json(self.patch),
                force=self.force,
                options=api_pb2.WriteOptions(field_manager=self.field_manager),
            )
        )


@dataclass(frozen=True)
class Delete(Write):
    kind: type[Any] | Kind[Any] | Resource
    name: str
    namespace: str = ""
    grace_period_seconds: int | None = None
    propagation: str | None = None  # Background, Foreground, Orphan
    uid: str | None = None
    resource_version: str | None = None

    @property
    def type(self) -> Any:
        return kind_of(self.kind).type

    def message(self) -> api_pb2.Write:
        preconditions = None
        if self.uid is not None or self.resource_version is not None:
            preconditions = meta_v1.Preconditions(uid=self.uid, resource_version=self.resource_version)
        options = meta_v1.DeleteOptions(
            grace_period_seconds=self.grace_period_seconds,
            propagation_policy=self.propagation,
            preconditions=preconditions,
        )
        return api_pb2.Write(
            delete=api_pb2.DeleteRequest(
                resource=resource_message(kind_of(self.kind).resource),
                namespace=self.namespace,
                name=self.name,
                options=codec.encode(options),
            )
        )


def _ref(ref: Any) -> tuple[Resource, str, str]:
    if isinstance(ref, Ref):
        return kind_of(ref.kind).resource, ref.name, ref.namespace
    name, namespace = _names(ref)
    return resource_for(ref), name, namespace
