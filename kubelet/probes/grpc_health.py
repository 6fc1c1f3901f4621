"""The gRPC health checking protocol (grpc.health.v1), plain text as upstream's.

Two messages of one field each don't warrant generated stubs:
request { string service = 1 }, answer { enum status = 1 }.
"""

from __future__ import annotations

import grpc

from api.types.core_v1 import GRPCAction
from kubelet.probes.http import USER_AGENT
from kubelet.probes.outcome import Outcome, Result, authority

_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def encode_request(service: str) -> bytes:
    data = service.encode()
    if not data:
        return b""
    length, size = bytearray(), len(data)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"\x0a" + bytes(length) + data


def decode_status(answer: bytes) -> str:
    number = answer[1] if len(answer) >= 2 and answer[0] == 0x08 else 0
    return _STATUS.get(number, str(number))


async def probe(action: GRPCAction, ip: str, timeout: float) -> Outcome:
    target = authority(ip, action.port)
    service = action.service or ""
    options = [("grpc.primary_user_agent", USER_AGENT), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        try:
            answer: bytes = await check(encode_request(service), timeout=timeout, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            return Outcome(Result.FAILURE, _failure(error, target, timeout))
    status = decode_status(answer)
    if status == "SERVING":
        return Outcome(Result.SUCCESS, "service healthy")
    return Outcome(Result.FAILURE, f'service unhealthy (responded with "{status}")')


def _failure(error: grpc.aio.AioRpcError, target: str, timeout: float) -> str:
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f'timeout: failed to connect service "{target}" within {timeout:g}s: context deadline exceeded'
        case grpc.StatusCode.NOT_FOUND:
            return f"error: health rpc probe failed: rpc error: code = NotFound desc = {error.details()}"
    return f"error: health rpc probe failed: {error.details()}"
