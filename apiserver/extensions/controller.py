"""What happens to definitions in the background: names are accepted, kinds served, and objects removed with them.

Every server of a cluster runs it; all they do is idempotent, and what two do at once one of them does again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator

from api import errors
from api.types.apiextensions_v1 import CustomResourceDefinition
from api.types.meta_v1 import DeleteOptions
from apiserver.auth.source import RegistrySource
from apiserver.endpoint import Endpoint
from apiserver.extensions.cleanup import FINALIZER
from apiserver.extensions.names import approve, set_condition, settle
from apiserver.extensions.serving import Definitions
from apiserver.outbound import Caller
from apiserver.pipeline import delete as deleting
from apiserver.pipeline import read
from apiserver.registry import Registry
from apiserver.unconverted import converted

log = logging.getLogger(__name__)

_RETRY = 1.0  # seconds


class Extensions:
    """Make it once the registry has started; `running()` is its life."""

    def __init__(self, registry: Registry, caller: Caller) -> None:
        self._registry = registry
        self.definitions = Definitions(registry, caller)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve what is defined from the start, and follow the definitions until the end."""
        source = RegistrySource(self._registry)
        source.subscribe(CustomResourceDefinition, self._changed, self._reset)
        self._reset()
        task = asyncio.create_task(self._work(), name="custom resource definitions")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _changed(self, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None) -> None:
        definition = new or old
        assert definition is not None
        self.definitions.sync(definition.metadata.name or "")
        self._add(definition.metadata.name or "")
        if new is None:  # the names it had are free for others
            for other in self._registry.cached_list(CustomResourceDefinition):
                if other.spec.group == definition.spec.group:
                    self._add(other.metadata.name or "")

    def _reset(self) -> None:
        self.definitions.all()
        for definition in self._registry.cached_list(CustomResourceDefinition):
            self._add(definition.metadata.name or "")

    def _add(self, name: str) -> None:
        if name not in self._queued:
            self._queued.add(name)
            self._queue.put_nowait(name)

    async def _work(self) -> None:
        while True:
            name = await self._queue.get()
            self._queued.discard(name)
            try:
                again = await self._reconcile(name)
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    log.info("custom resource definition %s: %s", name, error)
                again = not errors.is_not_found(error)
            except Exception:
                log.exception("custom resource definition %s", name)
                again = True
            if again:
                asyncio.get_running_loop().call_later(_RETRY, self._add, name)

    async def _reconcile(self, name: str) -> bool:
        """Whether to come back."""
        definition = self._registry.cached(CustomResourceDefinition, name)
        if definition is None:
            return False
        if definition.metadata.deletion_timestamp:
            return await self._clean_up(definition)
        others = self._registry.cached_list(CustomResourceDefinition)

        def change(mine: CustomResourceDefinition) -> None:
            settle(mine, others)
            approve(mine)

        await self._registry.mutate(CustomResourceDefinition, name, change, subresource="status")
        return False

    async def _clean_up(self, definition: CustomResourceDefinition) -> bool:
        if FINALIZER not in (definition.metadata.finalizers or ()):
            return False
        name = definition.metadata.name or ""
        versions = self._registry.versions(definition.spec.group, definition.spec.names.plural)
        if versions:
            await self._condition(name, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
            left = await self._delete_instances(versions[0])
            if left:
                message = f"could not confirm zero CustomResources remaining: {left} left"
                log.info("custom resource definition %s: %s", name, message)
                return True
        await self._condition(name, "False", "InstanceDeletionCompleted", "removed all instances")

        def release(mine: CustomResourceDefinition) -> None:
            mine.metadata.finalizers = [f for f in mine.metadata.finalizers or () if f != FINALIZER] or None

        await self._registry.mutate(CustomResourceDefinition, name, release)
        return False

    async def _condition(self, name: str, status: str, reason: str, message: str) -> None:
        def change(mine: CustomResourceDefinition) -> None:
            set_condition(mine, "Terminating", status, reason, message)

        await self._registry.mutate(CustomResourceDefinition, name, change, subresource="status")

    async def _delete_instances(self, endpoint: Endpoint) -> int:
        """Delete all objects; answers how many are still there."""
        await read.caught_up(endpoint, self._registry.feed, "")
        for entry in list(endpoint.cache.range(endpoint.prefix)):
            ctx = self._registry.context(endpoint, entry.namespace, entry.name)
            options = DeleteOptions()
            ctx.options = options
            try:
                await converted(functools.partial(deleting.delete, endpoint, ctx, entry.key, options))
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
        await read.caught_up(endpoint, self._registry.feed, "")
        return len(endpoint.cache)
