"""Drives one pod from what its spec says to what runs, and back to nothing when it ends.

A worker looks (the runtime's snapshot), tells (the status), decides (`kubelet.actions`) and acts, whenever something
has happened: the spec changed, a container ended, a probe turned, a job finished, a delay is over. Whatever takes time
is a job of its own, so that a pull of minutes delays neither a deletion nor the other containers. Nothing is remembered
that a restarted kubelet could not find in the runtime or the API.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from api import time as api_time
from api.types.core_v1 import Pod, PodStatus
from kubelet import actions, cri, metrics, podutil, status
from kubelet.actions import Actions
from kubelet.containers import termination_message
from kubelet.jobs import Jobs
from kubelet.killing import Killer, pod_ip
from kubelet.patience import Patience
from kubelet.pod_end import PodEnd
from kubelet.podutil import AnyContainer
from kubelet.probes.prober import Health, Watch
from kubelet.resize import RETRY as RESIZE_RETRY
from kubelet.resize import Resizer
from kubelet.services import Services
from kubelet.starting import RETRY as START_RETRY
from kubelet.starting import Starter, StartFailure
from kubelet.timestamps import epoch
from kubelet.view import PREFIX, Verdict, View, active_sandbox, runs
from kubelet.volumes.manager import used_volumes

log = logging.getLogger(__name__)

RUNTIME_RETRY = 1.0  # seconds, while the runtime doesn't answer
SANDBOX_RETRY_INITIAL, SANDBOX_RETRY_MAXIMUM = 1.0, 15.0
KEPT_RUNS = 2  # of each container: the present one and the one before, for lastState and `logs --previous`


class PodWorker:
    def __init__(
        self, services: Services, pod: Pod, *, host_ips: tuple[str, ...], verdict: Verdict | None = None
    ) -> None:
        """`verdict`: the node refuses the pod; it will not be started."""
        self.services = services
        self.pod = pod
        self.uid = podutil.uid(pod)
        self.key = podutil.key(pod)
        self.snapshot: cri.PodSnapshot | None = None
        self.status: PodStatus = pod.status
        self.verdict = verdict
        self._shown_phase = pod.status.phase or "Pending"
        self.removed = False  # the API has no such pod (any more)
        self.grace_override: int | None = None
        self.ended = asyncio.Event()  # nothing of the pod runs any more
        self.waiting: dict[str, tuple[str, str]] = {}
        self.hidden: set[str] = set()
        self.sandbox_ready = asyncio.Event()
        self.volumes_ready = asyncio.Event()
        self.jobs = Jobs(f"pod {self.key}", self._job_ended)
        self._host_ips = host_ips
        self._stale = True
        self._died: set[str] = set()
        self._wake = asyncio.Event()
        self._objects_changed = asyncio.Event()
        self._watches: dict[str, Watch] = {}
        self._messages: dict[str, str] = {}
        self._patience = Patience(self)
        self._sandbox_retry = SANDBOX_RETRY_INITIAL
        self._sandbox_retry_at = 0.0
        self._first = True
        self._ending = False
        self._seen_at = asyncio.get_running_loop().time()
        self._starter = Starter(self)
        self._resizer = Resizer(self)

    # -- what others tell -----------------------------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The API's pod has changed."""
        before, self.pod = self.pod, pod
        if before.metadata.labels != pod.metadata.labels or before.metadata.annotations != pod.metadata.annotations:
            self._objects_changed.set()  # downward API volumes show them
        if before.spec != pod.spec:
            self.services.objects.register(pod)
            mounted = self.services.volumes.paths(self.uid)
            if any(volume.name not in mounted for volume in used_volumes(pod)):
                self.volumes_ready.clear()  # an ephemeral container brings a volume into use
        self._wake.set()

    def remove(self, pod: Pod) -> None:
        """The API's pod is gone, deleted by somebody who did not wait for us."""
        was_ending = self.pod.metadata.deletion_timestamp is not None
        self.pod = pod
        self.removed = True
        # Whoever takes away a pod that is ending already has lost patience.
        self.grace_override = 0 if was_ending else podutil.deletion_grace(pod)
        self._wake.set()

    def end(self, verdict: Verdict, grace: int | None) -> None:
        """The node ends the pod (eviction, shutdown). `grace` in seconds; None: the pod's own."""
        if self.verdict is None:
            self.verdict = verdict
            self.grace_override = grace
            self._wake.set()

    def notify(self, died: str = "") -> None:
        """Something happened to the pod's containers; `died` is the id of one that has ended."""
        if died:
            self._died.add(died)
        self._stale = True
        self._wake.set()

    def network_ready(self) -> None:
        """Pods can get addresses now."""
        self._sandbox_retry_at = 0.0
        self._wake.set()

    def expects_events(self) -> bool:
        """Is a job under way whose every step the runtime reports as an event? Its end is awaited anyway."""
        return any(self.jobs.names(prefix) for prefix in ("start:", "sandbox"))

    def objects_changed(self) -> None:
        """A ConfigMap or Secret that the pod refers to has changed (or was made)."""
        self._objects_changed.set()
        if any(reason == "CreateContainerConfigError" for reason, _ in self.waiting.values()):
            self._patience.forget_failures()
            self._wake.set()

    def _job_ended(self, name: str) -> None:
        if name not in ("volumes", "follow"):
            self._stale = True
        self._wake.set()

    # -- the life of the pod --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Returns when the pod is gone from this node and from the API. Cancelling leaves its containers alone."""
        try:
            self.services.statuses.adopt(self.pod)
            self.services.objects.register(self.pod)
            if not self._over_already():
                await self._live()
            self._ending = True
            await PodEnd(self).run()
        finally:
            await self.jobs.cancel(self.jobs.names())
            for watch in self._watches.values():
                await self.services.prober.stop(watch)
            self.services.objects.unregister(self.uid)

    def _over_already(self) -> bool:
        """Did the pod end before this kubelet started, so that nothing about it needs telling?"""
        return self.pod.status.phase in ("Succeeded", "Failed")

    async def _live(self) -> None:
        while True:
            self._wake.clear()
            if not await self.refresh():
                await self.pause(RUNTIME_RETRY)
                continue
            self.publish()
            if self._should_end():
                return
            delay = self._act()
            await self.pause(delay)

    async def pause(self, delay: float | None) -> None:
        """Until something happens, or for `delay` seconds."""
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            pass

    def clear_wake(self) -> None:
        self._wake.clear()

    def _should_end(self) -> bool:
        if self.removed or self.verdict or self.pod.metadata.deletion_timestamp:
            return True
        if (deadline := self._deadline()) is not None and deadline <= 0:
            message = "Pod was active on the node longer than the specified deadline"
            self.services.recorder.event(self.pod, "Normal", "DeadlineExceeded", message)
            self.verdict = Verdict("Failed", "DeadlineExceeded", message)
            return True
        return self.status.phase in ("Succeeded", "Failed")

    def _deadline(self) -> float | None:
        """Seconds left of activeDeadlineSeconds."""
        limit = self.pod.spec.active_deadline_seconds
        if limit is None or not self.status.start_time:
            return None
        return limit - (time.time() - api_time.parse(self.status.start_time).timestamp())

    # -- looking and telling --------------------------------------------------------------------------------------

    async def refresh(self) -> bool:
        """Look at the runtime if anything may have happened; False if it can't be asked now."""
        if not self._stale:
            return True
        self._stale = False
        try:
            await self._settle()
            self.snapshot = await self.services.runtime.pod(self.uid)
        except cri.RuntimeFailure as error:
            log.warning("pod %s: %s", self.key, error)
            self._stale = True
            return False
        known = self.snapshot.containers if self.snapshot else ()
        for run in known:
            if run.state is cri.State.EXITED and run.id not in self._messages:
                self._messages[run.id] = await termination_message(self.services.runtime, run)
        await self._watch(known)
        if active_sandbox(self.snapshot) and "sandbox" not in self.jobs:
            self.sandbox_ready.set()
        return True

    async def _settle(self) -> None:
        """A runtime may tell of a container's end before its lists show it; asking for the container waits for it."""
        died, self._died = self._died, set()
        for id in died:
            try:
                await self.services.runtime.container(id)
            except cri.ContainerNotFound:
                pass

    async def _watch(self, known: tuple[cri.ContainerStatus, ...]) -> None:
        """Probe what runs, and only that."""
        running = {run.id: run for run in known if run.state is cri.State.RUNNING and run.id not in self.hidden}
        for gone in [id for id in self._watches if id not in running]:
            await self.services.prober.stop(self._watches.pop(gone))
        if self._ending:
            return
        before = {s.container_id: s for s in podutil.api_statuses(self.pod).values() if s.state.running}
        for id, run in running.items():
            container = podutil.find_container(self.pod, run.name)
            if id in self._watches or container is None:
                continue
            old = before.get(PREFIX + id)
            self._watches[id] = self.services.prober.watch(
                self.pod,
                container,
                id,
                ip=pod_ip(self.pod, self.snapshot, self.services.config.node_ip),
                started_at=epoch(run.started_at),
                changed=self._wake.set,
                adopted=Health(bool(old.started), old.ready) if old and self._first else None,
            )
        self._first = False

    def publish(self, *, finished: bool = False) -> None:
        """Compute the status and have it sent if it is news."""
        view = View(
            snapshot=self.snapshot,
            previous=self.status,
            health=self.health(),
            waiting=self.waiting,
            hidden=self.hidden,
            messages=self._messages,
            host_ips=self._host_ips,
            ending=self._ending or self.verdict is not None,
            verdict=self.verdict,
            finished=finished,
            actual=self._resizer.actual(),
            resizing=self._resizer.conditions,
            shown_phase=self._shown_phase,
        )
        self.status = status.compute(self.pod, view)
        shown = status.shown(self.status, view)
        if self._shown_phase == "Pending" and shown.phase == "Running":
            metrics.pod_start.observe(asyncio.get_running_loop().time() - self._seen_at)
        self._shown_phase = shown.phase or "Pending"
        if not self.removed:
            self.services.statuses.set(self.pod, shown)

    def health(self) -> dict[str, Health]:
        return {id: watch.health for id, watch in self._watches.items()}

    def killer(self) -> Killer:
        ip = pod_ip(self.pod, self.snapshot, self.services.config.node_ip)
        return Killer(self.services, self.pod, ip)

    # -- acting ---------------------------------------------------------------------------------------------------

    def _act(self) -> float | None:
        """Start what is to be done; seconds until there is something to do again, None if only events can tell."""
        if "volumes" not in self.jobs and not self.volumes_ready.is_set():
            self.jobs.start("volumes", self._volumes())
        delays: list[float] = []
        if (deadline := self._deadline()) is not None:
            delays.append(max(deadline, 0.0))
        if "sandbox" not in self.jobs:
            todo = actions.compute(self.pod, self.snapshot, self.health())
            delays += self._carry_out(todo)
            self._collect()
            if self._resize():
                delays.append(RESIZE_RETRY)
        return min(delays, default=None)

    def _resize(self) -> bool:
        """Start a resize that the spec asks for; True if there is one that has to wait."""
        if "resize" in self.jobs:
            return False
        if not self._resizer.wanted():
            if self._resizer.conditions:
                self._resizer.settle()
                self.publish()
            return False
        if asyncio.get_running_loop().time() < self._resizer.retry_at:
            return True
        if self._resizer.fits():
            self.jobs.start("resize", self._resizer.run())
            return False
        self.publish()
        return True

    def _carry_out(self, todo: Actions) -> list[float]:
        delays: list[float] = []
        if todo.create_sandbox:
            now = asyncio.get_running_loop().time()
            if now < self._sandbox_retry_at:
                return [self._sandbox_retry_at - now]
            self.sandbox_ready.clear()
            self.jobs.start("sandbox", self._make_sandbox(todo.attempt))
        for kill in todo.kill:
            name = f"kill:{kill.container.name}"
            if name not in self.jobs:
                grace = self._probe_grace(kill)
                work = self.killer().kill(kill.container, grace=grace, message=kill.message)
                self.jobs.start(name, self._patiently(name, work))
        blockers: list[asyncio.Task[None]] = []
        for container in todo.start:
            name = f"start:{container.name}"
            if name in self.jobs or f"kill:{container.name}" in self.jobs:
                pass
            elif (delay := self._patience.left(container)) > 0:
                delays.append(delay)
            else:
                self.jobs.start(name, self._start(container, list(blockers)))
            task = self.jobs.task(name)
            if task is not None and container.lifecycle and container.lifecycle.post_start:
                blockers.append(task)  # later containers may count on what the hook has done
        return delays

    def _probe_grace(self, kill: actions.Kill) -> int:
        container = podutil.find_container(self.pod, kill.container.name)
        probe = None
        if container is not None and kill.probe:
            probe = container.liveness_probe if kill.probe == "liveness" else container.startup_probe
        own = probe.termination_grace_period_seconds if probe else None
        return podutil.spec_grace(self.pod) if own is None else own

    async def _patiently(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A job that is tried again as soon as it has ended: when the runtime fails it, not before a pause."""
        try:
            await work
        except cri.RuntimeFailure as error:
            log.warning("pod %s: %s: %s", self.key, name, error)
            await asyncio.sleep(RUNTIME_RETRY)

    async def _volumes(self) -> None:
        await self.services.volumes.mount(lambda: self.pod, self._objects_changed)
        self.volumes_ready.set()
        if "follow" not in self.jobs:
            self.jobs.start("follow", self.services.volumes.follow(lambda: self.pod, self._objects_changed))

    async def _make_sandbox(self, attempt: int) -> None:
        try:
            await self._starter.sandbox(attempt)
        except Exception as failure:
            expected = isinstance(failure, StartFailure)
            log.warning("pod %s: %s", self.key, failure, exc_info=None if expected else failure)
            self._sandbox_retry_at = asyncio.get_running_loop().time() + self._sandbox_retry
            self._sandbox_retry = min(self._sandbox_retry * 2, SANDBOX_RETRY_MAXIMUM)
        else:
            self._sandbox_retry = SANDBOX_RETRY_INITIAL
            self.sandbox_ready.set()

    async def _start(self, container: AnyContainer, after: list[asyncio.Task[None]]) -> None:
        last = next(iter(runs(self.snapshot, container.name)), None)
        try:
            await self._starter.container(container, last, after)
        except StartFailure as failure:
            if failure.reason:
                self.waiting[container.name] = (failure.reason, str(failure))
            self._patience.failed(container, failure.retry)
        except Exception:
            # Not foreseen, so it may be met again at once: no faster than any other failure.
            self._patience.failed(container, START_RETRY)
            raise
        else:
            self.waiting.pop(container.name, None)
            self._patience.started(container)
        if last is not None and last.state is cri.State.EXITED:
            # Counted once per new run: the delay before the next one.
            self._patience.ran_before(container)

    def _collect(self) -> None:
        """Remove old runs and old sandboxes that nothing refers to any more."""
        if self.snapshot is None or "collect" in self.jobs:
            return
        old: list[str] = []
        for name in {run.name for run in self.snapshot.containers}:
            ended = [r for r in runs(self.snapshot, name)[KEPT_RUNS:] if r.state is cri.State.EXITED]
            old += [run.id for run in ended]
        kept = {run.sandbox_id for run in self.snapshot.containers if run.id not in old}
        sandboxes = [s.id for s in self.snapshot.sandboxes[1:] if s.id not in kept and s.state is cri.State.EXITED]
        if old or sandboxes:
            self.jobs.start("collect", self._patiently("collect", self._remove(old, sandboxes)))

    async def _remove(self, containers: list[str], sandboxes: list[str]) -> None:
        for id in containers:
            self._messages.pop(id, None)
            await self.services.runtime.remove_container(id)
        for id in sandboxes:
            await self.services.runtime.remove_sandbox(id)

    def next_attempt(self, container: AnyContainer) -> int:
        """The restart count of the container's next run."""
        last = next(iter(runs(self.snapshot, container.name)), None)
        if last is not None:
            # One that was created and never started is no run: the next takes its number.
            return last.attempt if last.state is cri.State.CREATED else last.attempt + 1
        known = podutil.api_statuses(self.pod).get(container.name)
        return known.restart_count + 1 if known and known.container_id else 0
