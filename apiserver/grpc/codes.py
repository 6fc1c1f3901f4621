"""From a Status to a gRPC status; the Status itself travels as trailing metadata."""

from __future__ import annotations

import grpc

from api import codec, errors

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    409: grpc.StatusCode.ABORTED,
    410: grpc.StatusCode.OUT_OF_RANGE,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_MAX_METADATA = 6_000  # bytes; peers refuse more than 8 KiB of metadata


def code_of(error: errors.StatusError) -> grpc.StatusCode:
    if error.reason == "AlreadyExists":
        return grpc.StatusCode.ALREADY_EXISTS
    return _CODES.get(error.code, grpc.StatusCode.UNKNOWN)


def trailers(error: errors.StatusError) -> tuple[tuple[str, bytes], ...]:
    """`status-bin`, shortened if it would not travel."""
    data = codec.encode(error.status)
    if len(data) > _MAX_METADATA:
        status = codec.deepcopy(error.status)
        status.message = (status.message or "")[:2000]
        if status.details is not None:
            status.details.causes = None
        data = codec.encode(status)
    return (("status-bin", data),)
