"""Leader election on a Lease, as client-go does it: of several replicas one acts, and another takes over.

Invariants:
- nobody acts who has not renewed within `renew_deadline`; since that is shorter than `lease_duration`, the old leader
  has stopped before a new one may start;
- clocks of different machines are never compared: a candidate waits until *it* has seen the Lease unchanged for
  `lease_duration`;
- a leader that is told to stop gives the Lease back, so that its successor need not wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable

from api import codec, errors
from api import time as api_time
from api.types.coordination_v1 import Lease, LeaseSpec
from api.types.meta_v1 import ObjectMeta
from client import metrics
from client.api import Api
from client.backoff import jitter
from client.events import EventRecorder

log = logging.getLogger(__name__)

#: Seconds that giving up a Lease may take; without it the next replica waits until the Lease has run out.
_RELEASE_SECONDS = 6.0


class LeadershipLost(Exception):
    """The Lease could not be renewed in time: the process must stop acting, which it does by ending."""


def default_identity() -> str:
    """Unique for this process, as upstream's: host name and a UUID."""
    return f"{socket.gethostname()}_{uuid.UUID(bytes=os.urandom(16), version=4)}"


class LeaderElector:
    """Durations in seconds; the defaults are upstream's."""

    def __init__(
        self,
        api: Api,
        lease_name: str,
        identity: str | None = None,
        namespace: str = "kube-system",
        *,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        recorder: EventRecorder | None = None,
    ) -> None:
        if not lease_duration > renew_deadline > retry_period * 1.2:
            raise ValueError("lease_duration must be greater than renew_deadline, and that than retry_period * 1.2")
        self.identity = identity or default_identity()
        self._api, self._name, self._namespace = api, lease_name, namespace
        self._lease_duration, self._renew_deadline, self._retry_period = lease_duration, renew_deadline, retry_period
        self._recorder = recorder
        self._observed: Lease | None = None
        self._observed_at = 0.0

    @property
    def leader(self) -> str:
        """Who holds the Lease as far as we know, or ""."""
        return (self._observed.spec.holder_identity or "") if self._observed else ""

    @property
    def is_leader(self) -> bool:
        return self.leader == self.identity

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then `lead()` until it returns or this task is cancelled.

        Raises LeadershipLost (after cancelling `lead`) if the Lease cannot be renewed.
        """
        gauge = metrics.leader.labels(self._name)
        gauge.set(0)
        await self._acquire()
        gauge.set(1)
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.create_task(self._renew(), name=f"renew-{self._name}")
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gauge.set(0)
            renewing.cancel()
            if not leading.done():
                leading.cancel()
            await asyncio.gather(leading, renewing, return_exceptions=True)
            if renewing.cancelled() and self.is_leader:
                await self._release()
        if not renewing.cancelled():
            renewing.result()
        if not leading.cancelled():
            leading.result()

    async def _acquire(self) -> None:
        log.info("attempting to acquire leader lease %s/%s...", self._namespace, self._name)
        while not await self._try():
            await self._api.pause(jitter(self._retry_period, 1.2))
        log.info("successfully acquired lease %s/%s", self._namespace, self._name)
        self._record("became leader")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._retry_period)
            try:
                async with asyncio.timeout(self._renew_deadline):
                    while not await self._try():  # noqa: ASYNC110
                        await asyncio.sleep(self._retry_period)
            except TimeoutError:
                self._record("stopped leading")
                raise LeadershipLost(f"failed to renew lease {self._namespace}/{self._name}") from None

    async def _try(self) -> bool:
        try:
            return await self._try_acquire_or_renew()
        except errors.StatusError as error:
            log.log(
                logging.DEBUG if errors.is_conflict(error) else logging.WARNING,
                "error retrieving or updating lease %s/%s: %s",
                self._namespace,
                self._name,
                error,
            )
            return False

    async def _try_acquire_or_renew(self) -> bool:
        now = api_time.now_micro()
        if self._observed is not None and self.is_leader and self._valid():
            # the usual renewal: one write on what we wrote last; anything unexpected is looked at below
            try:
                self._observe(await self._api.update(self._record_for(self._observed, now)))
                return True
            except errors.StatusError as error:
                if not (errors.is_conflict(error) or errors.is_not_found(error)):
                    raise
        try:
            lease = await self._api.get(Lease, self._name, namespace=self._namespace)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
            fresh = Lease(metadata=ObjectMeta(name=self._name, namespace=self._namespace))
            self._observe(await self._api.create(self._record_for(fresh, now)))
            return True
        if self._observed is None or self._observed.spec != lease.spec:
            self._observe(lease)
        else:
            self._observed = lease  # its metadata may have changed all the same
        if lease.spec.holder_identity and not self.is_leader and self._valid():
            return False
        self._observe(await self._api.update(self._record_for(lease, now)))
        return True

    def _valid(self) -> bool:
        duration = self._lease_duration
        if self._observed is not None and self._observed.spec.lease_duration_seconds is not None:
            duration = self._observed.spec.lease_duration_seconds
        return time.monotonic() < self._observed_at + duration

    def _observe(self, lease: Lease) -> None:
        self._observed, self._observed_at = lease, time.monotonic()

    def _record_for(self, lease: Lease, now: str) -> Lease:
        ours = codec.deepcopy(lease)
        transitions = lease.spec.lease_transitions or 0
        acquired = lease.spec.acquire_time
        if lease.spec.holder_identity != self.identity:
            acquired = now
            if lease.metadata.resource_version:
                transitions += 1
        ours.spec = LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=int(self._lease_duration),
            acquire_time=acquired,
            renew_time=now,
            lease_transitions=transitions,
        )
        return ours

    async def _release(self) -> None:
        assert self._observed is not None
        lease = codec.deepcopy(self._observed)
        now = api_time.now_micro()
        lease.spec.holder_identity = ""
        lease.spec.lease_duration_seconds = 1
        lease.spec.renew_time = lease.spec.acquire_time = now
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                self._observe(await self._insist(lease))
        except (errors.StatusError, TimeoutError) as error:
            log.warning("failed to release lease %s/%s: %s", self._namespace, self._name, error)

    async def _insist(self, lease: Lease) -> Lease:
        """Update, as soon as an apiserver that is being replaced together with us is back."""
        while True:
            try:
                return await self._api.update(lease)
            except errors.StatusError as error:
                if not errors.is_service_unavailable(error):
                    raise
            await self._api.pause(0.5)

    def _record(self, words: str) -> None:
        if self._recorder is not None and self._observed is not None:
            self._recorder.event(self._observed, "Normal", "LeaderElection", f"{self.identity} {words}")
