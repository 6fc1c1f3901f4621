"""Which representation a client gets: JSON, YAML or protobuf of the object, of a Table, or of its metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from api import errors
from api.protobuf import MEDIA_TYPE as PROTOBUF

Form = Literal["object", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]

ACCEPTED = ("application/json", "application/yaml", PROTOBUF)
_FORMS: tuple[Form, ...] = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_DISCOVERY = "APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Media:
    """What to answer with. `version` is that of meta.k8s.io (or of apidiscovery.k8s.io)."""

    type: str = "application/json"
    form: Form = "object"
    version: str = "v1"
    pretty: bool = False

    @property
    def yaml(self) -> bool:
        return self.type == "application/yaml"

    @property
    def protobuf(self) -> bool:
        return self.type == PROTOBUF


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of an Accept header."""

    type: str
    params: dict[str, str]
    quality: float


@lru_cache(maxsize=512)
def clauses(accept: str) -> tuple[Clause, ...]:
    """The clauses of an Accept header, best first; what comes first wins among equals."""
    found = []
    for text in accept.split(","):
        head, *params = (part.strip() for part in text.split(";"))
        if not head:
            continue
        pairs = dict(part.partition("=")[::2] for part in params)
        try:
            quality = float(pairs.pop("q", "1"))
        except ValueError:
            quality = 0.0
        found.append(Clause(head.lower(), pairs, quality))
    return tuple(sorted(found, key=lambda clause: -clause.quality))


@lru_cache(maxsize=512)
def negotiate(accept: str, *, custom: bool = False, tables: bool = True) -> Media:
    """The representation of an object or a list. Raises StatusError 406 if nothing the client accepts is served.

    Protobuf has no Tables, and of custom kinds (`custom`) only their metadata; what is only ever created, and nowhere
    kept, has no Tables at all (`tables`).
    """
    if not accept or accept in ("*/*", "application/json"):
        return Media()
    for clause in clauses(accept):
        kind = _kind(clause.type)
        if kind is None:
            continue
        wanted = clause.params.get("as", "")
        if clause.params.get("stream", "watch") != "watch":
            continue
        if not wanted:
            if custom and kind == PROTOBUF:
                continue
            return Media(kind, pretty=clause.params.get("pretty") == "1")
        if wanted in _FORMS and clause.params.get("g") == "meta.k8s.io" and clause.params.get("v") in ("v1", "v1beta1"):
            form: Form = wanted
            if form == "Table" and (kind == PROTOBUF or not tables):
                continue
            return Media(kind, form, clause.params["v"])
    raise errors.not_acceptable(ACCEPTED)


@lru_cache(maxsize=64)
def discovery(accept: str) -> Media | None:
    """How the client wants aggregated discovery; None if it prefers the old one."""
    for clause in clauses(accept):
        kind = _kind(clause.type)
        if kind is None:
            continue
        params = clause.params
        if params.get("as") == _DISCOVERY and params.get("g") == "apidiscovery.k8s.io":
            if params.get("v") in ("v2", "v2beta1"):
                return Media(kind, version=params["v"])
            continue
        if not params.get("as"):
            return None
    return None


def _kind(type_: str) -> str | None:
    if type_ in ("application/json", "*/*", "application/*"):
        return "application/json"
    if type_ in ("application/yaml", "application/x-yaml", "text/yaml"):
        return "application/yaml"
    return PROTOBUF if type_ == PROTOBUF else None
