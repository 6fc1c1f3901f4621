"""What a client is told when something below the API fails."""

from __future__ import annotations

import logging

from api import errors
from apiserver.feed import Behind
from apiserver.store import Rejected, Unavailable

log = logging.getLogger(__name__)


def status_error(error: BaseException) -> errors.StatusError:
    """The StatusError for any exception of a request; what is our own fault is logged and says no details."""
    if isinstance(error, errors.StatusError):
        return error
    if isinstance(error, Unavailable):
        log.error("the store failed: %s", error)
        return errors.timeout("request did not complete within the allotted timeout", retry_after=1)
    if isinstance(error, RecursionError):
        log.warning("a request was nested too deeply: %s", error)
        return errors.bad_request("error decoding the request: exceeded max depth")
    if isinstance(error, Rejected):
        return errors.internal(str(error))
    if isinstance(error, Behind):
        log.error("the caches are behind the store, at revision %d", error.revision)
        return errors.timeout("the server is still catching up with its store", retry_after=1)
    log.exception("a request failed", exc_info=error)
    return errors.internal(f"{type(error).__name__}: {error}")
