"""Signs the ConfigMap `cluster-info` in kube-public, so that a machine that joins with a token can trust it.

Invariants:
- for every bootstrap token that may sign (`usage-bootstrap-signing`) and has not expired there is one key
  `jws-kubeconfig-<token id>`: a detached JWS (RFC 7515, appendix F) of the key `kubeconfig`, with the token's secret;
- signatures of tokens that are gone, or of another kubeconfig, do not stay;
- nobody but its author makes or changes the rest: without the ConfigMap, or its kubeconfig, there is nothing to sign.
"""

from __future__ import annotations

import base64
import logging
import re
from datetime import UTC, datetime

from api import codec, detached_jws, errors
from api import time as api_time
from api.types.core_v1 import ConfigMap, Secret
from client.controller import Controller
from controller_manager.context import Context
from controller_manager.security.bootstrap_token_cleaner import NAMESPACE, TYPE

log = logging.getLogger(__name__)

CONFIG_NAMESPACE, CONFIG_NAME = "kube-public", "cluster-info"
KUBECONFIG, SIGNATURE = "kubeconfig", "jws-kubeconfig-"
_NAME = re.compile(r"bootstrap-token-([a-z0-9]{6})")


class BootstrapSigner:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        fields = f"metadata.name={CONFIG_NAME}"
        self._configs = context.informers.informer(ConfigMap, namespace=CONFIG_NAMESPACE, fields=fields)
        self._secrets = context.informers.informer(Secret, namespace=NAMESPACE, fields=f"type={TYPE}")
        self.controller: Controller[str] = Controller("bootstrap_signer_queue", self.reconcile, workers=1)
        self._configs.add_handler(on_add=self._wake, on_update=lambda _, new: self._wake(new))
        self._secrets.add_handler(on_add=self._wake, on_update=lambda _, new: self._wake(new), on_delete=self._wake)

    async def run(self) -> None:
        await self.controller.run()

    def _wake(self, _: ConfigMap | Secret) -> None:
        self.controller.enqueue(CONFIG_NAME)

    async def reconcile(self, name: str) -> float | None:
        config = self._configs.get(CONFIG_NAMESPACE, name)
        if config is None or KUBECONFIG not in (config.data or {}):
            return None
        data = config.data or {}
        tokens, wait = self._tokens()
        signatures = {
            f"{SIGNATURE}{token}": detached_jws.sign(data[KUBECONFIG], token, key) for token, key in tokens.items()
        }
        wanted = {k: v for k, v in data.items() if not k.startswith(SIGNATURE)} | signatures
        if wanted != data:
            changed = codec.deepcopy(config)
            changed.data = wanted
            try:
                await self._api.update(changed)
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
        return wait

    def _tokens(self) -> tuple[dict[str, str], float | None]:
        """Secrets by the ids of the tokens that may sign, and the seconds until the first of them expires."""
        found: dict[str, str] = {}
        wait: float | None = None
        for secret in self._secrets.list(NAMESPACE):
            data = {k: base64.b64decode(v).decode(errors="replace") for k, v in (secret.data or {}).items()}
            match = _NAME.fullmatch(secret.metadata.name or "")
            if match is None or match[1] != data.get("token-id") or not data.get("token-secret"):
                continue
            if data.get("usage-bootstrap-signing") != "true" or secret.metadata.deletion_timestamp:
                continue
            if data.get("expiration"):
                try:
                    left = (api_time.parse(data["expiration"]) - datetime.now(UTC)).total_seconds()
                except ValueError:
                    log.warning("bootstrap token %s has an unreadable expiration", match[1])
                    continue
                if left <= 0:
                    continue
                wait = left if wait is None else min(wait, left)
            found[match[1]] = data["token-secret"]
        return found, wait
