"""The errors of the API: every failure that a client sees is a `StatusError` around a meta/v1 Status.

Constructors use upstream's words, codes and reasons (k8s.io/apimachinery/pkg/api/errors); "resource" is a group
resource such as `pods` or `deployments.apps`, "kind" a group kind such as `Pod` or `Deployment.apps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from api.field_errors import FieldError, Path
from api.types.meta_v1 import Status, StatusCause, StatusDetails

__all__ = ["FieldError", "Path", "StatusError"]


class StatusError(Exception):
    """An API call failed; `status` is what the server answers or answered."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message or "unknown")
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP code."""
        return self.status.code or 500

    @property
    def reason(self) -> str:
        """The machine-readable reason, such as `NotFound`."""
        return self.status.reason or ""

    @property
    def message(self) -> str:
        """What a person reads."""
        return self.status.message or ""

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before another try, if the server said so."""
        details = self.status.details
        return details.retry_after_seconds if details else None

    @property
    def causes(self) -> list[StatusCause]:
        """The single reasons, one per field for Invalid."""
        return (self.status.details.causes or []) if self.status.details else []


def _error(code: int, reason: str, message: str, details: StatusDetails | None = None) -> StatusError:
    return StatusError(Status(status="Failure", code=code, reason=reason, message=message, details=details))


def _split(group_thing: str) -> tuple[str, str]:
    thing, _, group = group_thing.partition(".")
    return thing, group


def _details(group_thing: str, name: str, causes: list[StatusCause] | None = None) -> StatusDetails:
    thing, group = _split(group_thing)
    return StatusDetails(name=name or None, group=group or None, kind=thing or None, causes=causes)


def not_found(resource: str, name: str) -> StatusError:
    """404: `pods "web" not found`."""
    return _error(404, "NotFound", f'{resource} "{name}" not found', _details(resource, name))


def already_exists(resource: str, name: str) -> StatusError:
    """409: `pods "web" already exists`."""
    return _error(409, "AlreadyExists", f'{resource} "{name}" already exists', _details(resource, name))


def generate_name_conflict(resource: str, name: str) -> StatusError:
    """409: the server picked a name that exists; trying again may help."""
    message = f'{resource} "{name}" already exists, the server was not able to generate a unique name for the object'
    error = _error(409, "AlreadyExists", message, _details(resource, name))
    assert error.status.details is not None
    error.status.details.retry_after_seconds = 1
    return error


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: str, name: str, why: str = MODIFIED) -> StatusError:
    """409: a write that another write has overtaken, or that the object's state forbids."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return _error(409, "Conflict", message, _details(resource, name))


def apply_conflict(causes: list[StatusCause], message: str) -> StatusError:
    """409: server-side apply met fields that another manager owns."""
    return _error(409, "Conflict", message, StatusDetails(causes=causes))


def invalid(kind: str, name: str, causes: Iterable[FieldError]) -> StatusError:
    """422: `Pod "web" is invalid: spec.containers: Required value`; with several causes, in brackets."""
    found = list(dict.fromkeys((e.type, e.field, e.error_body(), str(e)) for e in causes))
    texts = [full for _, _, _, full in found]
    message = f'{kind} "{name}" is invalid'
    if texts:
        message += ": " + (texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    listed = [StatusCause(reason=kind_, message=body, field=field) for kind_, field, body, _ in found]
    return _error(422, "Invalid", message, _details(kind, name, listed))


def bad_request(message: str) -> StatusError:
    """400."""
    return _error(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    """401: the caller could not be identified."""
    return _error(401, "Unauthorized", message or "not authorized")


def forbidden(resource: str, name: str, why: str) -> StatusError:
    """403: `pods "web" is forbidden: why`; without a resource, `forbidden: why`."""
    if name:
        message = f'{resource} "{name}" is forbidden: {why}'
    elif resource:
        message = f"{resource} is forbidden: {why}"
    else:
        message = f"forbidden: {why}"
    return _error(403, "Forbidden", message, _details(resource, name))


def expired(message: str) -> StatusError:
    """410 Expired: a resourceVersion or continue token that is too old."""
    return _error(410, "Expired", message)


def gone(message: str) -> StatusError:
    """410 Gone."""
    return _error(410, "Gone", message)


def too_large_resource_version(resource: str, current: int, requested: int, retry_after: int = 1) -> StatusError:
    """504: a read at a revision that the server has not seen in time."""
    error = timeout(f"Too large resource version: {requested}, current: {current}", retry_after)
    assert error.status.details is not None
    thing, group = _split(resource)
    error.status.details.kind, error.status.details.group = thing or None, group or None
    cause = StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version")
    error.status.details.causes = [cause]
    return error


def method_not_allowed(resource: str, action: str) -> StatusError:
    """405: the resource exists and has no such verb."""
    message = f'{action} is not supported on resources of kind "{resource}"'
    return _error(405, "MethodNotAllowed", message, _details(resource, ""))


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    """406: none of the media types that the client accepts."""
    listed = ", ".join(accepted)
    return _error(406, "NotAcceptable", f"only the following media types are accepted: {listed}")


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    """415: the body's media type."""
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return _error(415, "UnsupportedMediaType", message)


def too_many_requests(message: str, retry_after: int = 1, *, causes: list[StatusCause] | None = None) -> StatusError:
    """429: try again after `retry_after` seconds (0: says no time)."""
    details = StatusDetails(retry_after_seconds=retry_after or None, causes=causes)
    return _error(429, "TooManyRequests", message, details)


def timeout(message: str, retry_after: int = 0) -> StatusError:
    """504: the server gave up waiting."""
    full = f"Timeout: {message}"
    return _error(504, "Timeout", full, StatusDetails(retry_after_seconds=retry_after or None))


def internal(message: str | BaseException) -> StatusError:
    """500: `Internal error occurred: ...`."""
    details = StatusDetails(causes=[StatusCause(message=str(message))])
    return _error(500, "InternalError", f"Internal error occurred: {message}", details)


def service_unavailable(message: str) -> StatusError:
    """503."""
    return _error(503, "ServiceUnavailable", message)


def too_large(message: str) -> StatusError:
    """413: the request's body."""
    return _error(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def generic(code: int, verb: str, resource: str, name: str, message: str) -> StatusError:
    """What a client makes of a failure that carries no Status (a proxy's 502, say)."""
    reasons = {
        400: ("BadRequest", "the server rejected our request for an unknown reason"),
        401: ("Unauthorized", "the server has asked for the client to provide credentials"),
        403: ("Forbidden", message or "the server does not allow this method on the requested resource"),
        404: ("NotFound", "the server could not find the requested resource"),
        405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
        409: ("Conflict", "the server reported a conflict"),
        410: ("Gone", "the server no longer has the requested resource"),
        422: ("Invalid", "the server rejected our request due to an error in our request"),
        429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        500: ("InternalError", f'an error on the server ("{message}") has prevented the request from succeeding'),
        503: ("ServiceUnavailable", message or "the server is currently unable to handle the request"),
        504: ("Timeout", "the server was unable to return a response in the time allotted"),
    }
    unknown = f"the server responded with the status code {code} but did not return more information"
    reason, words = reasons.get(code, ("", unknown))
    shown = f"{words} ({verb.lower()} {resource}{' ' + name if name else ''})"
    return _error(code, reason, shown, _details(resource, name))


def _predicate(*reasons: str) -> Callable[[BaseException], bool]:
    def matches(error: BaseException) -> bool:
        return isinstance(error, StatusError) and error.reason in reasons

    matches.__doc__ = f"Whether an error is {' or '.join(reasons)}."
    return matches


is_not_found = _predicate("NotFound")
is_already_exists = _predicate("AlreadyExists")
is_conflict = _predicate("Conflict")
is_invalid = _predicate("Invalid")
is_bad_request = _predicate("BadRequest")
is_unauthorized = _predicate("Unauthorized")
is_forbidden = _predicate("Forbidden")
is_expired = _predicate("Expired")
is_gone = _predicate("Expired", "Gone")
is_method_not_allowed = _predicate("MethodNotAllowed")
is_too_many_requests = _predicate("TooManyRequests")
is_timeout = _predicate("Timeout", "ServerTimeout")
is_internal = _predicate("InternalError")
is_service_unavailable = _predicate("ServiceUnavailable")


def has_cause(error: BaseException, reason: str) -> bool:
    """Whether one of the causes is of a kind, such as `NamespaceTerminating`."""
    return isinstance(error, StatusError) and any(cause.reason == reason for cause in error.causes)
