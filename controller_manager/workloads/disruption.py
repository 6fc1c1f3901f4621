"""PodDisruptionBudgets: how many of the pods that a budget selects may be evicted now.

Invariants:
- `disruptionsAllowed` is what is healthy beyond what has to be, and 0 whenever that cannot be told;
- percentages and maxUnavailable are of the size that the pods' controllers want, not of the pods that happen to exist;
- a pod that the apiserver has promised to evict counts as gone until it is gone, or for two minutes at most.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api import codec, errors
from api import time as api_time
from api.resources import find_kind
from api.selectors import selector_from
from api.types.apps_v1 import Deployment, ReplicaSet, StatefulSet
from api.types.autoscaling_v1 import Scale
from api.types.core_v1 import Pod, ReplicationController
from api.types.meta_v1 import Condition, OwnerReference
from api.types.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from client.controller import Controller
from client.store import Key, key_of
from client.writes import Kind
from controller_manager import conditions
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.int_or_percent import scaled
from controller_manager.owners import controller_of

#: Seconds that a promised eviction may take before it is no longer counted on.
PROMISE = 120.0


class _Unknown(Exception):
    """How many pods there should be cannot be told."""


class DisruptionController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("controllermanager")
        self._budgets = context.informers.informer(PodDisruptionBudget)
        self._pods = context.informers.informer(Pod)
        self._owners = {
            kind.__name__: context.informers.informer(kind)
            for kind in (ReplicaSet, Deployment, StatefulSet, ReplicationController)
        }
        self.controller: Controller[Key] = Controller("disruption", self.reconcile, workers=4)
        self._budgets.add_handler(
            on_add=lambda b: self.controller.enqueue(key_of(b)),
            on_update=lambda _, b: self.controller.enqueue(key_of(b)),
        )
        self._pods.add_handler(on_add=self._wake, on_update=self._pod_updated, on_delete=self._wake)

    async def run(self) -> None:
        await self.controller.run()

    def _wake(self, pod: Pod) -> None:
        for budget in self._budgets.list(pod.metadata.namespace or ""):
            if selector_from(budget.spec.selector).matches(pod.metadata.labels):
                self.controller.enqueue(key_of(budget))

    def _pod_updated(self, old: Pod, new: Pod) -> None:
        self._wake(new)
        if old.metadata.labels != new.metadata.labels:
            self._wake(old)

    async def reconcile(self, key: Key) -> float | None:
        budget = self._budgets.get(*key)
        if budget is None:
            return None
        pods = self._pods.list(key[0], selector_from(budget.spec.selector))
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        status = codec.deepcopy(budget).status
        status.observed_generation = budget.metadata.generation
        wait = self._keep_promises(status, pods)
        try:
            expected, desired = await self._expected(budget, pods)
        except _Unknown as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", message)
            status.disruptions_allowed = 0
            self._condition(status, "False", "SyncFailed", str(error))
        else:
            promised = status.disrupted_pods or {}
            healthy = sum(
                1
                for p in pods
                if not p.metadata.deletion_timestamp and pod_facts.is_ready(p) and p.metadata.name not in promised
            )
            status.current_healthy, status.desired_healthy, status.expected_pods = healthy, desired, expected
            status.disruptions_allowed = max(0, healthy - desired) if expected > 0 else 0
            enough = status.disruptions_allowed > 0
            self._condition(status, "True" if enough else "False", "SufficientPods" if enough else "InsufficientPods")
        if status != budget.status:
            changed = codec.deepcopy(budget)
            changed.status = status
            await self._api.update_status(changed)
        return wait

    def _keep_promises(self, status: PodDisruptionBudgetStatus, pods: list[Pod]) -> float | None:
        """Drop promises that were kept or are too old; seconds until the next is."""
        now = datetime.now(UTC)
        left: dict[str, str] = {}
        wait: float | None = None
        live = {p.metadata.name for p in pods if not p.metadata.deletion_timestamp}
        for name, promised in (status.disrupted_pods or {}).items():
            remaining = PROMISE - (now - api_time.parse(promised)).total_seconds()
            if name in live and remaining > 0:
                left[name] = promised
                wait = remaining if wait is None else min(wait, remaining)
        status.disrupted_pods = left or None
        return wait

    def _condition(self, status: PodDisruptionBudgetStatus, value: str, reason: str, message: str = "") -> None:
        new = Condition(
            type="DisruptionAllowed",
            status=value,
            reason=reason,
            message=message,
            observed_generation=status.observed_generation,
            last_transition_time="",
        )
        status.conditions = conditions.replaced(status.conditions, new)

    # -- how many there should be -----------------------------------------------------------------------------------

    async def _expected(self, budget: PodDisruptionBudget, pods: list[Pod]) -> tuple[int, int]:
        """Pods expected, and how many of them have to be healthy."""
        least, most = budget.spec.min_available, budget.spec.max_unavailable
        if most is not None:
            expected = await self._scale(pods)
            return expected, max(0, expected - scaled(most, expected, round_up=True))
        if isinstance(least, str):
            expected = await self._scale(pods)
            return expected, scaled(least, expected, round_up=True)
        return len(pods), least or 0

    async def _scale(self, pods: list[Pod]) -> int:
        sizes: dict[str, int] = {}
        for pod in pods:
            ref = controller_of(pod)
            if ref is None:
                raise _Unknown(f"found no controller ref for pod {pod.metadata.name!r}")
            if ref.uid not in sizes:
                uid, size = await self._size(pod.metadata.namespace or "", ref)
                sizes[ref.uid] = 0
                sizes[uid] = size
        return sum(sizes.values())

    async def _size(self, namespace: str, ref: OwnerReference) -> tuple[str, int]:
        informer = self._owners.get(ref.kind)
        if informer is not None:
            owner: Any = informer.get(namespace, ref.name)
            if owner is None or owner.metadata.uid != ref.uid:
                return ref.uid, 0
            above = controller_of(owner)
            if above is not None and above.kind == "Deployment":
                return await self._size(namespace, above)
            return ref.uid, 1 if owner.spec.replicas is None else owner.spec.replicas
        resource = find_kind(ref.api_version, ref.kind)
        if resource is None or "scale" not in resource.subresources:
            raise _Unknown(f"found no controllers with scale subresource for {ref.kind} {ref.name!r}")
        try:
            kind: Kind[Any] = Kind(resource, Scale)
            found = await self._api.get(kind, ref.name, namespace=namespace, subresource="scale", as_type=Scale)
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return ref.uid, 0
            raise
        return ref.uid, found.spec.replicas or 0
