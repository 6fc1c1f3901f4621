"""One request's audit events: told about it step by step, a record writes what the policy wants of each stage."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from api import errors
from api import time as api_time
from apiserver.audit.log import Sink
from apiserver.audit.policy import LEVELS, Audited, Policy
from apiserver.auth import Attributes, User
from apiserver.documents import from_yaml

log = logging.getLogger(__name__)

METADATA, REQUEST, RESPONSE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Origin:
    """What the transport knows of a request."""

    uri: str
    source_ips: Sequence[str] = ()
    user_agent: str = ""
    audit_id: str = ""


class Auditor:
    """Makes records, and puts their events where they belong."""

    def __init__(self, policy: Policy, sink: Sink) -> None:
        self._policy = policy
        self._sink = sink

    def begin(self, attributes: Attributes, origin: Origin) -> Record | None:
        """The record of an authenticated request, or None if the policy wants nothing of it.

        `attributes` are of the user who is really there; whoever it acts as is told to the record later.
        """
        audited = self._policy.of(attributes)
        if audited.level == 0:
            return None
        record = Record(self, audited, attributes, origin)
        record.stage("RequestReceived")
        return record

    def refused(self, attributes: Attributes, origin: Origin, code: int, message: str) -> None:
        """A request whose credentials were not accepted."""
        audited = self._policy.of(attributes)
        if audited.level == 0:
            return
        record = Record(self, audited, attributes, origin)
        record.status(code, message, "Unauthorized")
        record.stage("ResponseStarted")

    def write(self, event: dict[str, Any]) -> None:
        """An event that cannot be written is said in the server's own log; the request goes on, as upstream."""
        try:
            self._sink.write(msgspec.json.encode(event) + b"\n")
        except OSError as error:
            log.error("audit event %s was not written: %s", event.get("auditID"), error)

    def close(self) -> None:
        self._sink.close()


class Record:
    """`stage` writes; everything else only remembers."""

    __slots__ = ("_auditor", "_started", "audited", "event")

    def __init__(self, auditor: Auditor, audited: Audited, attributes: Attributes, origin: Origin) -> None:
        self._auditor = auditor
        self._started = False
        self.audited = audited
        self.event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": LEVELS[audited.level],
            "auditID": origin.audit_id or str(uuid.uuid4()),
            "stage": "",
            "requestURI": origin.uri,
            "verb": attributes.verb,
            "user": user_info(attributes.user),
            "sourceIPs": list(origin.source_ips),
        }
        if origin.user_agent:
            self.event["userAgent"] = origin.user_agent[:1024]
        if attributes.is_resource:
            self.event["objectRef"] = _reference(attributes)
        self.event["requestReceivedTimestamp"] = api_time.now_micro()

    # -- what is told ---------------------------------------------------------------------------------------------

    def acts_as(self, user: User) -> None:
        """The request impersonates somebody."""
        self.event["impersonatedUser"] = user_info(user)

    def decided(self, decision: str, reason: str) -> None:
        """How it was authorized: `allow` or `forbid`."""
        self.annotate("authorization.k8s.io/decision", decision)
        self.annotate("authorization.k8s.io/reason", reason)

    def annotate(self, key: str, value: str) -> None:
        """The first value of a key stays, as upstream."""
        self.event.setdefault("annotations", {}).setdefault(key, value)

    @property
    def wants_request(self) -> bool:
        return self.audited.level >= REQUEST

    @property
    def wants_response(self) -> bool:
        return self.audited.level >= RESPONSE

    def request(self, json: bytes) -> None:
        """The body of the request as JSON; what is none is left out."""
        self._object("requestObject", json)

    def response(self, json: bytes) -> None:
        """The body of the answer as JSON."""
        self._object("responseObject", json)

    def _object(self, field: str, json: bytes) -> None:
        value = _decoded(json)
        if value is None:
            return
        if self.audited.omit_managed_fields:
            _drop_managed_fields(value)
        self.event[field] = value
        if field == "requestObject" and isinstance(value, dict):
            self._name_from(value)

    def _name_from(self, value: dict[str, Any]) -> None:
        reference = self.event.get("objectRef")
        meta = value.get("metadata")
        if reference is None or not isinstance(meta, dict):
            return
        for field in ("name", "namespace", "uid", "resourceVersion"):
            if meta.get(field) and isinstance(meta[field], str):
                reference.setdefault(field, meta[field])

    def status(self, code: int, message: str = "", reason: str = "") -> None:
        """What it came to."""
        status: dict[str, Any] = {"metadata": {}}
        if code >= 400:
            status["status"] = "Failure"
            if message:
                status["message"] = message
            if reason:
                status["reason"] = reason
        status["code"] = code
        self.event["responseStatus"] = status

    def failed(self, code: int, json: bytes) -> None:
        """What it came to, from the Status of the answer."""
        found = _decoded(json)
        if isinstance(found, dict) and found.get("kind") == "Status":
            kept = {key: found[key] for key in ("status", "message", "reason", "details") if found.get(key)}
            self.event["responseStatus"] = {"metadata": {}, **kept, "code": code}
        else:
            self.status(code)

    # -- what is written ------------------------------------------------------------------------------------------

    def started(self, code: int) -> None:
        """The answer has begun and goes on for long (a watch, a stream)."""
        if not self._started:
            self._started = True
            self.status(code)
            self.stage("ResponseStarted")

    def stage(self, name: str) -> None:
        """Write the event of this stage, if the policy does not leave it out."""
        if name in self.audited.omit_stages:
            return
        self.event["stage"] = name
        self.event["stageTimestamp"] = api_time.now_micro()
        self._auditor.write(self.event)


def _decoded(body: bytes) -> Any:
    """The value of a JSON or YAML document; None for what is neither."""
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return msgspec.json.decode(from_yaml(body))
    except (errors.StatusError, msgspec.DecodeError):
        return None


def user_info(user: User) -> dict[str, Any]:
    """authentication.k8s.io/v1 UserInfo."""
    found: dict[str, Any] = {"username": user.name} if user.name else {}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def _reference(attributes: Attributes) -> dict[str, str]:
    parts = {
        "resource": attributes.resource,
        "namespace": attributes.namespace,
        "name": attributes.name,
        "apiGroup": attributes.group,
        "apiVersion": attributes.version,
        "subresource": attributes.subresource,
    }
    return {key: value for key, value in parts.items() if value}


def _drop_managed_fields(value: Any) -> None:
    if not isinstance(value, dict):
        return
    if isinstance(meta := value.get("metadata"), dict):
        meta.pop("managedFields", None)
    items = value.get("items")
    for item in items if isinstance(items, list) else ():
        _drop_managed_fields(item)
