"""Rules that many kinds share: immutability, ranges, selectors, and what upstream counts as equal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from api.errors import FieldError, Path
from api.types import meta_v1
from apiserver.validation import names

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than 0"

#: Booleans and numbers that are plain values in Go: absent and zero are the same for these, not for others.
_PLAIN = frozenset({
    "host_network", "host_pid", "host_ipc", "tty", "stdin", "stdin_once", "read_only", "paused", "unschedulable",
    "publish_not_ready_addresses", "min_ready_seconds", "initial_delay_seconds", "host_port", "node_port", "privileged",
    "health_check_node_port", "global_default",
})  # fmt: skip


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, list | dict) and not value)


def semantic_equal(left: Any, right: Any) -> bool:
    """Upstream's Semantic.DeepEqual: an absent and an empty string, list or map are the same."""
    if left == right:
        return True
    if isinstance(left, msgspec.Struct) and type(left) is type(right):
        for name in left.__struct_fields__:
            a, b = getattr(left, name), getattr(right, name)
            if a != b and not semantic_equal(a, b) and not (name in _PLAIN and not a and not b):
                return False
        return True
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return all(semantic_equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        return all(semantic_equal(value, right[key]) for key, value in left.items())
    return _empty(left) and _empty(right)


def immutable(new: Any, old: Any, path: Path) -> list[FieldError]:
    """A field that an update may not change."""
    return [] if semantic_equal(new, old) else [FieldError.invalid(path, new, IMMUTABLE)]


def not_negative(value: int | None, path: Path) -> list[FieldError]:
    return [FieldError.invalid(path, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def one_of(value: str | None, valid: Iterable[str], path: Path) -> list[FieldError]:
    """A value of an enumeration that has to be given."""
    choices = tuple(valid)
    if not value:
        return [FieldError.required(path)]
    return [] if value in choices else [FieldError.not_supported(path, value, sorted(choices))]


def labels(values: dict[str, str] | None, path: Path) -> list[FieldError]:
    if not values or names.valid_labels(values):
        return []
    errors = []
    for key, value in values.items():
        errors += [FieldError.invalid(path, key, message) for message in names.qualified_name(key)]
        errors += [FieldError.invalid(path, value, message) for message in names.label_value(value)]
    return errors


def label_selector(selector: meta_v1.LabelSelector | None, path: Path) -> list[FieldError]:
    """unversioned validation.ValidateLabelSelector."""
    if selector is None:
        return []
    errors = labels(selector.match_labels, path.child("matchLabels"))
    for index, requirement in enumerate(selector.match_expressions or ()):
        at = path.child("matchExpressions").index(index)
        values = requirement.values or []
        match requirement.operator:
            case "In" | "NotIn":
                if not values:
                    detail = "must be specified when `operator` is 'In' or 'NotIn'"
                    errors.append(FieldError.required(at.child("values"), detail))
            case "Exists" | "DoesNotExist":
                if values:
                    detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    errors.append(FieldError.forbidden(at.child("values"), detail))
            case _:
                errors.append(
                    FieldError.invalid(at.child("operator"), requirement.operator, "not a valid selector operator")
                )
        key = requirement.key
        errors += [FieldError.invalid(at.child("key"), key, message) for message in names.qualified_name(key)]
        for position, value in enumerate(values):
            errors += [
                FieldError.invalid(at.child("values").index(position), value, message)
                for message in names.label_value(value)
            ]
    return errors


def is_empty_selector(selector: meta_v1.LabelSelector | None) -> bool:
    return selector is None or not (selector.match_labels or selector.match_expressions)


def int_or_percent(value: int | str | None, path: Path) -> list[FieldError]:
    """ValidatePositiveIntOrPercent."""
    if isinstance(value, str):
        return [FieldError.invalid(path, value, message) for message in names.percent(value)]
    return not_negative(value, path)


def percent_value(value: int | str | None) -> int | None:
    """The number of a percentage, None for anything else."""
    if isinstance(value, str) and not names.percent(value):
        return int(value[:-1])
    return None


def not_more_than_100_percent(value: int | str | None, path: Path) -> list[FieldError]:
    number = percent_value(value)
    return [FieldError.invalid(path, value, "must not be greater than 100%")] if (number or 0) > 100 else []


def name_errors(check: names.Check, value: str, path: Path) -> list[FieldError]:
    return [FieldError.invalid(path, value, message) for message in check(value)]
