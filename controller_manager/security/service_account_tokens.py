"""Tokens in Secrets: each Secret of type kubernetes.io/service-account-token has its account's token and the CA.

The old way, which people still use for tokens that do not end. Such a Secret goes with its account, and its content is
put back if somebody takes it away.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from api import codec, errors
from api.types.core_v1 import Secret, ServiceAccount
from client.controller import Controller
from client.store import Key, key_of
from controller_manager.context import Context

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
_CLAIM = "kubernetes.io/serviceaccount/"


class ServiceAccountTokensController:
    def __init__(self, context: Context) -> None:
        self._api, self._settings = context.api, context.settings
        self._accounts = context.informers.informer(ServiceAccount)
        self._secrets = context.informers.informer(Secret, fields=f"type={TYPE}")
        self.controller: Controller[Key] = Controller("serviceaccount_tokens_secret", self.reconcile, workers=4)
        self._secrets.add_handler(
            on_add=lambda s: self.controller.enqueue(key_of(s)),
            on_update=lambda _, s: self.controller.enqueue(key_of(s)),
        )
        self._accounts.add_handler(on_add=self._account_changed, on_delete=self._account_changed)

    async def run(self) -> None:
        if self._settings.service_account_key_file:
            await self.controller.run()

    def _account_changed(self, account: ServiceAccount) -> None:
        for secret in self._secrets.list(account.metadata.namespace or ""):
            if (secret.metadata.annotations or {}).get(NAME) == account.metadata.name:
                self.controller.enqueue(key_of(secret))

    async def reconcile(self, key: Key) -> float | None:
        secret = self._secrets.get(*key)
        if secret is None or secret.type != TYPE:
            return None
        annotations = secret.metadata.annotations or {}
        account = await self._account(key[0], annotations.get(NAME, ""), annotations.get(UID))
        if account is None:
            try:
                await self._api.delete(Secret, key[1], namespace=key[0], uid=secret.metadata.uid)
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
            return None
        wanted = {
            "ca.crt": self._settings.root_ca.encode(),
            "namespace": key[0].encode(),
        }
        data = secret.data or {}
        if not data.get("token"):
            wanted["token"] = self._token(secret, account).encode()
        changed = codec.deepcopy(secret)
        changed.data = {**data, **{k: base64.b64encode(v).decode() for k, v in wanted.items() if v}}
        changed.metadata.annotations = {**annotations, UID: account.metadata.uid or ""}
        if changed != secret:
            await self._api.update(changed)
        return None

    async def _account(self, namespace: str, name: str, uid: str | None) -> ServiceAccount | None:
        """The account, if it exists and is the one that the Secret was made for."""
        found = self._accounts.get(namespace, name)
        if found is None:
            try:
                found = await self._api.get(ServiceAccount, name, namespace=namespace)
            except errors.StatusError as error:
                if errors.is_not_found(error):
                    return None
                raise
        return found if uid in (None, "", found.metadata.uid) else None

    def _token(self, secret: Secret, account: ServiceAccount) -> str:
        # imported when there is such a Secret: most clusters have none, and the libraries are large
        import jwt
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key: Any = serialization.load_pem_private_key(
            Path(self._settings.service_account_key_file).read_bytes(), password=None
        )
        meta = account.metadata
        claims = {
            "iss": "kubernetes/serviceaccount",
            "sub": f"system:serviceaccount:{meta.namespace}:{meta.name}",
            f"{_CLAIM}namespace": meta.namespace,
            f"{_CLAIM}secret.name": secret.metadata.name,
            f"{_CLAIM}service-account.name": meta.name,
            f"{_CLAIM}service-account.uid": meta.uid,
        }
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id(key)})


def key_id(key: Any) -> str:
    """What upstream calls a key: the hash of its public half (DER), URL-safe without padding."""
    from cryptography.hazmat.primitives import serialization

    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
