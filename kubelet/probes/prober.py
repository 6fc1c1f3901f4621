"""The probes of running containers: asked in time, counted against thresholds, told to the pod worker when they turn.

A container that starts gets one `Watch`; the watch ends with the container. While it has a startup probe that has not
succeeded, neither readiness nor liveness are asked. Failed liveness and startup probes are told once: what follows is a
new container, with a new watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from api.types.core_v1 import Pod, Probe
from client.events import EventRecorder
from kubelet import metrics, podutil
from kubelet.cri import Runtime
from kubelet.podutil import AnyContainer
from kubelet.probes import execute, grpc_health, http, tcp
from kubelet.probes.outcome import Outcome, Result

log = logging.getLogger(__name__)

MAX_TRIES = 3  # of a probe that can't be made at all

_RESULT_LABELS = {
    Result.SUCCESS: "successful",
    Result.WARNING: "successful",
    Result.FAILURE: "failed",
    Result.UNKNOWN: "unknown",
}


@dataclass(slots=True)
class Health:
    """What the probes of one container say at the moment."""

    started: bool
    ready: bool
    failed: str = ""  # "liveness" or "startup": the container is to be killed


@dataclass(slots=True)
class _Subject:
    pod: Pod
    container: AnyContainer
    container_id: str
    ip: str
    ports: dict[str, int]
    started_at: float  # time.time()
    changed: Callable[[], None]
    health: Health
    adopted: bool


@dataclass(slots=True)
class Watch:
    """The probes of one running container."""

    health: Health
    task: asyncio.Task[None] | None = field(default=None)


class Prober:
    """Makes the probes of one node's containers."""

    def __init__(self, runtime: Runtime, recorder: EventRecorder) -> None:
        self._runtime = runtime
        self._recorder = recorder
        self._began = time.monotonic()
        self._counted: dict[str, set[tuple[str, str, str, str, str, str]]] = {}  # pod UID -> label values

    def watch(
        self,
        pod: Pod,
        container: AnyContainer,
        container_id: str,
        *,
        ip: str,
        started_at: float,
        changed: Callable[[], None],
        adopted: Health | None = None,
    ) -> Watch:
        """Probe from now on. `changed` is called when the health turns; `adopted` is what an earlier kubelet had found
        for this very container, which holds until proven otherwise."""
        health = adopted or Health(
            started=container.startup_probe is None,
            ready=container.startup_probe is None and container.readiness_probe is None,
        )
        watch = Watch(health)
        if not (container.startup_probe or container.readiness_probe or container.liveness_probe):
            return watch
        ports = {p.name: p.container_port for p in container.ports or () if p.name}
        subject = _Subject(pod, container, container_id, ip, ports, started_at, changed, health, adopted is not None)
        name = f"probes {podutil.key(pod)}/{container.name}"
        watch.task = asyncio.create_task(self._probe_all(subject), name=name)
        return watch

    async def stop(self, watch: Watch) -> None:
        if watch.task is not None:
            watch.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch.task

    async def _probe_all(self, subject: _Subject) -> None:
        container = subject.container
        startup = container.startup_probe
        if startup and not subject.health.started and not await self._startup(subject, startup):
            return
        async with asyncio.TaskGroup() as group:
            if container.readiness_probe:
                group.create_task(self._readiness(subject, container.readiness_probe))
            if container.liveness_probe:
                group.create_task(self._liveness(subject, container.liveness_probe))

    async def _startup(self, subject: _Subject, probe: Probe) -> bool:
        successes = failures = 0
        await self._delay(subject, probe)
        while True:
            outcome = await self._ask(subject, probe, "Startup")
            if outcome is Result.SUCCESS:
                successes, failures = successes + 1, 0
            elif outcome is Result.FAILURE:
                successes, failures = 0, failures + 1
            if successes >= (probe.success_threshold or 1):
                subject.health.started = True
                subject.health.ready = subject.container.readiness_probe is None
                subject.changed()
                return True
            if failures >= (probe.failure_threshold or 3):
                subject.health.failed = "startup"
                subject.changed()
                return False
            await asyncio.sleep(probe.period_seconds or 10)

    async def _readiness(self, subject: _Subject, probe: Probe) -> None:
        successes = failures = 0
        await self._delay(subject, probe)
        while True:
            outcome = await self._ask(subject, probe, "Readiness")
            ready = subject.health.ready
            if outcome is Result.SUCCESS:
                successes, failures = successes + 1, 0
                ready = ready or successes >= (probe.success_threshold or 1)
            elif outcome is Result.FAILURE:
                successes, failures = 0, failures + 1
                ready = ready and failures < (probe.failure_threshold or 3)
            if ready != subject.health.ready:
                subject.health.ready = ready
                subject.changed()
            await asyncio.sleep(probe.period_seconds or 10)

    async def _liveness(self, subject: _Subject, probe: Probe) -> None:
        failures = 0
        await self._delay(subject, probe)
        while True:
            outcome = await self._ask(subject, probe, "Liveness")
            if outcome is Result.SUCCESS:
                failures = 0
            elif outcome is Result.FAILURE:
                failures += 1
            if failures >= (probe.failure_threshold or 3):
                subject.health.failed = "liveness"
                subject.changed()
                return
            await asyncio.sleep(probe.period_seconds or 10)

    async def _delay(self, subject: _Subject, probe: Probe) -> None:
        """Until initialDelaySeconds after the container's start. A kubelet that has just started spreads the probes of
        all the containers it found over their periods."""
        period = float(probe.period_seconds or 10)
        spread = random.uniform(0, period) if subject.adopted and time.monotonic() - self._began < period else 0.0
        left = subject.started_at + (probe.initial_delay_seconds or 0) - time.time()
        if max(left, spread) > 0:
            await asyncio.sleep(max(left, spread))

    async def _ask(self, subject: _Subject, probe: Probe, kind: str) -> Result:
        """One probe; its event, if it is not a plain success; SUCCESS, FAILURE or UNKNOWN."""
        outcome = Outcome(Result.UNKNOWN)
        for _ in range(MAX_TRIES):
            try:
                outcome = await self._once(subject, probe)
            except Exception as error:
                # Whatever went wrong here says nothing about the container, and it must go on being asked.
                log.exception("%s probe of %s/%s", kind, podutil.key(subject.pod), subject.container.name)
                outcome = Outcome(Result.UNKNOWN, str(error))
            if outcome.result is not Result.UNKNOWN:
                break
        self._count(subject, kind, outcome.result)
        reference = podutil.container_reference(subject.pod, subject.container.name)
        match outcome.result:
            case Result.FAILURE:
                message = f"{kind} probe failed: {outcome.output}"
                self._recorder.event(reference, "Warning", "Unhealthy", message)
            case Result.UNKNOWN:
                message = f"{kind} probe errored and resulted in unknown state: {outcome.output}"
                self._recorder.event(reference, "Warning", "Unhealthy", message)
            case Result.WARNING:
                message = f"{kind} probe warning: {outcome.output}"
                self._recorder.event(reference, "Warning", "ProbeWarning", message)
                return Result.SUCCESS
        return outcome.result

    def _count(self, subject: _Subject, kind: str, result: Result) -> None:
        labels = (
            kind,
            _RESULT_LABELS[result],
            subject.container.name,
            podutil.name(subject.pod),
            podutil.namespace(subject.pod),
            podutil.uid(subject.pod),
        )
        self._counted.setdefault(labels[5], set()).add(labels)
        metrics.probes.labels(*labels).inc()

    def forget(self, uid: str) -> None:
        """The pod is gone: so are its metrics."""
        for labels in self._counted.pop(uid, ()):
            metrics.probes.remove(*labels)

    async def _once(self, subject: _Subject, probe: Probe) -> Outcome:
        timeout = float(probe.timeout_seconds or 1)
        if probe.exec:
            env = {v.name: v.value or "" for v in subject.container.env or ()}
            return await execute.probe(self._runtime, subject.container_id, probe.exec, env, timeout)
        if probe.http_get:
            return await http.probe(probe.http_get, subject.ip, subject.ports, timeout)
        if probe.tcp_socket:
            return await tcp.probe(probe.tcp_socket, subject.ip, subject.ports, timeout)
        if probe.grpc:
            return await grpc_health.probe(probe.grpc, subject.ip, timeout)
        return Outcome(Result.UNKNOWN, f"missing probe handler for {podutil.describe(subject.pod)}")
