"""Which groups others serve, whether they answer, and passing requests on to them.

An APIService exists for every group and version, also for those served here (upstream's autoregistration), so that
clients see all of them alike. Remote ones are asked for their discovery document, again and again; what they answer is
what this server's own discovery shows of them. Source: kube-aggregator.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from api import errors
from api import time as api_time
from api.types.apiregistration_v1 import APIService, APIServiceCondition, APIServiceSpec
from api.types.meta_v1 import ObjectMeta, Status
from apiserver.aggregation.openapi import Documents
from apiserver.aggregation.remote import FrontProxy, Remotes, identity, publish
from apiserver.auth import User
from apiserver.auth.source import RegistrySource
from apiserver.outbound import CallFailed
from apiserver.registry import SERVER, Registry
from apiserver.rest.streams.relaying import headers_of, relay, relay_upgrade, wants_upgrade

log = logging.getLogger(__name__)

_AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
_INTERVAL = 10.0  # seconds between questions to a server that answers
_RETRY = 1.0  # and to one that does not
_QUESTION = aiohttp.ClientTimeout(total=5)
_PRIORITIES = {"": (18000, 1), "apps": (17800, 15), "apiregistration.k8s.io": (20000, 18)}


class Aggregator:
    """`running()` is its life; `service` and `relay` are what the REST face asks."""

    def __init__(self, registry: Registry, proxy: FrontProxy, on_registered: Callable[[], None] = lambda: None) -> None:
        self._registry = registry
        self._on_registered = on_registered  # called when every group that is served here has its APIService
        self._proxy = proxy
        self._remotes = Remotes(registry, proxy)
        self._discovered: dict[str, list[dict[str, Any]]] = {}
        self.documents = Documents()
        self._wake = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the end."""
        self._registry.on_change.append(self._wake.set)
        RegistrySource(self._registry).subscribe(APIService, self._registered, self._wake.set)
        task = asyncio.create_task(self._work(), name="aggregation")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._remotes.close()

    # -- requests -------------------------------------------------------------------------------------------------

    def service(self, path: str) -> APIService | None:
        """The APIService that has another server behind it for this path."""
        parts = path.split("/", 4)
        if len(parts) < 4 or parts[1] != "apis":
            return None
        found = self._registry.cached(APIService, f"{parts[3]}.{parts[2]}")
        return found if found is not None and found.spec.service is not None else None

    async def relay(self, request: web.BaseRequest, service: APIService, user: User) -> web.StreamResponse:
        """Pass a request on, and its answer back. Raises StatusError 503."""
        if not _available(service):
            raise errors.service_unavailable("service unavailable")
        headers = [(key, value) for key, value in headers_of(request) if not _tells_who(key)]
        headers += [*identity(user), ("X-Forwarded-For", request.remote or ""), ("X-Forwarded-Host", request.host)]
        headers += [("X-Forwarded-Uri", request.path), ("X-Forwarded-Proto", "https")]
        target = request.rel_url.raw_path_qs
        try:
            if wants_upgrade(request):
                return await relay_upgrade(request, self._remotes.backend(service), target, headers)
            session, base = self._remotes.session(service)
            return await relay(request, session, URL(base + target, encoded=True), headers)
        except (CallFailed, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if isinstance(error, ConnectionResetError):
                raise  # the client has gone
            log.info("%s: %s", service.metadata.name, error)
            raise errors.service_unavailable(f"error trying to reach service: {error}") from None

    async def fetch(self, user: User, path: str, query: Mapping[str, str]) -> bytes:
        """What another server answers to a GET on behalf of `user`. Raises StatusError."""
        service = self.service(path)
        if service is None or not _available(service):
            raise errors.service_unavailable("service unavailable")
        headers = [*identity(user), ("Accept", "application/json")]
        try:
            session, base = self._remotes.session(service)
            async with session.get(base + path, params=query, headers=headers, timeout=_QUESTION) as answer:
                data = await answer.read()
        except (CallFailed, aiohttp.ClientError, TimeoutError) as error:
            log.info("%s: %s", service.metadata.name, error)
            raise errors.service_unavailable(f"error trying to reach service: {error}") from None
        if answer.status == 200:
            return data
        raise _refusal(answer.status, data)

    # -- discovery ------------------------------------------------------------------------------------------------

    def resources(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """The resources (as in an APIResourceList) of every group and version that another server serves."""
        found = {}
        for service in self._registry.cached_list(APIService):
            if service.spec.service is not None:
                key = (service.spec.group or "", service.spec.version or "")
                found[key] = self._discovered.get(service.metadata.name or "", [])
        return found

    def _registered(self, old: APIService | None, new: APIService | None) -> None:
        if old is None or new is None or old.spec != new.spec:
            self._wake.set()

    # -- in the background ----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            settled = True
            try:
                await publish(self._registry, self._proxy)
                await self._register()
                self._on_registered()
                remote = [s for s in self._registry.cached_list(APIService) if s.spec.service is not None]
                for service in remote:
                    settled &= await self._check(service)
                if self.documents.forget({service.metadata.name or "" for service in remote}):
                    self._changed()
            except errors.StatusError as error:
                log.info("aggregation: %s", error)
            except Exception:
                log.exception("aggregation")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _INTERVAL if settled else _RETRY)

    async def _register(self) -> None:
        """An APIService for every group and version that is served here, none for those that are not any more."""
        served = {(e.resource.group, e.resource.version): e.custom for e in self._registry.endpoints}
        known = {service.metadata.name or "": service for service in self._registry.cached_list(APIService)}
        for (group, version), custom in served.items():
            name = f"{version}.{group}"
            if name not in known:
                await self._create(group, version, custom)
        for name, service in known.items():
            labels = service.metadata.labels or {}
            gone = (service.spec.group or "", service.spec.version or "") not in served
            if labels.get(_AUTOMANAGED) == "true" and gone:
                with contextlib.suppress(errors.StatusError):
                    await self._registry.delete(APIService, name)

    async def _create(self, group: str, version: str, custom: bool) -> None:
        minimum, priority = _PRIORITIES.get(group, (17000, 15)) if not custom else (1000, 100)
        service = APIService(
            metadata=ObjectMeta(name=f"{version}.{group}", labels={_AUTOMANAGED: "true" if custom else "onstart"}),
            spec=APIServiceSpec(
                group=group or None, version=version, group_priority_minimum=minimum, version_priority=priority
            ),
        )
        try:
            await self._registry.create(service)
        except errors.StatusError as error:
            if not errors.is_already_exists(error):
                raise

    async def _check(self, service: APIService) -> bool:
        """Ask a remote server for its discovery document, and note whether it answered."""
        name, spec = service.metadata.name or "", service.spec
        path = f"/apis/{spec.group}/{spec.version}"
        assert spec.service is not None
        where = f"{spec.service.namespace}/{spec.service.name}"
        try:
            session, base = self._remotes.session(service)
        except CallFailed as error:
            reason = "ServiceNotFound" if "not found" in str(error) else "MissingEndpoints"
            if reason == "ServiceNotFound":
                message = f'service/{spec.service.name} in "{spec.service.namespace}" is not present'
            else:
                message = f'endpoints for service/{spec.service.name} in "{spec.service.namespace}" have no addresses'
            await self._note(name, False, reason, message)
            return False
        url = f"{base}{path}"
        try:
            headers = [*identity(SERVER), ("Accept", "application/json")]
            async with session.get(url, headers=headers, timeout=_QUESTION) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise ValueError(f"bad status from {url}: {answer.status}")
                document = msgspec.json.decode(body)
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            text = str(error) or type(error).__name__
            message = f"failing or missing response from {url}: {text}"
            await self._note(name, False, "FailedDiscoveryCheck", message)
            log.debug("aggregated service %s at %s: %s", name, where, text)
            return False
        resources = document.get("resources") if isinstance(document, dict) else None
        changed = self._discovered.get(name) != (resources or [])
        self._discovered[name] = resources or []
        changed |= await self._documents_of(spec, name, session, base)
        if changed:
            self._changed()
        await self._note(name, True, "Passed", "all checks passed")
        return True

    async def _documents_of(self, spec: APIServiceSpec, name: str, session: aiohttp.ClientSession, base: str) -> bool:
        async def get(path: str) -> bytes | None:
            headers = [*identity(SERVER), ("Accept", "application/json"), ("Accept-Encoding", "identity")]
            async with session.get(URL(base + path, encoded=True), headers=headers, timeout=_QUESTION) as answer:
                body = await answer.read()
                return body if answer.status == 200 else None

        try:
            return await self.documents.refresh(name, spec.group or "", spec.version or "", get)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("the OpenAPI documents of %s: %s", name, error)
            return False

    def _changed(self) -> None:
        """What other servers serve has changed: discovery and the OpenAPI documents are to be made anew."""
        for changed in self._registry.on_change:
            if changed != self._wake.set:
                changed()

    async def _note(self, name: str, available: bool, reason: str, message: str) -> None:
        status = "True" if available else "False"

        def change(mine: APIService) -> None:
            known = next((c for c in mine.status.conditions or () if c.type == "Available"), None)
            if known is not None and (known.status, known.reason, known.message) == (status, reason, message):
                return
            same = known is not None and known.status == status
            mine.status.conditions = [
                APIServiceCondition(
                    type="Available",
                    status=status,
                    reason=reason,
                    message=message,
                    last_transition_time=known.last_transition_time if same and known else api_time.now(),
                )
            ]

        try:
            await self._registry.mutate(APIService, name, change, subresource="status")
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise


def _available(service: APIService) -> bool:
    return any(c.type == "Available" and c.status == "True" for c in service.status.conditions or ())


def _tells_who(header: str) -> bool:
    """Headers that would tell who asks: that is for this server to say."""
    return header.lower().startswith(("x-remote-", "impersonate-"))


def _refusal(code: int, data: bytes) -> errors.StatusError:
    """Another server's error, in its own words if it has said it as a Status."""
    try:
        return errors.StatusError(msgspec.json.decode(data, type=Status))
    except msgspec.DecodeError:
        return errors.generic(code, "get", "", "", data.decode(errors="replace")[:200])
