"""Patches of JSON documents: JSON patch (RFC 6902), merge patch (RFC 7396) and strategic merge patch.

The document given is left as it is; the patched one may share values with it and with the patch.
Strategic merge is in `api.strategic`; server-side apply is not a patch in this sense.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer

from api import errors
from api.model import Struct
from api.strategic import merge as _strategic
from api.types.meta_v1 import StatusDetails

__all__ = ["json_patch", "merge_patch", "strategic_merge"]

MAX_JSON_PATCH_OPERATIONS = 10_000


def json_patch(doc: dict[str, Any], operations: Any) -> dict[str, Any]:
    """Applies a JSON patch.

    Raises StatusError: 400 for a malformed patch, 413 for one of more than 10,000 operations, 422 for one that the
    document doesn't allow (a failed test, a path that isn't there).
    """
    if not isinstance(operations, list):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        )
    if len(operations) > MAX_JSON_PATCH_OPERATIONS:
        raise errors.too_large(
            f"The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {len(operations)}"
        )
    try:
        patched = jsonpatch.JsonPatch(operations).apply(copy.deepcopy(doc))
    except jsonpatch.InvalidJsonPatch as error:
        raise errors.bad_request(f"error decoding patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError):
        refused = errors.generic(422, "", "", "", "")
        refused.status.message = "the server rejected our request due to an error in our request"
        refused.status.details = StatusDetails()
        raise refused from None
    if not isinstance(patched, dict):
        raise errors.bad_request("the patched document is not an object")
    return patched


def merge_patch(doc: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Applies a merge patch: null removes, objects merge, all else replaces. Raises StatusError (400)."""
    if not isinstance(patch, dict):
        raise errors.bad_request("error decoding patch: a merge patch of an object has to be an object")
    merged: dict[str, Any] = _merge(doc, patch)
    return merged


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def strategic_merge(doc: dict[str, Any], patch: Any, kind: type[Struct]) -> dict[str, Any]:
    """Applies a strategic merge patch to a document of a built-in type. Raises StatusError (400)."""
    if not isinstance(patch, dict):
        raise errors.bad_request("error decoding patch: a strategic merge patch of an object has to be an object")
    try:
        return _strategic(doc, patch, kind)
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
