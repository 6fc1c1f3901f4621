"""Who may call a kubelet: only an apiserver, by its client certificate. It has already authorized the user."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

APISERVER = "kube-apiserver-kubelet-client"
MASTERS = "system:masters"


@functools.lru_cache(maxsize=64)
def allowed(pem: bytes) -> bool:
    """Whether the (already verified) certificate is an apiserver's or of the group `system:masters`."""
    # Imported here: an apiserver is known by its name, and 9 MB of every node's memory are better spent otherwise.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.load_pem_x509_certificate(pem).subject
    names = {attribute.value for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    groups = {attribute.value for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
    return APISERVER in names or MASTERS in groups


class OnlyApiserver(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Refuses every call of anybody else with PERMISSION_DENIED."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                _guard_stream(handler.stream_stream), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                _guard_stream(handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            _guard_unary(handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )


async def _check(context: Any) -> None:
    peer = context.auth_context()
    if APISERVER.encode() in (peer.get("x509_common_name") or ()):
        return
    certificates = peer.get("x509_pem_cert") or []
    if not any(allowed(pem) for pem in certificates):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "only the apiserver may call a kubelet")


def _guard_unary(behaviour: Any) -> Any:
    async def guarded(request: Any, context: Any) -> Any:
        await _check(context)
        return await behaviour(request, context)

    return guarded


def _guard_stream(behaviour: Any) -> Any:
    async def guarded(request: Any, context: Any) -> Any:
        await _check(context)
        async for response in behaviour(request, context):
            yield response

    return guarded
