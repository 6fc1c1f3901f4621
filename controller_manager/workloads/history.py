"""Revisions of a pod template, kept as ControllerRevisions: what StatefulSets and DaemonSets can be rolled back to.

Invariants:
- a revision's name is its owner's and the hash of what it holds; equal templates share a revision, whose number rises
  when it becomes the newest again;
- what it holds is a strategic merge patch that replaces the template: `kubectl rollout undo` applies it as it is;
- revisions that a pod or the status still names are never deleted; of the others the newest stay, up to the limit;
- the hash is a label, too: of a StatefulSet's revisions one of its own, of a DaemonSet's the one that its pods have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from api import codec, errors, names
from api.selectors import Selector
from api.types.apps_v1 import ControllerRevision
from api.types.meta_v1 import ObjectMeta
from client.api import Api
from client.informer import Informer
from controller_manager.owners import INDEX, by_controller, candidates, claim, controller_ref

HASH_LABEL = "controller.kubernetes.io/hash"
#: On pods: the name of the revision they were made from.
REVISION_LABEL = "controller-revision-hash"


class History:
    def __init__(self, api: Api, revisions: Informer[ControllerRevision], hash_label: str = HASH_LABEL) -> None:
        self._api, self._revisions, self._hash_label = api, revisions, hash_label
        revisions.add_index(INDEX, by_controller)

    async def list(self, owner: Any, selector: Selector) -> list[ControllerRevision]:
        """The owner's revisions, oldest first; orphans that match are adopted."""
        found = await claim(
            self._api, owner, candidates(self._revisions, owner), lambda r: selector.matches(r.metadata.labels)
        )
        return ordered(found)

    async def newest(
        self, owner: Any, revisions: Sequence[ControllerRevision], collisions: int
    ) -> tuple[ControllerRevision, int]:
        """The revision of the present template, made or renumbered if need be, and the new collision count."""
        fresh = self._make(owner, revisions[-1].revision + 1 if revisions else 1, collisions)
        equal = next((r for r in reversed(revisions) if r.data == fresh.data), None)
        if equal is not None:
            if equal is not revisions[-1]:
                changed = codec.deepcopy(equal)
                changed.revision = fresh.revision
                equal = await self._api.update(changed)
            return equal, collisions
        while True:
            try:
                return await self._api.create(fresh), collisions
            except errors.StatusError as error:
                if not errors.is_already_exists(error):
                    raise
            meta = fresh.metadata
            other = await self._api.get(ControllerRevision, meta.name or "", namespace=meta.namespace or "")
            if other.data == fresh.data:
                return other, collisions
            collisions += 1
            fresh = self._make(owner, fresh.revision, collisions)

    async def truncate(self, revisions: Sequence[ControllerRevision], live: Iterable[str | None], limit: int) -> None:
        """Delete the oldest revisions that nobody in `live` names, but for `limit` of them."""
        named = set(live)
        idle = [r for r in revisions if r.metadata.name not in named]
        for revision in idle[: max(0, len(idle) - limit)]:
            meta = revision.metadata
            try:
                await self._api.delete(
                    ControllerRevision, meta.name or "", namespace=meta.namespace or "", uid=meta.uid
                )
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise

    def _make(self, owner: Any, number: int, collisions: int) -> ControllerRevision:
        template = codec.to_dict(owner.spec.template)
        # Clients compare the text of patches, in which Go sorts the keys of a map.
        data = _sorted({"spec": {"template": {**template, "$patch": "replace"}}})
        hashed = names.object_hash(data, collisions or None)
        return ControllerRevision(
            metadata=ObjectMeta(
                name=f"{owner.metadata.name}-{hashed}",
                namespace=owner.metadata.namespace,
                labels={**(owner.spec.template.metadata.labels or {}), self._hash_label: hashed},
                annotations=dict(owner.metadata.annotations) if owner.metadata.annotations else None,
                owner_references=[controller_ref(owner)],
            ),
            data=data,
            revision=number,
        )


def ordered(revisions: Iterable[ControllerRevision]) -> list[ControllerRevision]:
    return sorted(revisions, key=lambda r: (r.revision, r.metadata.creation_timestamp or "", r.metadata.name or ""))


def apply(owner: Any, revision: ControllerRevision) -> Any:
    """The owner as it was at that revision: a copy with that template."""
    template = dict(revision.data["spec"]["template"])
    template.pop("$patch", None)
    document = codec.to_dict(owner)
    document["spec"]["template"] = template
    return codec.from_dict(type(owner), document)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return list(map(_sorted, value)) if isinstance(value, list) else value
