"""YAML from clients, read as Go's YAML reads it, into plain JSON values.

PyYAML's dates, base-60 numbers (`10:30`) and binaries are no JSON, and an alias may stand for a thousand others: what a
client sends must not cost more than it weighs.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import yaml

from api import errors

_EXPANDED = 200_000  # nodes that aliases may add up to
_DEPTH = 500  # levels; libyaml's binding recurses in C and would take the process down
_INDENTED = re.compile(rb"^[ \t?:-]{%d}" % (_DEPTH // 2), re.MULTILINE)

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOO_DEEP = "yaml: exceeded max depth of 500"
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_OTHERS = ("int", "float", "timestamp", "value")


class Loader(_Base):  # type: ignore[misc]
    """`repeated` lists the keys that came more than once, in Go's words."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.MappingNode):
            seen: set[Any] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != _TAG + "merge":
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        self.repeated.append(f'line {line}: key "{key.value}" already set in map')
                    seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag.removeprefix(_TAG) not in _OTHERS]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
# The first pattern that matches decides, so integers come before floats.
Loader.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    digits = text.lstrip("+-")
    base = 10
    for prefix, of in (("0b", 2), ("0x", 16), ("0o", 8), ("0", 8)):
        if digits.startswith(prefix) and len(digits) > len(prefix):
            digits, base = digits[len(prefix) :], of
            break
    return -int(digits, base) if text.startswith("-") else int(digits, base)


Loader.add_constructor(_TAG + "int", _integer)


def load(body: bytes) -> tuple[Any, list[str]]:
    """The document's JSON values, and the repeated keys. Raises ValueError with Go's words, as far as there are any."""
    if body.lstrip()[:1] == b"{":
        try:
            value = msgspec.json.decode(body)
        except msgspec.MsgspecError:
            pass  # perhaps YAML's own notation
        except RecursionError:
            raise ValueError(_TOO_DEEP) from None
        else:
            return value, _repeated_in_json(body, value)
    try:
        _check_size(body)
        loader = Loader(body)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
        # Through JSON: keys become strings, and what JSON cannot say is refused.
        return msgspec.json.decode(msgspec.json.encode(value)), loader.repeated
    except yaml.YAMLError as error:
        raise ValueError(f"yaml: {error}") from None
    except (TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(str(error) or _TOO_DEEP) from None


def _repeated_in_json(body: bytes, value: Any) -> list[str]:
    if body.count(b'":') == msgspec.json.encode(value).count(b'":'):
        return []
    loader = Loader(body)
    try:
        _check_size(body)
        loader.get_single_data()
    except (yaml.YAMLError, ValueError):
        return []
    finally:
        loader.dispose()
    return loader.repeated


def _check_size(body: bytes) -> None:
    """Raises ValueError for a document that is nested too deeply, or whose aliases stand for too much.

    Events come one by one, so that looking at them cannot hurt; nearly every document shows without that it is small.
    """
    aliases = b"*" in body and b"&" in body
    brackets = body.count(b"[") + body.count(b"{")
    if not aliases and brackets < _DEPTH // 2 and not _INDENTED.search(body):
        return
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(body, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor or "", 0)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_.append((event.anchor, total))
            total += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, before = open_.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(open_) > _DEPTH:
            raise ValueError(_TOO_DEEP)
        if total > _EXPANDED and sizes:
            raise ValueError("yaml: document contains excessive aliasing")


def strict_error(repeated: list[str]) -> str:
    """What strict field validation says of repeated keys."""
    return "error converting YAML to JSON: yaml: unmarshal errors:\n  " + "\n  ".join(repeated)


def from_yaml(body: bytes) -> bytes:
    """JSON of a YAML document. Raises StatusError 400."""
    try:
        value, _ = load(body)
    except ValueError as error:
        raise errors.bad_request(f"error converting YAML to JSON: {error}") from None
    return msgspec.json.encode(value)
