"""What describers may ask the server for beside the object itself."""

from __future__ import annotations

from typing import Any

from cli.discovery import Mapping
from cli.env import Env
from cli.errors import ApiError, Object
from cli.objects import dig, label_selector_text, name_of, namespace_of


class Inspector:
    def __init__(self, env: Env, mapping: Mapping, *, show_events: bool, chunk: int = 500) -> None:
        self.env = env
        self.mapping = mapping
        self.show_events = show_events
        self.chunk = chunk

    async def items(self, path: str, **query: Any) -> list[Object]:
        """A list that may be missing or forbidden: then it is empty, and the description goes on without it."""
        try:
            answer = await self.env.client.get(path, query=query)
        except ApiError as problem:
            if problem.code in (403, 404):
                return []
            raise
        return list(answer.get("items") or [])

    async def one(self, path: str) -> Object | None:
        try:
            return await self.env.client.get(path)
        except ApiError as problem:
            if problem.code in (403, 404):
                return None
            raise

    async def events(self, obj: Object, *, uid: str | None = None) -> list[Object] | None:
        """The object's events, or None when they are not to be shown."""
        if not self.show_events:
            return None
        namespace = namespace_of(obj)
        fields = {
            "involvedObject.name": name_of(obj),
            "involvedObject.namespace": namespace,
            "involvedObject.kind": self.mapping.kind,
            "involvedObject.uid": dig(obj, "metadata", "uid", default="") if uid is None else uid,
        }
        selector = ",".join(f"{key}={value}" for key, value in fields.items() if value)
        path = f"/api/v1/namespaces/{namespace}/events" if namespace else "/api/v1/events"
        return await self.items(path, fieldSelector=selector, limit=self.chunk)

    async def pods_of(self, obj: Object, *, owned: bool = True) -> list[Object]:
        """The pods its selector matches; only those it owns, unless told otherwise."""
        selector = dig(obj, "spec", "selector", default={})
        path = f"/api/v1/namespaces/{namespace_of(obj)}/pods"
        pods = await self.items(path, labelSelector=label_selector_text(selector))
        uid = dig(obj, "metadata", "uid")
        if not owned:
            return pods
        return [
            pod
            for pod in pods
            if any(ref.get("uid") == uid for ref in dig(pod, "metadata", "ownerReferences", default=[]))
        ]

    async def pod_phases(self, obj: Object) -> str:
        """`3 Running / 0 Waiting / 0 Succeeded / 0 Failed`."""
        phases = [dig(pod, "status", "phase") for pod in await self.pods_of(obj)]
        counts = (("Running", "Running"), ("Pending", "Waiting"), ("Succeeded", "Succeeded"), ("Failed", "Failed"))
        return " / ".join(f"{phases.count(phase)} {word}" for phase, word in counts)
