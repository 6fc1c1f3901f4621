"""Between the versions of a custom kind: renaming (strategy None), or asking a webhook.

The pipeline converts where it needs to, synchronously; a webhook is not synchronous. So what a webhook answered is
remembered, and a conversion that is not known yet raises `Unconverted`: whoever runs the request waits for `resolve`
and runs it again. Lists and watches ask ahead for everything that they are about to send (`Endpoint.prepare`).
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec

from api import codec, errors
from api.types.apiextensions_v1 import WebhookConversion
from api.types.meta_v1 import Status, StatusDetails
from api.unstructured import Unstructured
from apiserver.outbound import Caller, CallFailed
from apiserver.unconverted import Unconverted

_REMEMBERED = 50_000
_IN_ONE_REVIEW = 500
_TIMEOUT = 30.0  # seconds, upstream's
_IMMUTABLE = ("name", "namespace", "uid")
_CHANGEABLE = ("labels", "annotations")


class _Missing(Unconverted):
    """A conversion that the webhook has not been asked for."""

    def __init__(self, converter: WebhookConverter, document: bytes, version: str) -> None:
        super().__init__(f"not converted to {version} yet")
        self._converter, self._document, self._version = converter, document, version

    async def resolve(self) -> None:
        """Ask. Raises StatusError if the webhook fails."""
        await self._converter.ask([self._document], self._version)


class Renamer:
    """Strategy None: the versions differ in their name, and in what their schemas prune and default."""

    def convert(self, obj: Unstructured, target: type[Unstructured]) -> Unstructured:
        if type(obj) is target:
            return obj
        return target.build({**codec.to_dict(obj), "apiVersion": target.version})

    async def prepare(self, documents: Iterable[bytes], target: type[Unstructured]) -> None:
        """Nothing has to be asked."""


class WebhookConverter:
    """Strategy Webhook."""

    def __init__(self, webhook: WebhookConversion, kind: str, caller: Caller) -> None:
        self._webhook = webhook
        self._kind = kind
        self._caller = caller
        self._known: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()

    def convert(self, obj: Unstructured, target: type[Unstructured]) -> Unstructured:
        if obj.api_version == target.version:
            return obj if type(obj) is target else target.build(codec.to_dict(obj))
        if not obj.metadata.name and not obj.metadata.generate_name:
            return target.build({**codec.to_dict(obj), "apiVersion": target.version})  # the empty object
        found = self._known.get((target.version, _essence(obj)))
        if found is None:
            raise _Missing(self, codec.encode(obj), target.version)
        document = msgspec.json.decode(found)
        changed = document["metadata"]
        document["metadata"] = {
            **{name: value for name, value in codec.to_dict(obj.metadata).items() if name not in _CHANGEABLE},
            **{name: changed[name] for name in _CHANGEABLE if changed.get(name)},
        }
        return target.build(document)

    async def prepare(self, documents: Iterable[bytes], target: type[Unstructured]) -> None:
        """Ask for all of them that are not known. Raises StatusError."""
        missing = []
        for document in documents:
            obj = codec.decode(document, _Any)
            if obj.api_version != target.version and (target.version, _essence(obj)) not in self._known:
                missing.append(document)
        for start in range(0, len(missing), _IN_ONE_REVIEW):
            await self.ask(missing[start : start + _IN_ONE_REVIEW], target.version)

    async def ask(self, documents: list[bytes], version: str) -> None:
        """One ConversionReview. Raises StatusError 500 with what went wrong."""
        uid = str(uuid.uuid4())
        objects = [msgspec.json.decode(document) for document in documents]
        review = {
            "kind": "ConversionReview",
            "apiVersion": "apiextensions.k8s.io/v1",
            "request": {"uid": uid, "desiredAPIVersion": version, "objects": objects},
        }
        config = self._webhook.client_config
        assert config is not None
        try:
            answer = await self._caller.post(config, review, timeout=_TIMEOUT, query={"timeout": "30s"})
            converted = _checked(answer, uid, objects, version)
        except (CallFailed, ValueError) as error:
            raise self._failed(str(objects[0].get("apiVersion")), str(error)) from None
        for document, made in zip(documents, converted, strict=True):
            self._known[version, _essence(codec.decode(document, _Any))] = codec.encode(made)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _failed(self, version: str, why: str) -> errors.StatusError:
        message = f"conversion webhook for {version}, Kind={self._kind} failed: {why}"
        return errors.StatusError(Status(status="Failure", code=500, message=message, details=StatusDetails()))


class _Any(Unstructured):
    __slots__ = ()


def _essence(obj: Unstructured) -> bytes:
    """What a conversion may depend on: not the metadata that every write changes."""
    meta = obj.metadata
    return codec.encode([obj.api_version, meta.name, meta.namespace, meta.labels, meta.annotations, obj.content])


def _checked(answer: Any, uid: str, sent: list[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    """The converted objects. Raises ValueError for an answer that breaks the contract."""
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise ValueError("no response provided")
    if response.get("uid") != uid:
        raise ValueError(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise ValueError(result.get("message") or "no message provided")
    converted = response.get("convertedObjects") or []
    if len(converted) != len(sent):
        raise ValueError(f"expected {len(sent)} converted objects, got {len(converted)}")
    for index, (before, after) in enumerate(zip(sent, converted, strict=True)):
        where = f"invalid converted object at index {index}"
        if not isinstance(after, dict) or after.get("apiVersion") != version:
            raise ValueError(f"{where}: invalid groupVersion (expected {version})")
        if after.get("kind") != before.get("kind"):
            raise ValueError(f"{where}: invalid kind, expected {before.get('kind')}, received {after.get('kind')}")
        old, new = before.get("metadata") or {}, after.get("metadata") or {}
        for name in _IMMUTABLE:
            if old.get(name) != new.get(name):
                raise ValueError(f"{where}: must have the same {name}: {old.get(name)} != {new.get(name)}")
        after["metadata"] = {
            **old,
            **{name: new.get(name) for name in _CHANGEABLE},
        }
    return converted


Converter = Renamer | WebhookConverter
