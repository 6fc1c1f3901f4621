"""What the audit log is told of HTTP requests. A request's record travels with the request, under `RECORD`."""

from __future__ import annotations

from aiohttp import web

from apiserver.audit.record import Auditor, Origin, Record
from apiserver.auth import Attributes
from apiserver.rest.answers import OBJECTS, as_json

RECORD = web.RequestKey("audit", Record)


def record_of(request: web.BaseRequest) -> Record | None:
    """The record of this request, if it is audited."""
    return request.get(RECORD)


def started(request: web.BaseRequest, code: int = 200) -> None:
    """A watch or a stream has begun."""
    if (record := record_of(request)) is not None:
        record.started(code)


class Audit:
    """`refused` or `begin`, then `end`."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor

    def begin(self, request: web.BaseRequest, attributes: Attributes, audit_id: str) -> None:
        """The request has been authenticated."""
        record = self._auditor.begin(attributes, _origin(request, audit_id))
        if record is not None:
            request[RECORD] = record

    def refused(self, request: web.BaseRequest, attributes: Attributes, audit_id: str) -> None:
        """Its credentials are not known."""
        tried = "attempted: bearer" if request.headers.get("Authorization") else "no credentials provided"
        self._auditor.refused(attributes, _origin(request, audit_id), 401, f"Authentication failed, {tried}")

    @staticmethod
    def end(request: web.BaseRequest, response: web.StreamResponse | None) -> None:
        """The answer is complete; None: the client left before."""
        record = record_of(request)
        if record is None:
            return
        if response is not None:
            _describe(record, response)
        record.stage("ResponseComplete")


def _describe(record: Record, response: web.StreamResponse) -> None:
    body = response.body if isinstance(response, web.Response) else None
    json = body if isinstance(body, bytes) and response.content_type in OBJECTS else b""
    if json and (response.status >= 400 or record.wants_response):
        json = as_json(json, response.content_type)
    if response.status >= 400 and json:
        record.failed(response.status, json)
    else:
        record.status(response.status)
    if record.wants_response and json:
        record.response(json)


def _origin(request: web.BaseRequest, audit_id: str) -> Origin:
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    addresses = [*forwarded, request.headers.get("X-Real-Ip", ""), request.remote or ""]
    unique = tuple(dict.fromkeys(filter(None, addresses)))
    return Origin(request.raw_path, unique, request.headers.get("User-Agent", ""), audit_id)
