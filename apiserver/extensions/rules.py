"""`x-kubernetes-validations`: CEL rules in a schema, for what types and patterns cannot say (KEP-2876).

A rule that mentions `oldSelf` is a transition rule: it holds between an old value and its new version, and so only
where the two can be told to be the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from api.errors import FieldError
from apiserver.cel import CompileError, EvaluationError, compile_
from apiserver.cel.values import value_of
from apiserver.extensions.schema import Schema
from apiserver.extensions.validate import NOTHING, correlated, correlated_items

if TYPE_CHECKING:
    from apiserver.cel.environment import Program

_OLD = re.compile(r"\boldSelf\b")
_REASONS = {
    "FieldValueForbidden": FieldError.forbidden,
    "FieldValueRequired": FieldError.required,
}
_SCALARS = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
_CONVERTED = ("date-time", "datetime", "date", "duration", "byte")


class Rule:
    """One compiled rule. Raises CompileError if it is no good."""

    def __init__(self, raw: dict[str, Any], schema: Schema) -> None:
        self.text = str(raw.get("rule") or "").strip()
        self.message = str(raw.get("message") or "")
        self.reason = raw.get("reason") or "FieldValueInvalid"
        self.field_path = str(raw.get("fieldPath") or "")
        self.transition = bool(_OLD.search(self.text))
        self.optional_old = bool(raw.get("optionalOldSelf"))
        kind = _SCALARS.get(schema.type, "dyn")
        if schema.raw.get("format") in _CONVERTED or schema.int_or_string or schema.nullable:
            kind = "dyn"
        self._variables = (("oldSelf", "dyn" if self.optional_old else kind), ("self", kind))
        self.program = self._compile(self.text, "bool")
        expression = str(raw.get("messageExpression") or "").strip()
        self.message_program = self._compile(expression, "string") if expression else None

    def _compile(self, text: str, result: str) -> Program:
        if not self.optional_old:
            return compile_(text, self._variables, result=result)
        # The runtime takes no optional as a variable: it is made here, of a list that has one value or none.
        given = "cel.bind(oldSelf, oldSelf.size() == 0 ? optional.none() : optional.of(oldSelf[0]), ({}))"
        return compile_(given.format(text), self._variables, result=result)

    def run(self, value: Any, old: Any, schema: Schema) -> str:
        """What is wrong, or nothing."""
        variables = {"self": value, "oldSelf": None}
        if self.optional_old:
            variables["oldSelf"] = [] if old is NOTHING else [old]
        elif old is not NOTHING:
            variables["oldSelf"] = old
        else:
            variables["oldSelf"] = value  # not looked at, but of the right type
        try:
            if self.program.run(variables) is True:
                return ""
        except EvaluationError as error:
            return f"{error} evaluating rule: {self.message or self.text}"
        if self.message_program is not None:
            try:
                made = str(self.message_program.run(variables)).strip()
                if made and "\n" not in made:
                    return made
            except EvaluationError:
                pass
        return self.message or f"failed rule: {self.text}"


def rules_of(schema: Schema) -> list[Rule]:
    """All rules of one place of a schema. Raises CompileError."""
    return [Rule(raw, schema) for raw in schema.rules]


class Rules:
    """The rules of a whole schema, compiled when first needed; rules that do not compile were refused before."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._compiled: dict[int, list[Rule]] = {}
        self._somewhere: dict[int, bool] = {}

    def check(self, document: dict[str, Any], old: dict[str, Any] | None) -> list[FieldError]:
        """What the rules say of a new (version of an) object."""
        if not self._any(self._schema):
            return []
        return list(self._walk(document, NOTHING if old is None else old, self._schema, "", root=True))

    def _any(self, schema: Schema) -> bool:
        known = self._somewhere.get(id(schema))
        if known is None:
            known = bool(schema.rules) or any(self._any(below) for below in schema.below())
            self._somewhere[id(schema)] = known
        return known

    def _walk(self, value: Any, old: Any, schema: Schema, name: str, *, root: bool = False) -> Iterator[FieldError]:
        if value is None or not self._any(schema):
            return
        if schema.rules:
            yield from self._here(value, old, schema, name, root)
        if isinstance(value, dict):
            for key, item in value.items():
                below = schema.of(key)
                if below is not None:
                    yield from self._walk(item, correlated(old, key), below, f"{name}.{key}" if name else key)
        elif isinstance(value, list) and schema.items is not None:
            before = correlated_items(value, old, schema.list_type, schema.list_keys)
            for index, item in enumerate(value):
                yield from self._walk(item, before[index], schema.items, f"{name}[{index}]")

    def _here(self, value: Any, old: Any, schema: Schema, name: str, root: bool) -> Iterator[FieldError]:
        compiled = self._compiled.get(id(schema))
        if compiled is None:
            try:
                compiled = rules_of(schema)
            except CompileError as error:
                yield FieldError.invalid(name, schema.type, f"rule compile error: {error}")
                return
            self._compiled[id(schema)] = compiled
        unchanged = old is not NOTHING and old == value
        seen = _restricted(value) if root or schema.embedded else value
        now = value_of(seen, schema)
        before = old if old is NOTHING else value_of(_restricted(old) if root or schema.embedded else old, schema)
        for rule in compiled:
            if rule.transition and not rule.optional_old and old is NOTHING:
                continue
            if unchanged and not rule.transition:
                continue
            if wrong := rule.run(now, before, schema):
                yield _error(rule, name, schema.type, wrong)


def _restricted(value: Any) -> Any:
    """Of metadata, rules see the name and what it is generated from."""
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        return value
    shown = {key: item for key, item in value["metadata"].items() if key in ("name", "generateName")}
    return {**value, "metadata": shown}


def _error(rule: Rule, name: str, kind: str, wrong: str) -> FieldError:
    where = f"{name}{rule.field_path}" if name else rule.field_path.removeprefix(".")
    if rule.reason in _REASONS:
        return _REASONS[rule.reason](where, wrong)
    if rule.reason == "FieldValueDuplicate":
        return FieldError("FieldValueDuplicate", where, kind, wrong)
    return FieldError.invalid(where, kind, wrong)
