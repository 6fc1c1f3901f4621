"""Who controls what: controller references, and how a controller claims the objects that its selector matches.

Invariants (KEP "controller references", upstream's ControllerRefManager):
- an object has at most one controller; only an object without one is adopted, and only by a controller that a live
  read shows to exist still, with the same uid, and not to be going;
- an object whose labels no longer match is released, not deleted;
- both writes carry the object's uid, so that a namesake is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from api import errors
from api.types.meta_v1 import OwnerReference
from client.api import Api

T = TypeVar("T")


def controller_of(obj: Any) -> OwnerReference | None:
    for ref in obj.metadata.owner_references or ():
        if ref.controller:
            return ref  # type: ignore[no-any-return]
    return None


def is_controlled_by(obj: Any, owner: Any) -> bool:
    ref = controller_of(obj)
    return ref is not None and ref.uid == owner.metadata.uid


def controller_ref(owner: Any) -> OwnerReference:
    """The reference that makes `owner` the controller of an object."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name or "",
        uid=owner.metadata.uid or "",
        controller=True,
        block_owner_deletion=True,
    )


def by_controller(obj: Any) -> list[Any]:
    """Index function: the controller's uid, or ("orphan", namespace)."""
    ref = controller_of(obj)
    return [ref.uid] if ref is not None else [("orphan", obj.metadata.namespace)]


INDEX = "controller"


def candidates(informer: Any, owner: Any) -> list[Any]:
    """What `owner` controls, and the orphans of its namespace. The informer needs the index `INDEX`."""
    found: list[Any] = informer.by_index(INDEX, owner.metadata.uid)
    return found + informer.by_index(INDEX, ("orphan", owner.metadata.namespace))  # type: ignore[no-any-return]


async def claim(api: Api, owner: Any, objects: Iterable[T], matches: Callable[[T], bool]) -> list[T]:
    """Those of `objects` that `owner` controls after adopting and releasing what has to be."""
    claimed: list[T] = []
    may_adopt: bool | None = None
    for obj in objects:
        meta: Any = obj.metadata  # type: ignore[attr-defined]
        ref = controller_of(obj)
        if ref is not None:
            if ref.uid != owner.metadata.uid:
                continue
            if matches(obj):
                claimed.append(obj)
            elif not owner.metadata.deletion_timestamp:
                await _release(api, owner, obj)
            continue
        if owner.metadata.deletion_timestamp or meta.deletion_timestamp or not matches(obj):
            continue
        if may_adopt is None:
            may_adopt = await can_adopt(api, owner)
        if may_adopt and await _adopt(api, owner, obj):
            claimed.append(obj)
    return claimed


async def can_adopt(api: Api, owner: Any) -> bool:
    """A live read: the cache may not know yet that the owner was deleted or made anew."""
    try:
        live: Any = await api.get(type(owner), owner.metadata.name, namespace=owner.metadata.namespace or "")
    except errors.StatusError as error:
        if errors.is_not_found(error):
            return False
        raise
    return live.metadata.uid == owner.metadata.uid and not live.metadata.deletion_timestamp


async def _adopt(api: Api, owner: Any, obj: Any) -> bool:
    ref = controller_ref(owner)
    patch = {
        "metadata": {
            "ownerReferences": [
                {
                    "apiVersion": ref.api_version,
                    "kind": ref.kind,
                    "name": ref.name,
                    "uid": ref.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "uid": obj.metadata.uid,
        }
    }
    return await _patch(api, obj, patch)


async def _release(api: Api, owner: Any, obj: Any) -> None:
    patch = {
        "metadata": {
            "ownerReferences": [{"$patch": "delete", "uid": owner.metadata.uid}],
            "uid": obj.metadata.uid,
        }
    }
    await _patch(api, obj, patch)


async def _patch(api: Api, obj: Any, patch: Any) -> bool:
    meta = obj.metadata
    try:
        await api.patch(type(obj), meta.name, patch, namespace=meta.namespace or "", type="strategic")
    except errors.StatusError as error:
        if errors.is_not_found(error) or errors.is_invalid(error) or errors.is_conflict(error):
            return False  # gone, or owned by somebody else meanwhile: either is news that the informer will bring
        raise
    return True
