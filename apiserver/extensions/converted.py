"""What a conversion webhook may answer: the same objects in another version, of whose metadata labels and annotations
alone are its to change.

The words are those of apiextensions-apiserver's webhook converter.
"""

from __future__ import annotations

from typing import Any

from api.errors import FieldError, Path
from apiserver.validation.common import labels as validate_labels
from apiserver.validation.meta import validate_annotations

_TYPES: dict[type, str] = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    list: "[]interface {}",
    dict: "map[string]interface {}",
    type(None): "<nil>",
}


def checked(answer: Any, uid: str, sent: list[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    """The converted objects, with the metadata of those that were sent.

    Raises ValueError for an answer that breaks the contract; its text goes after "conversion webhook for KIND ".
    """
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise ValueError("failed: no response provided")
    # v1beta1 did not ask for the uid
    if answer.get("apiVersion") != "apiextensions.k8s.io/v1beta1" and response.get("uid") != uid:
        raise ValueError(f'failed: expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    status = result.get("status") or ""
    if status != "Success":
        message = result.get("message") or f"response.result.status was '{status}', not 'Success'"
        raise ValueError(f"failed: {message}")
    converted = response.get("convertedObjects") or []
    if not isinstance(converted, list) or len(converted) != len(sent):
        count = len(converted) if isinstance(converted, list) else 0
        raise ValueError(f"returned {count} objects, expected {len(sent)}")
    alone = len(sent) == 1
    for index, (before, after) in enumerate(zip(sent, converted, strict=True)):
        invalid = f"returned invalid {'' if alone else 'converted '}object at index {index}"
        if not isinstance(after, dict):
            raise ValueError(f"{invalid}: invalid type, expected=Unstructured, got={_type(after)}")
        if after.get("apiVersion") != version:
            given = after.get("apiVersion") or ""
            raise ValueError(f"{invalid}: invalid groupVersion (expected {version}, received {given})")
        if after.get("kind") != before.get("kind"):
            expected, given = before.get("kind"), after.get("kind") or ""
            raise ValueError(f"{invalid}: invalid kind (expected {expected}, received {given})")
        _same(before, after, "returned invalid object" if alone else invalid)
        place = "" if alone else f" in object at index {index}"
        after["metadata"] = _metadata(before, after, f"returned invalid metadata{place}")
    return converted


def _same(before: dict[str, Any], after: dict[str, Any], invalid: str) -> None:
    old = before.get("metadata")
    new = after.get("metadata")
    for name, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        expected = old.get(name) or "" if isinstance(old, dict) else ""
        given = new.get(name) or "" if isinstance(new, dict) else ""
        if expected != given:
            raise ValueError(f"{invalid}: must have the same {shown}: {expected} != {given}")


def _metadata(before: dict[str, Any], after: dict[str, Any], invalid: str) -> dict[str, Any]:
    """The metadata that was sent, with the labels and annotations of the answer."""
    if "metadata" not in after:
        raise ValueError(f"{invalid}: missing metadata in converted object")
    answered = after["metadata"]
    if not isinstance(answered, dict):
        raise ValueError(f"{invalid}: invalid metadata of type {_type(answered)} in converted object")
    kept = dict(before.get("metadata") or {})
    for name in ("labels", "annotations"):
        values = answered.get(name)
        if values is None:
            kept.pop(name, None)
            continue
        if not isinstance(values, dict):
            raise ValueError(f"{invalid}: invalid metadata.{name} of type {_type(values)} in converted object")
        for key, value in values.items():
            if not isinstance(value, str):
                where = f"metadata.{name}[{key}]"
                raise ValueError(f"{invalid}: {where} must be a string, but is {_type(value)} in converted object")
        if values != (kept.get(name) or {}) and (wrong := _wrong(name, values)):
            raise ValueError(f"{invalid}: {_joined(wrong)}")
        kept[name] = values
    return kept


def _wrong(name: str, values: dict[str, str]) -> list[FieldError]:
    if name == "labels":
        return validate_labels(values, Path("metadata", "labels"))
    return validate_annotations(values, Path("metadata", "annotation"))


def _joined(wrong: list[FieldError]) -> str:
    """Several errors as Go's aggregate writes them."""
    texts = list(dict.fromkeys(str(error) for error in wrong))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _type(value: Any) -> str:
    """A JSON value's type in Go."""
    return _TYPES.get(type(value), type(value).__name__)
