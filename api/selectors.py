"""Label and field selectors: what a client writes after `-l` and `--field-selector`, and LabelSelector objects.

Grammar and messages are those of k8s.io/apimachinery's labels and fields packages. A selector is immutable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from api import names
from api.field_errors import FieldError, Path, quote
from api.types.meta_v1 import LabelSelector

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


@dataclass(frozen=True)
class Requirement:
    """One condition on one label. `operator` is one of = == != in notin exists ! gt lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it: a label that isn't there meets `!=`, `notin` and `!`, and nothing else."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                if value is None or not _INTEGER.fullmatch(value):
                    return False
                bound = int(self.values[0])
                return int(value) > bound if self.operator == "gt" else int(value) < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case operator:
                return f"{self.key}{ {'gt': '>', 'lt': '<'}.get(operator, operator) }{self.values[0]}"


class Selector:
    """Conditions that all have to be met; without any it matches everything."""

    __slots__ = ("_equal", "_others", "nothing", "requirements")

    def __init__(self, requirements: Iterable[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda r: r.key))
        self.nothing = nothing
        # Nearly all selectors are equalities: those are compared without a call.
        self._equal = tuple((r.key, r.values[0]) for r in self.requirements if r.operator in ("=", "=="))
        self._others = tuple(r for r in self.requirements if r.operator not in ("=", "=="))

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether labels (None: there are none) meet all conditions."""
        if self.nothing:
            return False
        labels = labels or {}
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        return all(requirement.matches(labels) for requirement in self._others)

    @property
    def empty(self) -> bool:
        """Whether it restricts nothing."""
        return not self.requirements and not self.nothing

    def required(self, key: str) -> str | None:
        """The one value that a label must have, if the selector says so."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator in ("=", "==", "in") and len(requirement.values) == 1:
                return requirement.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"Selector({str(self)!r})" if not self.nothing else "Selector(nothing=True)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and (self.requirements, self.nothing) == (other.requirements, other.nothing)

    def __hash__(self) -> int:
        return hash((self.requirements, self.nothing))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def selector_from(value: LabelSelector | Mapping[str, Any] | None) -> Selector:
    """The selector of a LabelSelector object, or of a plain map of labels.

    None selects nothing, an empty one everything. Raises ValueError for an unknown operator or missing values.
    """
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        return Selector(Requirement(key, "=", (wanted,)) for key, wanted in value.items())
    found = [Requirement(key, "=", (wanted,)) for key, wanted in (value.match_labels or {}).items()]
    for expression in value.match_expressions or []:
        operator = _OPERATORS.get(expression.operator)
        if operator is None:
            raise ValueError(f"{quote(expression.operator)} is not a valid label selector operator")
        found.append(_checked(expression.key, operator, tuple(expression.values or ())))
    return Selector(found)


def _checked(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    problems = [FieldError.invalid("key", key, message) for message in names.qualified_name(key)]
    path = Path("values")
    if operator in ("in", "notin") and not values:
        problems.append(FieldError.invalid(path, [], "for 'in', 'notin' operators, values set can't be empty"))
    if operator in ("=", "==", "!=") and len(values) != 1:
        problems.append(FieldError.invalid(path, list(values), "exact-match compatibility requires one single value"))
    if operator in ("exists", "!") and values:
        detail = "values set must be empty for exists and does not exist"
        problems.append(FieldError.invalid(path, list(values), detail))
    if operator in ("gt", "lt"):
        if len(values) != 1:
            detail = "for 'Gt', 'Lt' operators, exactly one value is required"
            problems.append(FieldError.invalid(path, list(values), detail))
        for index, value in enumerate(values):
            if not _INTEGER.fullmatch(value):
                detail = "for 'Gt', 'Lt' operators, the value must be an integer"
                problems.append(FieldError.invalid(path.index(index), value, detail))
    for index, value in enumerate(values):
        at = path.index(index).key(key)
        problems += [FieldError.invalid(at, value, message) for message in names.label_value(value)]
    if problems:
        raise ValueError(str(problems[0]) if len(problems) == 1 else f"[{', '.join(map(str, problems))}]")
    return Requirement(key, operator, tuple(sorted(set(values))))


_TOKEN = re.compile(r"\s*(?:(==|!=|[=<>!(),])|([^\s=<>!(),]+))")
_SYMBOLS = {"=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt", "in": "in", "notin": "notin"}


class _Parser:
    """labels.Parser: a comma-separated list of requirements."""

    def __init__(self, text: str) -> None:
        self.tokens = [match[1] or match[2] for match in _TOKEN.finditer(text.rstrip())]
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while token := self.peek():
            if token != "!" and not _is_word(token):
                raise ValueError(f"found '{token}', expected: !, identifier, or 'end of string'")
            found.append(self.requirement())
            after = self.next()
            if not after:
                return found
            if after != ",":
                raise ValueError(f"found '{after}', expected: ',' or 'end of string'")
            following = self.peek()
            if following != "!" and not _is_word(following):
                raise ValueError(f"found '{following}', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.next()
            return _checked(self.word(), "!", ())
        key = self.word()
        if self.peek() in ("", ","):
            return _checked(key, "exists", ())
        symbol = self.next()
        operator = _SYMBOLS.get(symbol)
        if operator is None:
            raise ValueError(f"found '{symbol}', expected: in, notin, =, ==, !=, gt, lt")
        if operator in ("in", "notin"):
            return _checked(key, operator, self.values())
        return _checked(key, operator, (self.value(),))

    def word(self) -> str:
        token = self.next()
        if not _is_word(token):
            raise ValueError(f"found '{token}', expected: identifier")
        problems = names.qualified_name(token)
        if problems:
            raise ValueError("; ".join(str(FieldError.invalid("key", token, message)) for message in problems))
        return token

    def value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        token = self.next()
        if not _is_word(token):
            raise ValueError(f"found '{token}', expected: identifier")
        return token

    def values(self) -> tuple[str, ...]:
        opening = self.next()
        if opening != "(":
            raise ValueError(f"found '{opening}' expected: '('")
        found: dict[str, None] = {}
        expects_value = True
        while True:
            token = self.next()
            if token == ")":
                if expects_value:
                    found[""] = None
                return tuple(found)
            if token == ",":
                if expects_value:
                    found[""] = None
                expects_value = True
            elif token and _is_word(token) and expects_value:
                found[token] = None
                expects_value = False
            else:
                raise ValueError(f"found '{token}', expected: ',', or ')'")


def _is_word(token: str) -> bool:
    return bool(token) and token[0] not in "=<>!(),"


@lru_cache(maxsize=1024)
def parse_label_selector(text: str) -> Selector:
    """The selector of a string such as `app=web,tier in (a,b),!legacy`. Raises ValueError in upstream's words."""
    try:
        return Selector(_Parser(text).parse())
    except ValueError as error:
        raise ValueError(f"unable to parse requirement: {error}") from None


@dataclass(frozen=True)
class FieldRequirement:
    """One field that has to be, or not to be, equal to a value."""

    field: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.field}{'=' if self.equal else '!='}{escaped}"


@dataclass(frozen=True)
class FieldSelector:
    """Conditions on fields such as `metadata.name` or `spec.nodeName`, which all have to be met."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether an object's selectable fields meet all conditions; a missing field is empty."""
        return all((fields.get(r.field, "") == r.value) is r.equal for r in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether it restricts nothing."""
        return not self.requirements

    def required(self, field: str) -> str | None:
        """The one value that a field must have, if the selector says so."""
        return next((r.value for r in self.requirements if r.field == field and r.equal), None)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


_TERM = re.compile(r"((?:[^=!]|!(?!=))*)(!=|==|=)(.*)", re.DOTALL)


@lru_cache(maxsize=4096)
def parse_field_selector(text: str) -> FieldSelector:
    """The selector of a string such as `spec.nodeName=n1,status.phase!=Running`. Raises ValueError."""
    found = []
    for term in sorted(re.split(r"(?<!\\),", text)):
        if not term:
            continue
        match = _TERM.fullmatch(term)
        if match is None:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = match.groups()
        found.append(FieldRequirement(field, _unescape(value), operator != "!="))
    return FieldSelector(tuple(found))


def _unescape(value: str) -> str:
    plain = re.sub(r"\\([\\,=])", r"\1", value)
    if re.search(r"\\(?![\\,=])", re.sub(r"\\[\\,=]", "", value)):
        raise ValueError(f"invalid field selector: invalid escape sequence in value: {value}")
    if re.search(r"(?<!\\)=", value.replace("\\\\", "")):
        raise ValueError(f"invalid field selector: unescaped character in value: {value}")
    return plain
