"""Who owns whom: the graph that the garbage collector keeps from what its informers say.

Invariants:
- there is a node for every object seen, and for every owner named by one (a *virtual* node until it is seen itself);
- a change that may make an object garbage, or finish a deletion, puts it into the queue; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from api.resource import Resource
from api.types.meta_v1 import ObjectMeta, OwnerReference

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(slots=True)
class Node:
    """`waits_for_dependents`: it is deleted in the foreground."""

    uid: str
    api_version: str
    kind: str
    namespace: str
    name: str
    virtual: bool = False
    deleting: bool = False
    waits_for_dependents: bool = False
    owners: tuple[OwnerReference, ...] = ()
    dependents: set[str] = field(default_factory=set)

    def misnames(self, owner: Node) -> bool:
        """Whether a reference has the uid of `owner` but another kind, name or namespace: it does not count then."""
        group = owner.api_version.rpartition("/")[0]
        return any(
            (ref.kind, ref.name, ref.api_version.rpartition("/")[0]) != (owner.kind, owner.name, group)
            or owner.namespace not in ("", self.namespace)
            for ref in self.owners
            if ref.uid == owner.uid
        )

    def blocks(self, owner_uid: str) -> bool:
        return any(ref.uid == owner_uid and ref.block_owner_deletion for ref in self.owners)


class Graph:
    """`check` and `orphan` put a uid into a queue."""

    def __init__(self, check: Callable[[str], None], orphan: Callable[[str], None]) -> None:
        self._check, self._orphan = check, orphan
        self._nodes: dict[str, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def dependents(self, node: Node) -> list[Node]:
        return [self._nodes[uid] for uid in node.dependents if uid in self._nodes]

    def blocking(self, node: Node) -> list[Node]:
        """Dependents that hold back a foreground deletion of `node`."""
        return [d for d in self.dependents(node) if d.blocks(node.uid)]

    def seen(self, resource: Resource, meta: ObjectMeta) -> None:
        """An object was added or changed."""
        uid = meta.uid or ""
        node = self._nodes.get(uid)
        fresh = node is None or node.virtual
        if node is None:
            if not meta.owner_references and not meta.finalizers and not meta.deletion_timestamp:
                # Most objects own nothing and are owned by nobody: they get a node when somebody names them.
                return
            node = self._nodes[uid] = Node(uid, "", "", "", "")
        node.api_version, node.kind, node.virtual = resource.api_version, resource.kind, False
        node.namespace, node.name = meta.namespace or "", meta.name or ""
        if fresh:
            for dependent in self.dependents(node):
                if dependent.misnames(node):
                    self._check(dependent.uid)
        self._set_owners(node, tuple(meta.owner_references or ()), fresh)
        finalizers = meta.finalizers or ()
        deleting = bool(meta.deletion_timestamp)
        if deleting and ORPHAN in finalizers:
            self._orphan(uid)
        waits = deleting and FOREGROUND in finalizers
        if waits and not node.waits_for_dependents:
            node.waits_for_dependents = True
            for waiting in node.dependents:
                self._check(waiting)
            self._check(uid)
        node.waits_for_dependents = waits
        node.deleting = deleting

    def gone(self, uid: str) -> None:
        """An object was deleted, or turned out not to exist."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return
        for ref in node.owners:
            self._unlink(node, ref.uid)
        for dependent in node.dependents:
            self._check(dependent)

    def confirm(self, node: Node, ref: OwnerReference) -> None:
        """A live read found the owner. Keep the edge, which `gone` dropped if another object named it wrongly."""
        if ref.uid not in self._nodes:
            self._nodes[ref.uid] = Node(ref.uid, ref.api_version, ref.kind, node.namespace, ref.name, virtual=True)
        if node.uid in self._nodes:
            self._nodes[ref.uid].dependents.add(node.uid)

    def forget(self, resource: Resource) -> None:
        """A resource is no longer served, and its objects are gone with it."""
        wanted = (resource.api_version, resource.kind)
        for uid in [uid for uid, node in self._nodes.items() if (node.api_version, node.kind) == wanted]:
            self.gone(uid)

    def _set_owners(self, node: Node, owners: tuple[OwnerReference, ...], fresh: bool) -> None:
        before = {ref.uid: ref for ref in node.owners}
        after = {ref.uid: ref for ref in owners}
        node.owners = owners
        for uid, ref in after.items():
            if uid not in before or fresh:
                self._link(node, ref)
            elif before[uid].block_owner_deletion and not ref.block_owner_deletion:
                self._recheck(uid)
        for uid in before.keys() - after.keys():
            self._unlink(node, uid)
        if not fresh and before.keys() != after.keys():
            self._check(node.uid)

    def _link(self, node: Node, ref: OwnerReference) -> None:
        owner = self._nodes.get(ref.uid)
        if owner is None:
            owner = Node(ref.uid, ref.api_version, ref.kind, node.namespace, ref.name, virtual=True)
            self._nodes[ref.uid] = owner
            self._check(ref.uid)
        owner.dependents.add(node.uid)
        if owner.waits_for_dependents or (not owner.virtual and node.misnames(owner)):
            self._check(node.uid)

    def _unlink(self, node: Node, owner_uid: str) -> None:
        owner = self._nodes.get(owner_uid)
        if owner is None:
            return
        owner.dependents.discard(node.uid)
        self._recheck(owner_uid)
        if owner.virtual and not owner.dependents:
            del self._nodes[owner_uid]

    def _recheck(self, owner_uid: str) -> None:
        owner = self._nodes.get(owner_uid)
        if owner is not None and owner.waits_for_dependents:
            self._check(owner_uid)
