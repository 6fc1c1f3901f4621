"""Retires service account tokens in Secrets that nobody has used for a year (KEP-2799).

Invariants:
- only tokens that were made for an account by themselves (its `secrets` names them) are touched; one that a person
  asked for stays for ever;
- nothing is decided before use has been tracked for the whole period, which the apiserver's ConfigMap
  `kube-apiserver-legacy-service-account-token-tracking` tells by its `since`;
- a Secret that a pod mounts is in use, whatever its label says;
- it is first marked invalid, and deleted only when that has passed unnoticed for another period: a mark that somebody
  takes off begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from api import errors
from api import time as api_time
from api.types.core_v1 import ConfigMap, Pod, Secret, ServiceAccount
from controller_manager.context import Context
from controller_manager.security.service_account_tokens import NAME, TYPE, UID

log = logging.getLogger(__name__)

TRACKING_NAMESPACE, TRACKING = "kube-system", "kube-apiserver-legacy-service-account-token-tracking"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_EVERY = 24 * 3600.0


class LegacyTokenCleaner:
    def __init__(self, context: Context, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._api, self._clock = context.api, clock
        self._period = timedelta(seconds=context.settings.legacy_token_clean_up_period)
        self._accounts = context.informers.informer(ServiceAccount)
        self._secrets = context.informers.informer(Secret, fields=f"type={TYPE}")
        self._pods = context.informers.informer(Pod)

    async def run(self) -> None:
        while True:
            try:
                await self.clean()
            except errors.StatusError as error:
                log.warning("cannot clean up legacy tokens: %s", error)
            await asyncio.sleep(_EVERY)

    async def clean(self) -> None:
        """One look at all tokens."""
        now = self._clock()
        since = await self._tracked_since()
        if since is None or now.date() < since + self._period:
            return
        for secret in self._secrets.list():
            if self._is_unused(secret, now) and self._is_automatic(secret) and not self._is_mounted(secret):
                await self._retire(secret, now)

    async def _tracked_since(self) -> date | None:
        try:
            tracking = await self._api.get(ConfigMap, TRACKING, namespace=TRACKING_NAMESPACE)
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return None
            raise
        return _date((tracking.data or {}).get("since"))

    def _is_unused(self, secret: Secret, now: datetime) -> bool:
        created = secret.metadata.creation_timestamp
        if secret.metadata.deletion_timestamp or not created or api_time.parse(created) >= now - self._period:
            return False
        label = (secret.metadata.labels or {}).get(LAST_USED)
        if label is None:
            return True
        used = _date(label)
        if used is None:
            log.warning("%s/%s: unreadable %s", secret.metadata.namespace, secret.metadata.name, LAST_USED)
            return False
        return used < (now - self._period).date()

    def _is_automatic(self, secret: Secret) -> bool:
        annotations = secret.metadata.annotations or {}
        account = self._accounts.get(secret.metadata.namespace or "", annotations.get(NAME, ""))
        if account is None or annotations.get(UID) not in (None, account.metadata.uid):
            return False
        return any(ref.name == secret.metadata.name for ref in account.secrets or ())

    def _is_mounted(self, secret: Secret) -> bool:
        return any(
            volume.secret is not None and volume.secret.secret_name == secret.metadata.name
            for pod in self._pods.list(secret.metadata.namespace or "")
            for volume in pod.spec.volumes or ()
        )

    async def _retire(self, secret: Secret, now: datetime) -> None:
        meta = secret.metadata
        marked = _date((meta.labels or {}).get(INVALID_SINCE))
        try:
            if marked is None:
                change = {
                    "metadata": {
                        "labels": {INVALID_SINCE: now.date().isoformat()},
                        "uid": meta.uid,
                        "resourceVersion": meta.resource_version,
                    }
                }
                await self._api.patch(Secret, meta.name or "", change, namespace=meta.namespace or "")
                log.info("token %s/%s is unused, and invalid from now on", meta.namespace, meta.name)
            elif marked + self._period < now.date():
                await self._api.delete(
                    Secret,
                    meta.name or "",
                    namespace=meta.namespace or "",
                    uid=meta.uid,
                    resource_version=meta.resource_version,
                )
                log.info("token %s/%s was invalid for long enough, deleted", meta.namespace, meta.name)
        except errors.StatusError as error:
            if not (errors.is_not_found(error) or errors.is_conflict(error)):
                raise


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
