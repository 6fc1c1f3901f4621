"""Wires pods' events to the queue of the controller that owns the pods.

Invariants (upstream's addPod, updatePod and deletePod, alike in every workload controller):
- a new pod ticks off an expected creation, a deleted or terminating one an expected deletion;
- a pod that changes hands wakes both hands; an orphan that appears or changes labels wakes all who might adopt it;
- looking at a large set takes long, so the news of its pods are gathered first, for a time in proportion to its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.types.core_v1 import Pod
from client.controller import Controller
from client.expectations import Expectations
from client.informer import Informer
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager.owners import INDEX, by_controller, controller_of

#: Pods from which on news are gathered, and for how long for each of them: a reconcile takes a few microseconds a pod.
_LARGE = 200
_SECONDS_PER_POD = 2e-5


class PodEvents:
    """`matches(owner, pod)` says whether an owner's selector selects a pod."""

    def __init__(
        self,
        pods: Informer[Pod],
        owners: Informer[Any],
        kind: str,
        controller: Controller[Key],
        expectations: Expectations,
        matches: Callable[[Any, Pod], bool],
        min_ready_seconds: Callable[[Any], int] = lambda owner: 0,
        terminating_counts: bool = True,
    ) -> None:
        self._pods, self._owners, self._kind = pods, owners, kind
        self._controller, self._expectations = controller, expectations
        self._matches, self._min_ready_seconds = matches, min_ready_seconds
        self._terminating_counts = terminating_counts
        pods.add_index(INDEX, by_controller)
        pods.add_handler(on_add=self.added, on_update=self.updated, on_delete=self.deleted)

    def owner_of(self, pod: Pod) -> Any | None:
        """The owner in the cache; None if the pod belongs to another kind, to nobody, or to a namesake's past life."""
        ref = controller_of(pod)
        if ref is None or ref.kind != self._kind:
            return None
        owner = self._owners.get(pod.metadata.namespace or "", ref.name)
        return owner if owner is not None and owner.metadata.uid == ref.uid else None

    def added(self, pod: Pod) -> None:
        if pod.metadata.deletion_timestamp:
            self.deleted(pod)
            return
        if controller_of(pod) is None:
            self._wake_adopters(pod)
            return
        owner = self.owner_of(pod)
        if owner is not None:
            self._expectations.creation_observed(key_of(owner))
            self._wake(owner)

    def updated(self, old: Pod, new: Pod) -> None:
        labels_changed = old.metadata.labels != new.metadata.labels
        if new.metadata.deletion_timestamp and self._terminating_counts:
            # kubelets take their time; a controller that waited for the end would fall behind by a grace period
            self.deleted(new)
            if labels_changed:
                self.deleted(old)
            return
        old_ref, ref = controller_of(old), controller_of(new)
        ref_changed = (old_ref and old_ref.uid) != (ref and ref.uid)
        if ref_changed and (former := self.owner_of(old)) is not None:
            self._wake(former)
        if ref is None:
            if labels_changed or ref_changed:
                self._wake_adopters(new)
            return
        owner = self.owner_of(new)
        if owner is None:
            return
        self._wake(owner)
        min_ready = self._min_ready_seconds(owner)
        if min_ready > 0 and not pod_facts.is_ready(old) and pod_facts.is_ready(new):
            # one second more, since conditions carry whole seconds
            self._controller.enqueue_after(key_of(owner), min_ready + 1)

    def deleted(self, pod: Pod) -> None:
        owner = self.owner_of(pod)
        if owner is not None:
            self._expectations.deletion_observed(key_of(owner), pod_facts.key(pod))
            self._wake(owner)

    def _wake(self, owner: Any) -> None:
        count = self._pods.store.count(INDEX, owner.metadata.uid)
        self._controller.enqueue_after(key_of(owner), count * _SECONDS_PER_POD if count > _LARGE else 0.0)

    def _wake_adopters(self, pod: Pod) -> None:
        for owner in self._owners.list(pod.metadata.namespace or ""):
            if self._matches(owner, pod):
                self._controller.enqueue(key_of(owner))
