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
from apiserver.extensions.converted import checked
from apiserver.outbound import Caller, CallFailed
from apiserver.unconverted import Unconverted

_REMEMBERED = 50_000
_IN_ONE_REVIEW = 500
_TIMEOUT = 30.0  # seconds, upstream's
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
        known = (name for name in self._webhook.conversion_review_versions if name in ("v1", "v1beta1"))
        review = {
            "kind": "ConversionReview",
            "apiVersion": f"apiextensions.k8s.io/{next(known, 'v1')}",
            "request": {"uid": uid, "desiredAPIVersion": version, "objects": objects},
        }
        config = self._webhook.client_config
        assert config is not None
        try:
            answer = await self._caller.post(config, review, timeout=_TIMEOUT, query={"timeout": "30s"})
            converted = checked(answer, uid, objects, version)
        except CallFailed as error:
            raise self._failed(objects, f"failed: {error}") from None
        except ValueError as error:
            raise self._failed(objects, str(error)) from None
        for document, made in zip(documents, converted, strict=True):
            self._known[version, _essence(codec.decode(document, _Any))] = codec.encode(made)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _failed(self, objects: list[dict[str, Any]], why: str) -> errors.StatusError:
        message = f"conversion webhook for {objects[0].get('apiVersion')}, Kind={self._kind} {why}"
        return errors.StatusError(Status(status="Failure", code=500, message=message, details=StatusDetails()))


class _Any(Unstructured):
    __slots__ = ()


def _essence(obj: Unstructured) -> bytes:
    """What a conversion may depend on: not the metadata that every write changes."""
    meta = obj.metadata
    return codec.encode([obj.api_version, meta.name, meta.namespace, meta.labels, meta.annotations, obj.content])


Converter = Renamer | WebhookConverter
