"""Objects of kinds that are not known before a CustomResourceDefinition says so.

Their metadata is typed as everybody's; all else is plain JSON values in `content`. Each version of such a kind is a
subclass made at run time, so that `type(obj)` and `Resource.type` mean what they mean for built-in kinds, and `codec`
treats both alike. What a schema does to an object (pruning, defaults) hangs on the class as `Shape`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from api.types.meta_v1 import ObjectMeta

_ENVELOPE = ("apiVersion", "kind", "metadata")


class Shape(Protocol):
    """What a schema does to the plain values of a whole object."""

    def normalize(self, document: dict[str, Any]) -> None:
        """Prune what is unknown and set defaults, in place."""
        ...

    def unknown(self, document: dict[str, Any]) -> list[str]:
        """Paths of what `normalize` would prune."""
        ...


class Unstructured:
    """`content` has everything but apiVersion, kind and metadata."""

    __slots__ = ("api_version", "content", "kind", "metadata")

    version: ClassVar[str] = ""
    """The apiVersion of all objects of this class; empty: whatever the document says."""
    of_kind: ClassVar[str] = ""
    shape: ClassVar[Shape | None] = None
    openapi: ClassVar[dict[str, Any]] = {}
    """The schema as the definition has it."""

    def __init__(
        self,
        metadata: ObjectMeta | None = None,
        content: dict[str, Any] | None = None,
        *,
        api_version: str = "",
        kind: str = "",
    ) -> None:
        self.api_version = api_version or self.version
        self.kind = kind or self.of_kind
        self.metadata = metadata if metadata is not None else ObjectMeta()
        self.content: dict[str, Any] = {} if content is None else content

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Unstructured)
            and self.api_version == other.api_version
            and self.kind == other.kind
            and self.metadata == other.metadata
            and self.content == other.content
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.metadata.namespace or ''}/{self.metadata.name})"

    @classmethod
    def build(cls, document: dict[str, Any]) -> Unstructured:
        """An object of the values, which it takes over. Raises StatusError (400) for malformed metadata."""
        from api import codec, errors

        given = document.get("metadata")
        if given is None:
            given = {}
        if not isinstance(given, dict):
            kind = document.get("kind") or cls.of_kind
            raise errors.bad_request(f"{kind} cannot be handled: metadata has to be an object")
        if cls.shape is not None:
            cls.shape.normalize(document)
        metadata = codec.from_dict(ObjectMeta, given)
        content = {name: value for name, value in document.items() if name not in _ENVELOPE}
        version = cls.version or str(document.get("apiVersion") or "")
        return cls(metadata, content, api_version=version, kind=cls.of_kind or str(document.get("kind") or ""))

    def document(self) -> dict[str, Any]:
        """Plain values, in the order that the API writes; shared with the object but for metadata."""
        from api import codec

        metadata = codec.to_dict(self.metadata)
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, **self.content}


def made(api_version: str, kind: str, shape: Shape | None, openapi: dict[str, Any] | None = None) -> type[Unstructured]:
    """The class of one version of a kind."""
    attributes = {
        "__slots__": (),
        "version": api_version,
        "of_kind": kind,
        "shape": shape,
        "openapi": openapi or {},
        "__module__": __name__,
    }
    return type(kind, (Unstructured,), attributes)


def is_unstructured(kind: Any) -> bool:
    """Whether a type is one of these."""
    return isinstance(kind, type) and issubclass(kind, Unstructured)


def enc_hook(value: Any) -> Any:
    """For msgspec's encoders."""
    if isinstance(value, Unstructured):
        return {"apiVersion": value.api_version, "kind": value.kind, "metadata": value.metadata, **value.content}
    raise NotImplementedError(f"{type(value).__name__} has no JSON")


def dec_hook(kind: type[Any], value: Any) -> Any:
    """For msgspec's decoders."""
    if is_unstructured(kind):
        if not isinstance(value, dict):
            raise ValueError("the document is not an object")
        return kind.build(value)
    raise NotImplementedError(f"{kind.__name__} has no JSON")
