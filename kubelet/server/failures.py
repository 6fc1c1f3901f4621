"""How a failure travels over gRPC: a code, and the whole Status as trailing metadata `status-bin`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from api import codec, errors
from kubelet.cri import ContainerNotFound, RuntimeFailure
from kubelet.server.lookup import failure

log = logging.getLogger(__name__)

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}


@asynccontextmanager
async def answered(context: Any) -> AsyncIterator[None]:
    """Around a handler: what it raises becomes the call's status."""
    try:
        yield
    except errors.StatusError as error:
        await _abort(context, error)
    except ContainerNotFound as error:
        await _abort(context, failure(str(error), 404))
    except RuntimeFailure as error:
        await _abort(context, failure(str(error)))
    except grpc.aio.AbortError:
        raise
    except Exception:
        log.exception("a call failed")
        await _abort(context, errors.internal("the kubelet failed"))


async def _abort(context: Any, error: errors.StatusError) -> None:
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    await context.abort(code, error.message, (("status-bin", codec.encode(error.status)),))
