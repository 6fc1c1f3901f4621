"""What the cluster says now: our ingresses as routes, their Secrets as certificates, rebuilt when one of them changes.

Changes that come together are looked at once. What an ingress asks for and cannot have is told by an event about it,
once as long as it lasts.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

from addons.ingress import certificates
from addons.ingress.certificates import Certificates
from addons.ingress.classes import Classes
from addons.ingress.endpoints import Endpoints
from addons.ingress.routes import Routes, backends
from api.types.core_v1 import Secret, Service
from api.types.discovery_v1 import EndpointSlice
from api.types.networking_v1 import Ingress, IngressClass
from client.api import Api
from client.informer import Informer

log = logging.getLogger(__name__)

Warn = Callable[[Ingress, str, str], None]
"""Told an ingress, a reason and a message."""

_GATHER = 0.02
"""Seconds in which changes are gathered: an apply of twenty ingresses is one rebuild."""


def only_certificate(secret: Secret) -> Secret:
    """Of Secrets nothing is kept that is not to be shown to TLS clients."""
    wanted = (certificates.CERTIFICATE, certificates.KEY)
    secret.data = {name: value for name, value in (secret.data or {}).items() if name in wanted} or None
    secret.metadata.annotations = None
    secret.metadata.managed_fields = None
    return secret


class State:
    def __init__(self, api: Api, shown: Certificates, warn: Warn) -> None:
        self.ingresses = Informer(api, Ingress)
        self.services = Informer(api, Service)
        self.routes = Routes()
        self._classes = Informer(api, IngressClass)
        self._slices = Informer(api, EndpointSlice)
        self._secrets = Informer(api, Secret, transform=only_certificate)
        self.endpoints = Endpoints(self.services, self._slices)
        self._shown = shown
        self._warn = warn
        self._loaded: dict[tuple[str, str], tuple[str, ssl.SSLContext | None, list[str], str]] = {}
        self._told: dict[tuple[str, str], set[str]] = {}
        self._stale = asyncio.Event()
        self._built = False
        self._watchers: list[Callable[[], None]] = []
        informers: list[Informer[Any]] = [self.ingresses, self._classes, self._secrets]
        for informer in informers:
            informer.add_handler(
                on_add=lambda _: self._stale.set(),
                on_update=self._updated,
                on_delete=lambda _: self._stale.set(),
            )

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        informers: list[Informer[Any]] = [
            self.ingresses,
            self._classes,
            self._secrets,
            self.services,
            self._slices,
        ]
        async with asyncio.TaskGroup() as tasks:
            for informer in informers:
                tasks.create_task(informer.run())
            for informer in informers:
                await informer.synced()
            while True:
                self._stale.clear()
                self._rebuild()
                await self._stale.wait()
                await asyncio.sleep(_GATHER)

    def has_synced(self) -> bool:
        return self._built

    def on_rebuilt(self, callback: Callable[[], None]) -> None:
        """Called after a change of what is ours."""
        self._watchers.append(callback)

    def serves(self, ingress: Ingress) -> bool:
        """Whether an ingress is ours."""
        return Classes(self._classes.list()).serves(ingress)

    def _updated(self, old: Any, new: Any) -> None:
        """Our own writes of status change nothing here."""
        if not isinstance(new, Ingress) or (old.spec, old.metadata.annotations) != (new.spec, new.metadata.annotations):
            self._stale.set()

    def _rebuild(self) -> None:
        classes = Classes(self._classes.list())
        ours = [ingress for ingress in self.ingresses.list() if classes.serves(ingress)]
        self.routes = Routes(ours)
        contexts: dict[str, ssl.SSLContext] = {}
        used: set[tuple[str, str]] = set()
        for ingress in sorted(ours, key=lambda i: str(i.metadata.creation_timestamp or "")):
            problems = self._certificates(ingress, contexts, used)
            if any(backend.resource is not None for backend in backends(ingress)):
                problems["UnsupportedBackend"] = "resource backends are not supported, only services"
            self._tell(ingress, problems)
        self._shown.show(contexts)
        for key in self._loaded.keys() - used:
            del self._loaded[key]
        for key in self._told.keys() - {(i.metadata.namespace or "", i.metadata.name or "") for i in ours}:
            del self._told[key]
        self._built = True
        for callback in self._watchers:
            callback()

    def _certificates(
        self, ingress: Ingress, contexts: dict[str, ssl.SSLContext], used: set[tuple[str, str]]
    ) -> dict[str, str]:
        """Adds those of an ingress; an entry without hosts is for those that its certificate names."""
        problems: dict[str, str] = {}
        for entry in ingress.spec.tls or ():
            if not entry.secret_name:
                continue  # the fallback is what it asks for
            key = (ingress.metadata.namespace or "", entry.secret_name)
            used.add(key)
            context, named, wrong = self._load(*key)
            if context is None:
                problems["BadCertificate"] = f'secret "{entry.secret_name}": {wrong}'
                continue
            for host in entry.hosts or named:
                contexts.setdefault(host.lower(), context)
        return problems

    def _load(self, namespace: str, name: str) -> tuple[ssl.SSLContext | None, list[str], str]:
        secret = self._secrets.get(namespace, name)
        if secret is None:
            return None, [], "it does not exist"
        version = secret.metadata.resource_version or ""
        known = self._loaded.get((namespace, name))
        if known is None or known[0] != version:
            try:
                known = (version, *certificates.load(secret), "")
            except ValueError as error:
                known = (version, None, [], str(error))
            self._loaded[namespace, name] = known
        return known[1:]

    def _tell(self, ingress: Ingress, problems: dict[str, str]) -> None:
        key = (ingress.metadata.namespace or "", ingress.metadata.name or "")
        told = self._told.get(key, set())
        for reason, message in problems.items():
            if message not in told:
                log.warning("ingress %s/%s: %s", *key, message)
                self._warn(ingress, reason, message)
        self._told[key] = set(problems.values())
