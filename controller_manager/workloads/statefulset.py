"""StatefulSets: pods with a name, a place in line and storage of their own.

Invariants:
- at most one pod of a name exists at any time: a pod is made anew only when its predecessor is gone from the API;
- nothing is decided before the cache shows what was done last: the pod that was made, the pod that was deleted;
- OrderedReady: pod n is made when all below it are running, ready and available; scaling down goes from the highest,
  one at a time, and waits for each to be gone; Parallel does without the waiting, for scaling only;
- a claim is made before the pod that needs it, and outlives it unless the retention policy says otherwise;
- a rolling update goes from the highest to the partition, never over maxUnavailable (default 1) at a time; OnDelete
  leaves it to the user; pods below the partition are made at the current revision, the others at the update revision;
- the update revision becomes the current one when every pod has it and is ready.
"""

from __future__ import annotations

from api import codec, errors
from api.selectors import selector_from
from api.types.apps_v1 import ControllerRevision, StatefulSet
from api.types.core_v1 import PersistentVolumeClaim, Pod
from client.controller import Controller
from client.expectations import Expectations
from client.store import Key, key_of
from controller_manager import statuses
from controller_manager.context import Context
from controller_manager.owners import candidates, claim
from controller_manager.pod_events import PodEvents
from controller_manager.workloads import statefulset_pods as identity
from controller_manager.workloads.history import History
from controller_manager.workloads.statefulset_step import Step, Wait


class StatefulSetController:
    def __init__(self, context: Context) -> None:
        self._api, self._batcher = context.api, context.batcher
        self._recorder = context.recorder("statefulset-controller")
        self._sets = context.informers.informer(StatefulSet)
        self._pods = context.informers.informer(Pod)
        self._claims = context.informers.informer(PersistentVolumeClaim)
        self._history = History(context.api, context.informers.informer(ControllerRevision))
        self._expectations = Expectations()
        self._deleted_pods: set[str] = set()  # uids of pods that we deleted and that the cache shows as if they stayed
        self.controller: Controller[Key] = Controller("statefulset", self.reconcile, workers=8)
        self._sets.add_handler(
            on_add=lambda s: self.controller.enqueue(key_of(s)),
            on_update=lambda _, s: self.controller.enqueue(key_of(s)),
            on_delete=self._deleted,
        )
        PodEvents(
            self._pods,
            self._sets,
            "StatefulSet",
            self.controller,
            self._expectations,
            lambda owner, pod: selector_from(owner.spec.selector).matches(pod.metadata.labels),
            lambda owner: owner.spec.min_ready_seconds or 0,
            terminating_counts=False,
        )
        self._pods.add_handler(
            on_update=lambda _, new: self._pod_goes(new) if new.metadata.deletion_timestamp else None,
            on_delete=self._pod_goes,
        )

    async def run(self) -> None:
        await self.controller.run()

    def _pod_goes(self, pod: Pod) -> None:
        self._deleted_pods.discard(pod.metadata.uid or "")

    def _deleted(self, owner: StatefulSet) -> None:
        self._expectations.forget(key_of(owner))
        self.controller.enqueue(key_of(owner))

    async def reconcile(self, key: Key) -> float | None:
        owner = self._sets.get(*key)
        if owner is None:
            return None
        if not self._expectations.satisfied(key):
            return None  # the event that meets them comes back here
        selector = selector_from(owner.spec.selector)
        if selector.empty:
            return None
        revisions = await self._history.list(owner, selector)
        found = await claim(
            self._api,
            owner,
            candidates(self._pods, owner),
            lambda pod: selector.matches(pod.metadata.labels) and identity.ordinal(pod, owner) >= 0,
        )
        collisions = owner.status.collision_count or 0
        if any(pod.metadata.uid in self._deleted_pods for pod in found):
            return None  # so does the event that shows the deletion
        update, collisions = await self._history.newest(owner, revisions, collisions)
        current = next((r for r in revisions if r.metadata.name == owner.status.current_revision), update)
        step = Step(self, owner, found, current, update)
        failure: errors.StatusError | None = None
        try:
            await step.run()
        except Wait:
            pass
        except errors.StatusError as error:
            failure = error
        await statuses.write(self._api, owner, step.status(collisions))
        live = [current.metadata.name, update.metadata.name, *map(identity.revision_of, found)]
        limit = owner.spec.revision_history_limit
        await self._history.truncate(revisions, live, 10 if limit is None else limit)
        if failure is not None:
            raise failure
        return step.wait

    # -- writes -----------------------------------------------------------------------------------------------------

    async def create(self, owner: StatefulSet, pod: Pod, number: int) -> None:
        await self.create_claims(owner, pod, number)
        key = key_of(owner)
        self._expectations.raise_expectations(key, creations=1)
        if self._expectations.satisfied(key):
            self._expectations.expect_creations(key, 1)
        try:
            await self._api.create(pod)
        except errors.StatusError as error:
            self._expectations.creation_observed(key)
            if errors.is_already_exists(error):
                return
            self._tell(owner, pod, "create", error)
            raise
        self._tell(owner, pod, "create")

    async def delete(self, owner: StatefulSet, pod: Pod) -> None:
        try:
            await self._api.delete(
                Pod, pod.metadata.name or "", namespace=pod.metadata.namespace or "", uid=pod.metadata.uid
            )
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return
            self._tell(owner, pod, "delete", error)
            raise
        cached = self._pods.get(pod.metadata.namespace or "", pod.metadata.name or "")
        if cached is not None and cached.metadata.uid == pod.metadata.uid and not cached.metadata.deletion_timestamp:
            self._deleted_pods.add(pod.metadata.uid or "")
        self._tell(owner, pod, "delete")

    def _tell(self, owner: StatefulSet, pod: Pod, verb: str, error: errors.StatusError | None = None) -> None:
        what = f"{verb} Pod {pod.metadata.name} in StatefulSet {owner.metadata.name}"
        if error is None:
            self._recorder.event(owner, "Normal", f"Successful{verb.title()}", f"{what} successful")
        elif not errors.has_cause(error, "NamespaceTerminating"):
            self._recorder.event(owner, "Warning", f"Failed{verb.title()}", f"{what} failed error: {error.message}")

    def warn_recreating(self, owner: StatefulSet, pod: Pod) -> None:
        name = f"{owner.metadata.namespace}/{owner.metadata.name}"
        failed = pod.status.phase == "Failed"
        self._recorder.event(
            owner,
            "Warning" if failed else "Normal",
            "RecreatingFailedPod" if failed else "RecreatingTerminatedPod",
            f"StatefulSet {name} is recreating {'failed' if failed else 'terminated'} Pod {pod.metadata.name}",
        )

    async def create_claims(self, owner: StatefulSet, pod: Pod, number: int) -> None:
        for wanted in identity.claims(owner, number):
            known = self._claims.get(wanted.metadata.namespace or "", wanted.metadata.name or "")
            if known is not None:
                if known.metadata.deletion_timestamp:
                    raise errors.conflict("persistentvolumeclaims", wanted.metadata.name or "", "it is being deleted")
                continue
            what = f"create Claim {wanted.metadata.name} Pod {pod.metadata.name} in StatefulSet {owner.metadata.name}"
            if identity.retention(owner)[0]:
                wanted.metadata.owner_references = identity.claim_owners(owner, None, wanted, condemned=False)
            try:
                await self._api.create(wanted)
            except errors.StatusError as error:
                if errors.is_already_exists(error):
                    continue
                self._recorder.event(owner, "Warning", "FailedCreate", f"{what} failed error: {error.message}")
                raise
            self._recorder.event(owner, "Normal", "SuccessfulCreate", f"{what} success")

    async def keep_claims(self, owner: StatefulSet, pod: Pod, number: int, *, condemned: bool) -> None:
        """Owner references of the pod's claims as the retention policy wants them."""
        for wanted in identity.claims(owner, number):
            known = self._claims.get(wanted.metadata.namespace or "", wanted.metadata.name or "")
            references = None
            if known is not None:
                references = identity.claim_owners(owner, pod, known, condemned=condemned)
            if known is None or references is None:
                continue
            changed = codec.deepcopy(known)
            changed.metadata.owner_references = references or None
            await self._api.update(changed)

    async def repair(self, owner: StatefulSet, pod: Pod, number: int) -> None:
        """Labels that somebody took away."""
        changed = codec.deepcopy(pod)
        identity.give_identity(owner, changed, number)
        await self._api.update(changed)
