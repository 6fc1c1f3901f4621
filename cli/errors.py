"""The errors a user can meet, and how each becomes one clear message on stderr in kubectl's words."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


class CliError(Exception):
    """A failure with a message for the user. `prefix` goes before it; `code` is the process's exit code."""

    def __init__(self, message: str, *, code: int = 1, prefix: str = "error: ") -> None:
        super().__init__(message)
        self.code = code
        self.prefix = prefix


class UsageError(CliError):
    """The command line itself is wrong; the message ends by pointing at the command's help."""


class SilentExit(CliError):
    """Everything has been said already (or the remote command decided); only the exit code remains."""

    def __init__(self, code: int) -> None:
        super().__init__("", code=code)


class ConnectionFailed(CliError):
    """The server was not reached at all."""

    def __init__(self, message: str) -> None:
        super().__init__(message, prefix="")


class ApiError(Exception):
    """A `Status` from the server. `verb` and `source` tell which input was being worked on, as kubectl does."""

    def __init__(self, status: Object, *, http_code: int = 0) -> None:
        self.status = status
        self.code: int = int(status.get("code") or http_code)
        self.reason: str = status.get("reason") or ""
        self.message: str = status.get("message") or "unknown"
        self.details: Object = status.get("details") or {}
        super().__init__(self.message)

    def with_source(self, verb: str, source: str) -> ApiError:
        """The same error, naming the file it came from: `error when creating "x.yaml": ...`."""
        if not source:
            return self
        status = dict(self.status)
        status["message"] = f'error when {verb} "{source}": {self.message}'
        return ApiError(status, http_code=self.code)

    @property
    def is_not_found(self) -> bool:
        return self.reason == "NotFound" or (not self.reason and self.code == 404)

    @property
    def is_conflict(self) -> bool:
        return self.reason == "Conflict"

    @property
    def is_already_exists(self) -> bool:
        return self.reason == "AlreadyExists"


class Errors(Exception):
    """Several failures of one command (one object's failure does not stop the others)."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


def raise_all(problems: list[Exception]) -> None:
    """Ends a command that went on after failures."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Errors(problems)


def status_error(code: int, body: bytes, *, method: str, path: str) -> ApiError:
    """Makes an `ApiError` of any answer of 400 and above, whether or not the body is a `Status`."""
    import json

    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return ApiError(status, http_code=code)
    text = body.decode(errors="replace").strip()
    reasons = {
        401: ("Unauthorized", "Unauthorized"),
        403: ("Forbidden", f"forbidden: {text}" if text else "forbidden"),
        404: ("NotFound", "the server could not find the requested resource"),
        405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
        406: ("NotAcceptable", "the server was unable to respond with a content type that the client supports"),
        409: ("Conflict", "the server reported a conflict"),
        413: ("RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
        415: ("UnsupportedMediaType", "the server does not support this media type"),
        422: ("Invalid", "the server rejected our request due to an error in our request"),
        429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        500: ("InternalError", "an error on the server (%r) has prevented the request from succeeding"),
        503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504: ("Timeout", "the server was unable to return a response in the time allotted"),
    }
    reason, message = reasons.get(code, ("", f"the server responded with the status code {code}: {text}"))
    if "%r" in message:
        shown = text.replace('"', '\\"')
        message = message.replace("%r", f'"{shown}"')
    return ApiError({"reason": reason, "message": message, "code": code}, http_code=code)


def describe(error: BaseException) -> str:
    """The text for stderr, without a trailing newline. Empty when there is nothing left to say."""
    if isinstance(error, Errors):
        texts = (_among_others(one) for one in error.errors)
        return "\n".join(text for text in texts if text)
    if isinstance(error, SilentExit):
        return ""
    if isinstance(error, CliError):
        return f"{error.prefix}{error}"
    if isinstance(error, ApiError):
        return _describe_status(error)
    if isinstance(error, TimeoutError):
        return "error: timed out waiting for the server"
    if isinstance(error, OSError) and error.filename:
        return f"error: {_os_verb(error)} {error.filename}: {(error.strerror or str(error)).lower()}"
    return f"error: {str(error) or type(error).__name__}"


def _among_others(error: Exception) -> str:
    """Of several failures kubectl tells each in one line, without what begins a single one."""
    if isinstance(error, ApiError) and error.reason == "Invalid":
        return f"Error from server (Invalid): {error.message}"
    return str(error) if type(error) is CliError and error.prefix == "error: " else describe(error)


def _os_verb(error: OSError) -> str:
    return "open" if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)) else "use"


def _describe_status(error: ApiError) -> str:
    if error.reason == "Invalid":
        return _describe_invalid(error)
    if error.reason == "Unauthorized":
        return f"error: You must be logged in to the server ({error.message})"
    if error.reason:
        return f"Error from server ({error.reason}): {error.message}"
    return f"Error from server: {error.message}"


def _describe_invalid(error: ApiError) -> str:
    details = error.details
    causes = details.get("causes") or []
    text = "The request is invalid"
    if details.get("kind") or details.get("name"):
        text = f'The {details.get("kind", "")} "{details.get("name", "")}" is invalid'
    elif error.message and not causes:
        return f"{text}: {error.message}"
    if not causes:
        return f"{text}: {error.message}" if error.message else text
    lines: list[str] = []
    for cause in causes:
        field, message = cause.get("field", ""), cause.get("message", "")
        line = f"{field}: {message}" if field else message
        if line not in lines:
            lines.append(line)
    if len(lines) == 1:
        return f"{text}: {lines[0]}"
    return "\n".join([f"{text}: ", *(f"* {line}" for line in lines)])


def exit_code(error: BaseException) -> int:
    if isinstance(error, CliError):
        return error.code
    return 1
