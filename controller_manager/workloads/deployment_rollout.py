"""One reconcile's dealings with a Deployment's ReplicaSets: find or make the new one, grow, shrink, scale, clean up.

Every write updates the copies held here, so that later steps of the same reconcile see its outcome and not the cache's
past; the events are upstream's, word for word.
"""

from __future__ import annotations

from collections.abc import Sequence

from api import codec, errors, names
from api.types.apps_v1 import Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec
from api.types.meta_v1 import LabelSelector, ObjectMeta
from client.api import Api
from client.events import EventRecorder
from controller_manager.owners import controller_ref, is_controlled_by
from controller_manager.workloads import deployment_facts as facts


class Rollout:
    """`d` is a copy that is ours to change; `old` and `new` are known after `find_sets`."""

    def __init__(self, api: Api, recorder: EventRecorder, d: Deployment, sets: Sequence[ReplicaSet]) -> None:
        self._api, self._recorder = api, recorder
        self._claimed = list(sets)
        self.d = d
        self.new: ReplicaSet | None = None
        self.old: list[ReplicaSet] = []

    @property
    def sets(self) -> list[ReplicaSet]:
        return [*self.old, self.new] if self.new is not None else list(self.old)

    # -- finding and making -----------------------------------------------------------------------------------------

    async def find_sets(self, *, create: bool) -> None:
        """Tell old from new, bring the new one's annotations and the Deployment's revision up to date."""
        existing = facts.new_set(self.d, self._claimed)
        self.old = [rs for rs in self._claimed if existing is None or rs.metadata.uid != existing.metadata.uid]
        revision = max((facts.revision(rs) for rs in self.old), default=0) + 1
        if existing is not None:
            self.new = await self._adjust(existing, revision)
        elif create:
            self.new = await self._create(revision)

    async def _adjust(self, existing: ReplicaSet, revision: int) -> ReplicaSet:
        rs = codec.deepcopy(existing)
        changed = facts.annotate_new_set(self.d, rs, revision, exists=True)
        if (rs.spec.min_ready_seconds or 0) != (self.d.spec.min_ready_seconds or 0):
            rs.spec.min_ready_seconds, changed = self.d.spec.min_ready_seconds, True
        if changed:
            rs = await self._api.update(rs)
            self._replace(rs)
        await self._note(facts.revision(rs), "FoundNewReplicaSet", f'Found new replica set "{rs.metadata.name}"')
        return rs

    async def _create(self, revision: int) -> ReplicaSet:
        d = self.d
        template = codec.deepcopy(d.spec.template)
        hashed = names.pod_template_hash(template, d.status.collision_count)
        template.metadata.labels = {**(template.metadata.labels or {}), facts.HASH_LABEL: hashed}
        selector = codec.deepcopy(d.spec.selector)
        rs = ReplicaSet(
            metadata=ObjectMeta(
                name=f"{d.metadata.name}-{hashed}",
                namespace=d.metadata.namespace,
                labels=dict(template.metadata.labels),
                owner_references=[controller_ref(d)],
            ),
            spec=ReplicaSetSpec(
                replicas=0,
                min_ready_seconds=d.spec.min_ready_seconds,
                selector=LabelSelector(
                    match_labels={**(selector.match_labels or {}), facts.HASH_LABEL: hashed},
                    match_expressions=selector.match_expressions,
                ),
                template=template,
            ),
        )
        rs.spec.replicas = facts.new_replicas(d, [*self.old, rs], rs)
        facts.annotate_new_set(d, rs, revision, exists=False)
        try:
            created = await self._api.create(rs)
        except errors.StatusError as error:
            return await self._not_created(rs, error)
        if facts.replicas(created) > 0:
            message = f"Scaled up replica set {created.metadata.name} from 0 to {facts.replicas(created)}"
            self._recorder.event(d, "Normal", "ScalingReplicaSet", message)
        self._claimed.append(created)
        await self._note(revision, "NewReplicaSetCreated", f'Created new replica set "{created.metadata.name}"')
        return created

    async def _not_created(self, rs: ReplicaSet, error: errors.StatusError) -> ReplicaSet:
        d = self.d
        if errors.is_already_exists(error):
            other = await self._api.get(ReplicaSet, rs.metadata.name or "", namespace=rs.metadata.namespace or "")
            if is_controlled_by(other, d) and facts.same_template(d.spec.template, other.spec.template):
                self._claimed.append(other)  # our own, of which the cache does not know yet
                return other
            # two templates with one hash: the count makes another name next time
            d.status.collision_count = (d.status.collision_count or 0) + 1
            await self._api.update_status(d)
            raise error
        if errors.has_cause(error, "NamespaceTerminating"):
            raise error
        message = f'Failed to create new replica set "{rs.metadata.name}": {error.message}'
        if facts.has_deadline(d):
            facts.set_condition(d.status, facts.condition("Progressing", "False", "ReplicaSetCreateError", message))
            updated = await self._api.update_status(d)
            d.metadata.resource_version = updated.metadata.resource_version
        self._recorder.event(d, "Warning", "ReplicaSetCreateError", message)
        raise error

    async def _note(self, revision: int, reason: str, message: str) -> None:
        """The Deployment's revision annotation, and that a rollout has begun if nothing says so yet."""
        d = self.d
        annotations = d.metadata.annotations = d.metadata.annotations or {}
        changed = annotations.get(facts.REVISION) != str(revision)
        annotations[facts.REVISION] = str(revision)
        is_new = reason == "NewReplicaSetCreated"
        if facts.has_deadline(d) and (is_new or facts.progressing(d.status) is None):
            facts.set_condition(d.status, facts.condition("Progressing", "True", reason, message))
            changed = True
        if changed:
            updated = await self._api.update_status(d)
            d.metadata.resource_version = updated.metadata.resource_version
            if (updated.metadata.annotations or {}).get(facts.REVISION) != str(revision):
                change = {"metadata": {"annotations": {facts.REVISION: str(revision)}}}
                patched = await self._api.patch(
                    Deployment, d.metadata.name or "", change, namespace=d.metadata.namespace or ""
                )
                d.metadata.resource_version = patched.metadata.resource_version

    # -- moving -----------------------------------------------------------------------------------------------------

    async def resize(self, rs: ReplicaSet, size: int) -> bool:
        """Whether the size changed. Keeps the annotations about the Deployment's size up to date, too."""
        d = self.d
        before = facts.replicas(rs)
        changed = codec.deepcopy(rs)
        changed.spec.replicas = size
        annotated = facts.set_size_annotations(changed, facts.replicas(d), facts.replicas(d) + facts.max_surge(d))
        if size == before and not annotated:
            return False
        self._replace(await self._api.update(changed))
        if size == before:
            return False
        direction = "up" if size > before else "down"
        message = f"Scaled {direction} replica set {rs.metadata.name} from {before} to {size}"
        self._recorder.event(d, "Normal", "ScalingReplicaSet", message)
        return True

    def _replace(self, rs: ReplicaSet) -> None:
        for sets in (self._claimed, self.old):
            for position, known in enumerate(sets):
                if known.metadata.uid == rs.metadata.uid:
                    sets[position] = rs
        if self.new is not None and self.new.metadata.uid == rs.metadata.uid:
            self.new = rs

    async def grow_new(self) -> bool:
        assert self.new is not None
        size, wanted = facts.replicas(self.new), facts.replicas(self.d)
        if size == wanted:
            return False
        if size < wanted:
            wanted = facts.new_replicas(self.d, self.sets, self.new)
            if wanted == size:
                return False
        return await self.resize(self.new, wanted)

    async def shrink_old(self) -> bool:
        assert self.new is not None
        if facts.total(self.old) == 0:
            return False
        least = facts.replicas(self.d) - facts.max_unavailable(self.d)
        new_unavailable = facts.replicas(self.new) - (self.new.status.available_replicas or 0)
        if facts.total(self.sets) - least - new_unavailable <= 0:
            return False
        cleaned = await self._shrink_unhealthy(facts.total(self.sets) - least - new_unavailable)
        shrunk = await self._shrink_available(facts.available(self.sets) - least)
        return cleaned + shrunk > 0

    async def _shrink_unhealthy(self, most: int) -> int:
        """Pods of old sets that are not available are nobody's loss: they go first."""
        gone = 0
        for rs in facts.creation_order(self.old):
            unhealthy = facts.replicas(rs) - (rs.status.available_replicas or 0)
            count = min(most - gone, unhealthy)
            if count > 0:
                await self.resize(rs, facts.replicas(rs) - count)
                gone += count
        return gone

    async def _shrink_available(self, most: int) -> int:
        gone = 0
        for rs in facts.creation_order(self.old):
            count = min(most - gone, facts.replicas(rs))
            if count > 0:
                await self.resize(rs, facts.replicas(rs) - count)
                gone += count
        return gone

    async def empty_old(self) -> bool:
        changed = [await self.resize(rs, 0) for rs in facts.active(self.old)]
        return any(changed)

    # -- scaling ----------------------------------------------------------------------------------------------------

    async def is_scaling(self) -> bool:
        """Whether the Deployment's size changed since its ReplicaSets were given theirs."""
        await self.find_sets(create=False)
        wanted = facts.replicas(self.d)
        return any(facts.annotation(rs, facts.DESIRED_REPLICAS) not in (None, wanted) for rs in facts.active(self.sets))

    async def scale(self) -> None:
        """Bring the ReplicaSets to the Deployment's size; in mid-rollout in proportion."""
        d = self.d
        only = facts.active_or_latest(self.new, self.old)
        if only is not None:
            wanted = facts.replicas(d)
            if facts.replicas(only) != wanted or facts.annotation(only, facts.DESIRED_REPLICAS) not in (None, wanted):
                await self.resize(only, wanted)
            return
        if facts.is_saturated(d, self.new):
            for rs in facts.active(self.old):
                await self.resize(rs, 0)
            return
        if not facts.is_rolling(d):
            return
        running = facts.active(self.sets)
        allowed = facts.replicas(d) + facts.max_surge(d) if facts.replicas(d) > 0 else 0
        to_add = allowed - facts.total(running)
        # growing favours the newer of equal size, shrinking the older; both begin with the largest
        by_age = facts.creation_order(running)
        running = sorted(by_age[::-1] if to_add > 0 else by_age, key=lambda rs: -facts.replicas(rs))
        sizes, added = [], 0
        for rs in running:
            share = facts.proportion(rs, d, to_add, added)
            sizes.append(facts.replicas(rs) + share)
            added += share
        if sizes and to_add != 0:
            sizes[0] = max(0, sizes[0] + to_add - added)
        for rs, size in zip(running, sizes, strict=True):
            await self.resize(rs, size)

    # -- the rest ---------------------------------------------------------------------------------------------------

    async def clean_up(self) -> None:
        """Delete the oldest empty ReplicaSets beyond revisionHistoryLimit."""
        limit = self.d.spec.revision_history_limit
        if limit is None or limit == 2**31 - 1:
            return
        cleanable = [rs for rs in self.old if not rs.metadata.deletion_timestamp]
        surplus = len(cleanable) - limit
        for rs in sorted(cleanable, key=facts.revision)[: max(0, surplus)]:
            behind = (rs.metadata.generation or 0) > (rs.status.observed_generation or 0)
            if rs.status.replicas or facts.replicas(rs) or behind:
                continue
            try:
                await self._api.delete(
                    ReplicaSet, rs.metadata.name or "", namespace=rs.metadata.namespace or "", uid=rs.metadata.uid
                )
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise

    async def write_status(self, status: DeploymentStatus) -> bool:
        """Whether there was anything to write."""
        if status == self.d.status:
            return False
        self.d.status = status
        await self._api.update_status(self.d)
        return True
