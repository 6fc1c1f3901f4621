"""Tells the API server what became of the pods: only what changed, newest state only, many pods in one call.

One patch of a pod is under way at a time; what is set meanwhile replaces what waits. Fields and conditions that others
own are never touched (a strategic merge patch names only the kubelet's). While the API server is away the newest
statuses wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from api import codec, errors
from api.types.core_v1 import Pod, PodStatus
from client import Api, Patch
from kubelet import podutil
from kubelet.view import OWNED_CONDITIONS

log = logging.getLogger(__name__)

RETRY_INITIAL, RETRY_MAXIMUM = 0.1, 5.0  # seconds

#: Top-level fields of a PodStatus that the kubelet writes, by their JSON names.
_FIELDS = (
    "phase", "reason", "message", "hostIP", "podIP", "startTime", "qosClass", "observedGeneration",
    "initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses", "resize",
)  # fmt: skip
_CONDITION_FIELDS = (
    "type", "status", "reason", "message", "lastTransitionTime", "lastProbeTime", "observedGeneration",
)  # fmt: skip


_CONDITION_ORDER = ("DisruptionTarget", *OWNED_CONDITIONS)


@dataclass(slots=True)
class _Entry:
    pod: Pod
    wanted: dict[str, Any]
    sent: dict[str, Any] | None
    sending: bool = False
    revision: int = 0  # of the API's object after what was sent last
    clean: asyncio.Event = field(default_factory=asyncio.Event)


def owned(status: PodStatus) -> dict[str, Any]:
    """The kubelet's part of a status as JSON values, to be compared."""
    values = codec.to_dict(status)
    mine = {name: values[name] for name in _FIELDS if values.get(name) not in (None, "", [])}
    for name in ("podIPs", "hostIPs"):
        if values.get(name):
            mine[name] = values[name]
    conditions = {c["type"]: c for c in values.get("conditions") or () if c["type"] in _CONDITION_ORDER}
    mine["conditions"] = [conditions[kind] for kind in _CONDITION_ORDER if kind in conditions]
    return mine


def _readiness(values: dict[str, Any]) -> str | None:
    return next((c["status"] for c in values["conditions"] if c["type"] == "Ready"), None)


def patch_body(pod: Pod, wanted: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """A strategic merge patch that turns the kubelet's part of a status from `before` into `wanted`."""
    change: dict[str, Any] = {}
    for name in _FIELDS:
        if wanted.get(name) != before.get(name):
            change[name] = wanted.get(name)
    for name in ("podIPs", "hostIPs"):
        if wanted.get(name) != before.get(name):
            change[name] = [{"$patch": "replace"}, *wanted.get(name, ())]
    old = {c["type"]: c for c in before.get("conditions", ())}
    conditions = [
        {name: condition.get(name) for name in _CONDITION_FIELDS if name in condition or name in old.get(kind, {})}
        for condition in wanted["conditions"]
        if condition != old.get(kind := condition["type"])
    ]
    gone = [
        kind for kind in old if kind.startswith("PodResize") and kind not in {c["type"] for c in wanted["conditions"]}
    ]
    conditions += [{"type": kind, "$patch": "delete"} for kind in gone]
    if conditions:
        change["conditions"] = conditions
        change["$setElementOrder/conditions"] = [{"type": c["type"]} for c in wanted["conditions"]]
    return {"metadata": {"uid": podutil.uid(pod)}, "status": change}


class StatusManager:
    def __init__(self, api: Api) -> None:
        self._api = api
        #: The API object that shows a static pod's status, None while there is none.
        self.mirror: Callable[[Pod], Pod | None] = lambda pod: None
        self._entries: dict[str, _Entry] = {}
        self._dirty = asyncio.Event()

    def adopt(self, pod: Pod) -> None:
        """Remember what the API server holds now, so that nothing is sent that it already knows."""
        uid = podutil.uid(pod)
        if uid not in self._entries:
            known = owned(pod.status)
            self._entries[uid] = _Entry(pod, known, known)
            self._entries[uid].clean.set()

    def set(self, pod: Pod, status: PodStatus) -> None:
        """The pod's status from now on."""
        self.adopt(pod)
        entry = self._entries[podutil.uid(pod)]
        entry.pod = pod
        wanted = owned(status)
        if wanted == entry.wanted and (entry.sending or not entry.clean.is_set() or wanted == entry.sent):
            return
        entry.wanted = wanted
        entry.clean.clear()
        self._dirty.set()

    async def flush(self, uid: str) -> None:
        """Returns when the API server has the newest status of a pod (or the pod is gone)."""
        if entry := self._entries.get(uid):
            await entry.clean.wait()

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        if entry := self._entries.pop(uid, None):
            entry.clean.set()

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                ready = [e for e in self._entries.values() if self._is_ready(e)]
                if ready:
                    for entry in ready:
                        entry.sending = True
                    group.create_task(self._send(ready))

    def _is_ready(self, entry: _Entry) -> bool:
        return not entry.clean.is_set() and not entry.sending and self._shown_by(entry.pod) is not None

    def _shown_by(self, pod: Pod) -> Pod | None:
        return self.mirror(pod) if podutil.is_static(pod) else pod

    def resend(self, uid: str) -> None:
        """The API server has forgotten what it was told of a pod: tell all of it again."""
        if entry := self._entries.get(uid):
            entry.sent = None
            entry.clean.clear()
            self._dirty.set()

    def observed(self, pod: Pod) -> None:
        """What the API server holds now. Whoever else declares the pod (not) ready is contradicted: it is the node
        controller, which did not hear of this node for a while."""
        entry = self._entries.get(podutil.uid(pod))
        if entry is None or entry.sending or not entry.clean.is_set():
            return
        if int(pod.metadata.resource_version or 0) > entry.revision and _readiness(owned(pod.status)) != _readiness(
            entry.wanted
        ):
            self.resend(podutil.uid(pod))

    async def _send(self, entries: list[_Entry]) -> None:
        delay = RETRY_INITIAL
        while entries:
            bodies = [entry.wanted for entry in entries]
            outcomes = await self._api.batch([self._patch(entry) for entry in entries])
            again: list[_Entry] = []
            for entry, body, outcome in zip(entries, bodies, outcomes, strict=True):
                if isinstance(outcome, errors.StatusError) and not self._final(entry, outcome):
                    again.append(entry)
                else:
                    if isinstance(outcome, Pod):
                        entry.revision = int(outcome.metadata.resource_version or 0)
                    self._sent(entry, body)
            entries = [e for e in again if self._entries.get(podutil.uid(e.pod)) is e]
            if entries:
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MAXIMUM)

    def _patch(self, entry: _Entry) -> Patch:
        shown = self._shown_by(entry.pod) or entry.pod
        body = patch_body(shown, entry.wanted, entry.sent or {})
        return Patch(Pod, podutil.name(shown), body, podutil.namespace(shown), "strategic", "status")

    def _final(self, entry: _Entry, error: errors.StatusError) -> bool:
        """Is it useless to try again? The pod is gone, or it is another one by now, or the status is refused."""
        if error.code in (404, 409, 422, 400, 403):
            level = logging.DEBUG if error.code in (404, 409) else logging.WARNING
            log.log(level, "status of pod %s: %s", podutil.key(entry.pod), error)
            return True
        log.info("status of pod %s: %s; trying again", podutil.key(entry.pod), error)
        return False

    def _sent(self, entry: _Entry, body: dict[str, Any]) -> None:
        entry.sent = body
        entry.sending = False
        if entry.wanted == body:
            entry.clean.set()
        else:
            self._dirty.set()
