"""An operator as kopf's documentation writes them: handlers, and admission through a webhook of its own."""

from __future__ import annotations

import os
from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    certificate, key = os.environ["HOOK_CERTIFICATE"], os.environ["HOOK_KEY"]
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1", host="127.0.0.1", certfile=certificate, pkeyfile=key, cafile=certificate
    )
    settings.admission.managed = "auto.kopf.dev"


@kopf.on.create("kopfexamples")
def created(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> dict[str, str]:
    patch.status["seen"] = spec.get("field")
    return {"message": "hello"}


@kopf.on.update("kopfexamples", field="spec.field")
def updated(new: Any, patch: kopf.Patch, **_: Any) -> None:
    patch.status["seen"] = new


@kopf.on.validate("kopfexamples")
def check(spec: kopf.Spec, **_: Any) -> None:
    if spec.get("field") == "bad":
        raise kopf.AdmissionError("no bad ones", code=422)


@kopf.on.mutate("kopfexamples", operation="CREATE")
def mutate(patch: kopf.Patch, **_: Any) -> None:
    patch.spec["mutated"] = True


@kopf.on.delete("kopfexamples")
def deleted(**_: Any) -> None:
    """With a handler for deletions, kopf holds objects by a finalizer."""
