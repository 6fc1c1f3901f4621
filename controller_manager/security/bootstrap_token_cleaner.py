"""Deletes bootstrap tokens (Secrets of their type in kube-system) when they have expired."""

from __future__ import annotations

import base64
import logging
from datetime import UTC, datetime

from api import errors
from api import time as api_time
from api.types.core_v1 import Secret
from client.controller import Controller
from client.store import Key, key_of
from controller_manager.context import Context

log = logging.getLogger(__name__)

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"


class BootstrapTokenCleaner:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._secrets = context.informers.informer(Secret, namespace=NAMESPACE, fields=f"type={TYPE}")
        self.controller: Controller[Key] = Controller("token_cleaner", self.reconcile, workers=1)
        self._secrets.add_handler(
            on_add=lambda s: self.controller.enqueue(key_of(s)),
            on_update=lambda _, s: self.controller.enqueue(key_of(s)),
        )

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> float | None:
        secret = self._secrets.get(*key)
        if secret is None:
            return None
        text = base64.b64decode((secret.data or {}).get("expiration", "")).decode(errors="replace")
        if not text:
            return None
        try:
            left = (api_time.parse(text) - datetime.now(UTC)).total_seconds()
        except ValueError:
            log.warning("bootstrap token %s has an unreadable expiration, deleting it", key[1])
            left = 0.0
        if left > 0:
            return left
        try:
            await self._api.delete(Secret, key[1], namespace=key[0], uid=secret.metadata.uid)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        return None
