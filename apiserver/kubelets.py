"""The one way from the API server to a kubelet: its gRPC `Node` service, found through the Node object."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from api import errors
from api.types.core_v1 import Node
from apiserver.registry import Registry
from proto import node_pb2_grpc

_PORT = 10250
_PREFERENCE = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Kubelets:
    """Keeps one channel for each address; `credentials` None speaks in the clear, for tests."""

    def __init__(self, credentials: grpc.ChannelCredentials | None) -> None:
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}

    def stub(self, registry: Registry, node_name: str) -> Any:
        """A `NodeStub` of the node. Raises StatusError if the node is unknown or has no address."""
        node = registry.cached(Node, node_name)
        if node is None:
            raise errors.not_found("nodes", node_name)
        address = _address(node)
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._connect(address)
        return node_pb2_grpc.NodeStub(channel)  # type: ignore[no-untyped-call]

    def _connect(self, address: str) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        return grpc.aio.secure_channel(address, self._credentials, options=_OPTIONS)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)
        self._channels.clear()


def _address(node: Node) -> str:
    daemon = node.status.daemon_endpoints
    endpoint = daemon.kubelet_endpoint if daemon else None
    port = (endpoint.port if endpoint else 0) or _PORT
    known = {address.type: address.address for address in reversed(node.status.addresses or ())}
    for kind in _PREFERENCE:
        if kind in known:
            host = known[kind]
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = node.metadata.name
    raise errors.internal(f'no preferred addresses found; known addresses: [] (node "{name}")')
