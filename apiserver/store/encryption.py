"""Values encrypted before they reach the store: the providers of an EncryptionConfiguration file.

Each resource has a list of providers and each provider a list of keys: the first encrypts, all decrypt. What a value
was encrypted with stands before it (`k8s:enc:aesgcm:v1:<key name>:`), so keys are rotated by adding one, moving it to
the front, rewriting the objects and dropping the old one, without a moment in which something cannot be read. The key
of the store is authenticated along with the value: a ciphertext that is moved to another object does not decrypt.

Source: the "Encrypting Confidential Data at Rest" page of the Kubernetes documentation.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

_ENCRYPTED = b"k8s:enc:"
_API_VERSIONS = ("apiserver.config.k8s.io/v1",)
_BLOCK = 16  # bytes of an AES block
_NONCE = 12  # bytes, as NIST SP 800-38D recommends for GCM


class Undecryptable(Exception):
    """A stored value that no configured key can read."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f'unable to transform key "{key}": {why}')


class Key(Protocol):
    """One key of one provider; `prefix` marks what it wrote."""

    prefix: bytes

    def encrypt(self, value: bytes, context: bytes) -> bytes: ...

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        """Raises ValueError."""
        ...


class _AesGcm:
    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = f"k8s:enc:aesgcm:v1:{name}:".encode()
        self._cipher = AESGCM(secret)

    def encrypt(self, value: bytes, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, value, context)

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        try:
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], context)
        except InvalidTag:
            raise ValueError("cipher: message authentication failed") from None


class _AesCbc:
    """Kept for what it wrote: it authenticates nothing."""

    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = f"k8s:enc:aescbc:v1:{name}:".encode()
        self._algorithm = algorithms.AES(secret)

    def encrypt(self, value: bytes, context: bytes) -> bytes:
        vector = os.urandom(_BLOCK)
        padder = PKCS7(8 * _BLOCK).padder()
        encryptor = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        return vector + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if len(data) < 2 * _BLOCK or len(data) % _BLOCK:
            raise ValueError("the stored data is not a multiple of the block size")
        decryptor = Cipher(self._algorithm, modes.CBC(data[:_BLOCK])).decryptor()
        unpadder = PKCS7(8 * _BLOCK).unpadder()
        padded = decryptor.update(data[_BLOCK:]) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


class _Identity:
    """Plain text."""

    prefix = b""

    def encrypt(self, value: bytes, context: bytes) -> bytes:
        return value

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if data.startswith(_ENCRYPTED):
            raise ValueError("identity transformer tried to read encrypted data")
        return data


@dataclass(frozen=True)
class Transformer:
    """The keys of a resource: the first writes, all read."""

    keys: Sequence[Key]

    @property
    def prefix(self) -> bytes:
        """What a value written now begins with."""
        return self.keys[0].prefix

    def to_store(self, key: str, value: bytes) -> bytes:
        first = self.keys[0]
        return first.prefix + first.encrypt(value, key.encode())

    def from_store(self, key: str, data: bytes) -> tuple[bytes, bytes]:
        """The value, and the prefix of the key that read it. Raises Undecryptable."""
        why = "no matching prefix found"
        for candidate in self.keys:
            if not data.startswith(candidate.prefix):
                continue
            try:
                return candidate.decrypt(data[len(candidate.prefix) :], key.encode()), candidate.prefix
            except ValueError as error:
                why = str(error)
        raise Undecryptable(key, why)


class Configuration:
    """Which transformer a resource has; the first entry of the file that names the resource counts."""

    def __init__(self, entries: Sequence[tuple[frozenset[str], Transformer]]) -> None:
        self._entries = entries
        self._known: dict[tuple[str, str], Transformer | None] = {}

    def transformer(self, key: str) -> Transformer | None:
        """For a key of the store; None if its resource is kept as it is."""
        parts = key.split("/", 4)
        if len(parts) < 5 or parts[1] != "registry":
            return None
        resource = (parts[2], parts[3])
        if resource not in self._known:
            self._known[resource] = self._find(*resource)
        return self._known[resource]

    def _find(self, group: str, plural: str) -> Transformer | None:
        group = "" if group == "core" else group
        names = {f"{plural}.{group}" if group else plural, f"*.{group}", "*.*"}
        return next((transformer for resources, transformer in self._entries if names & resources), None)


def load(path: str | Path) -> Configuration:
    """Raises ValueError or OSError for a file that cannot be used."""
    try:
        document = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"error decoding encryption provider configuration file {str(path)!r}: {error}") from None
    if not isinstance(document, dict) or document.get("kind") != "EncryptionConfiguration":
        raise ValueError(f"encryption provider configuration file {str(path)!r} is no EncryptionConfiguration")
    if document.get("apiVersion") not in _API_VERSIONS:
        raise ValueError(f"no kind EncryptionConfiguration is registered for version {document.get('apiVersion')!r}")
    entries = document.get("resources")
    if not isinstance(entries, list) or not entries:
        raise ValueError("resources: Required value: at least one resource must be specified")
    return Configuration([_entry(f"resources[{index}]", entry) for index, entry in enumerate(entries)])


def _entry(path: str, entry: Any) -> tuple[frozenset[str], Transformer]:
    resources = entry.get("resources") if isinstance(entry, dict) else None
    if not isinstance(resources, list) or not resources or not all(isinstance(name, str) for name in resources):
        raise ValueError(f"{path}.resources: Required value: at least one resource must be specified")
    providers = entry.get("providers")
    if not isinstance(providers, list) or not providers:
        raise ValueError(f"{path}.providers: Required value: at least one provider must be specified")
    keys: list[Key] = []
    for index, provider in enumerate(providers):
        keys += _provider(f"{path}.providers[{index}]", provider)
    return frozenset(name.lower() for name in resources), Transformer(keys)


def _provider(path: str, provider: Any) -> list[Key]:
    if not isinstance(provider, dict) or len(provider) != 1:
        raise ValueError(f"{path}: Invalid value: exactly one provider must be specified per element")
    ((kind, settings),) = provider.items()
    if kind == "identity":
        return [_Identity()]
    if kind not in ("aesgcm", "aescbc"):
        raise ValueError(f"{path}.{kind}: Unsupported value: supported values: aescbc, aesgcm, identity")
    listed = (settings or {}).get("keys") if isinstance(settings, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path}.{kind}.keys: Required value: at least one key must be specified")
    make: Any = _AesGcm if kind == "aesgcm" else _AesCbc
    return [make(*_key(f"{path}.{kind}.keys[{index}]", key)) for index, key in enumerate(listed)]


def _key(path: str, key: Any) -> tuple[str, bytes]:
    """Never says the secret: configuration errors are logged."""
    name = key.get("name") if isinstance(key, dict) else None
    if not isinstance(name, str) or not name:
        raise ValueError(f"{path}.name: Required value: key must have a name")
    if ":" in name:
        raise ValueError(f"{path}.name: Invalid value: {name!r}: key name must not contain ':'")
    try:
        secret = base64.b64decode(str(key.get("secret", "")), validate=True)
    except binascii.Error:
        raise ValueError(f"{path}.secret: Invalid value: secret must be base64 encoded") from None
    if len(secret) not in (16, 24, 32):
        raise ValueError(f"{path}.secret: Invalid value: secret is not of the expected length, got {len(secret)}")
    return name, secret
