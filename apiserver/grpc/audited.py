"""What the audit log is told of gRPC calls: the same events as of the REST requests they stand for.

Every write of a batch and every watch of a stream is a request of its own. Each runs in a task of its own, so its
record is in a context variable.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, unquote

from apiserver.audit.record import Auditor, Origin, Record
from apiserver.auth import Attributes
from apiserver.failures import status_error
from apiserver.operations import Reply

_ORIGIN: ContextVar[tuple[tuple[str, ...], str]] = ContextVar("origin", default=((), ""))
_RECORD: ContextVar[Record | None] = ContextVar("record", default=None)


def current() -> Record | None:
    """The record of the request that this task serves."""
    return _RECORD.get()


def arrived(context: Any) -> None:
    """A call has come in: where from is remembered for all of its requests."""
    peer = unquote(context.peer() or "")
    address = peer.rpartition(":")[0].partition(":")[2].strip("[]") if peer.startswith("ipv") else ""
    agent = next((str(value) for key, value in context.invocation_metadata() or () if key == "user-agent"), "")
    _ORIGIN.set(((address,) if address else (), agent))


def begin(auditor: Auditor, attributes: Attributes) -> Record | None:
    """One request of the call has been authenticated."""
    addresses, agent = _ORIGIN.get()
    record = auditor.begin(attributes, Origin(_uri(attributes), addresses, agent))
    _RECORD.set(record)
    return record


def answered(reply: Reply | None = None, error: BaseException | None = None) -> None:
    """And is over."""
    record = _RECORD.get()
    if record is None:
        return
    _RECORD.set(None)
    if error is not None:
        status = status_error(error).status
        record.status(status.code or 500, status.message or "", status.reason or "")
    elif reply is not None:
        record.status(reply.code)
        if record.wants_response:
            record.response(reply.json)
    else:
        record.status(200)
    record.stage("ResponseComplete")


def _uri(attributes: Attributes) -> str:
    """The path that the same request has on the REST face."""
    parts = ["", "apis", attributes.group] if attributes.group else ["", "api"]
    parts.append(attributes.version)
    if attributes.namespace:
        parts += ["namespaces", attributes.namespace]
    parts += [attributes.resource, attributes.name, attributes.subresource]
    path = "/".join(quote(part) for part in parts if part)
    return f"/{path}?watch=true" if attributes.verb == "watch" else f"/{path}"
