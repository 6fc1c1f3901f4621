"""The Node service over mutual TLS with real containers behind it."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.types.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)
from api.types.meta_v1 import ObjectMeta
from component import tls
from kubelet.server.service import NodeService, serve
from kubelet.server.summary import Summary
from proto import node_pb2, node_pb2_grpc
from tests.integration.kubelet.conftest import Pods, RunningPod
from tests.support.ports import free_port


class Lookup:
    def __init__(self) -> None:
        self.found: list[Pod] = []

    def pod(self, namespace: str, name: str, uid: str) -> Pod | None:
        return next(
            (pod for pod in self.found if (pod.metadata.namespace, pod.metadata.name) == (namespace, name)), None
        )

    def pods(self) -> Iterable[Pod]:
        return self.found

    def add(self, running: RunningPod) -> node_pb2.PodRef:
        meta = ObjectMeta(namespace="runtime-test", name=running.config.name, uid=running.config.uid)
        status = ContainerStatus(
            name="main",
            container_id=f"docker://{running.container}",
            state=ContainerState(running=ContainerStateRunning()),
        )
        self.found.append(
            Pod(
                metadata=meta,
                spec=PodSpec(containers=[Container(name="main")]),
                status=PodStatus(phase="Running", container_statuses=[status]),
            )
        )
        return node_pb2.PodRef(namespace="runtime-test", name=running.config.name, container="main")


def make_pki(directory: Path) -> None:
    """ca, server and two clients: `apiserver` and `stranger`, both of the same CA."""
    now = datetime.datetime.now(datetime.UTC)

    def issue(name: str, subject: dict[Any, str], issuer: tuple[x509.Name, Any] | None) -> tuple[x509.Name, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject.items()])
        by, signer = issuer or (own, key)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(own)
            .issuer_name(by)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return own, key

    ca = issue("ca", {NameOID.COMMON_NAME: "ca"}, None)
    issue("server", {NameOID.COMMON_NAME: "system:node:test"}, ca)
    issue(
        "apiserver",
        {NameOID.ORGANIZATION_NAME: "system:masters", NameOID.COMMON_NAME: "kube-apiserver-kubelet-client"},
        ca,
    )
    issue("stranger", {NameOID.ORGANIZATION_NAME: "system:nodes", NameOID.COMMON_NAME: "system:node:other"}, ca)


class Node:
    def __init__(self, directory: Path, address: str, lookup: Lookup) -> None:
        self._directory, self._address, self.lookup = directory, address, lookup

    def stub(self, identity: str = "apiserver") -> tuple[grpc.aio.Channel, Any]:
        files = [(self._directory / name).read_bytes() for name in ("ca.crt", f"{identity}.key", f"{identity}.crt")]
        channel = grpc.aio.secure_channel(self._address, grpc.ssl_channel_credentials(*files))
        return channel, node_pb2_grpc.NodeStub(channel)  # type: ignore[no-untyped-call]


@pytest.fixture
async def node(pods: Pods, tmp_path: Path) -> AsyncIterator[Node]:
    make_pki(tmp_path)
    port = free_port()
    lookup = Lookup()
    summary = Summary(
        pods.runtime, pods.runtime.cgroups, node_name="test", root_dir=tmp_path, image_dir=Path("/var/lib/docker")
    )
    files = tls.Files(str(tmp_path / "server.crt"), str(tmp_path / "server.key"), str(tmp_path / "ca.crt"))
    service = NodeService(pods.runtime, lookup, summary)
    task = asyncio.create_task(serve(service, address=f"127.0.0.1:{port}", files=files))
    yield Node(tmp_path, f"localhost:{port}", lookup)
    task.cancel()
    await asyncio.wait([task])


async def frames(*inputs: node_pb2.ExecInput) -> AsyncIterator[node_pb2.ExecInput]:
    for item in inputs:
        yield item
    await asyncio.sleep(30)


async def test_logs_exec_and_exit_codes(pods: Pods, node: Node) -> None:
    pod = await pods.run("sh", "-c", "echo first; sleep 0.2; echo second >&2; sleep 1000")
    ref = node.lookup.add(pod)
    channel, stub = node.stub()
    async with channel:
        follow = stub.Logs(node_pb2.LogsRequest(pod=ref, follow=True, timestamps=True))
        first = await follow.read()
        assert b"Z first" in first.data
        assert b"Z second" in (await follow.read()).data
        follow.cancel()
        tail = [chunk.data async for chunk in stub.Logs(node_pb2.LogsRequest(pod=ref, tail_lines=1))]
        assert tail == [b"second\n"]
        start = node_pb2.ExecStart(
            pod=ref, command=["sh", "-c", "cat; echo e >&2; exit 3"], stdin=True, stdout=True, stderr=True
        )
        out = [
            item
            async for item in stub.Exec(
                frames(
                    node_pb2.ExecInput(start=start),
                    node_pb2.ExecInput(stdin=b"through"),
                    node_pb2.ExecInput(close_stdin=True),
                )
            )
        ]
        assert b"".join(item.stdout for item in out) == b"through"
        assert b"".join(item.stderr for item in out) == b"e\n"
        assert out[-1].exit == node_pb2.ExecExit(code=3)
        missing = node_pb2.ExecStart(pod=ref, command=["nope"], stdout=True, stderr=True)
        out = [item async for item in stub.Exec(frames(node_pb2.ExecInput(start=missing)))]
        assert len(out) == 1
        assert out[0].exit.error.startswith(
            'OCI runtime exec failed: exec failed: unable to start container process: exec: "nope"'
        )


async def test_port_forward_carries_bytes_both_ways(pods: Pods, node: Node) -> None:
    pod = await pods.run("socat", "TCP-LISTEN:9000,bind=127.0.0.1,fork,reuseaddr", "EXEC:cat")
    await pod.sh("until socat -u OPEN:/dev/null TCP:127.0.0.1:9000; do sleep 0.05; done")
    ref = node.lookup.add(pod)
    channel, stub = node.stub()
    payload = b"x" * 300_000

    async def inputs() -> AsyncIterator[node_pb2.PortForwardInput]:
        yield node_pb2.PortForwardInput(start=node_pb2.PortForwardStart(pod=ref, port=9000))
        yield node_pb2.PortForwardInput(data=payload)
        yield node_pb2.PortForwardInput(close=True)
        await asyncio.sleep(30)

    async with channel, asyncio.timeout(20):
        assert b"".join([item.data async for item in stub.PortForward(inputs())]) == payload


async def test_a_caller_that_vanishes_takes_its_terminal_along(pods: Pods, node: Node) -> None:
    pod = await pods.run()
    ref = node.lookup.add(pod)
    channel, stub = node.stub()
    start = node_pb2.ExecStart(pod=ref, command=["sh", "-c", "sleep 4321"], stdin=True, stdout=True, tty=True)
    call = stub.Exec(frames(node_pb2.ExecInput(start=start)))
    reading = asyncio.create_task(call.read())
    look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true"
    async with asyncio.timeout(20):
        while "sleep 4321" not in await pod.sh(look):
            await asyncio.sleep(0.05)
        reading.cancel()
        await channel.close(None)
        while "sleep 4321" in await pod.sh(look):
            await asyncio.sleep(0.05)


async def test_failures_carry_upstreams_words(pods: Pods, node: Node) -> None:
    pod = await pods.run()
    ref = node.lookup.add(pod)
    channel, stub = node.stub()

    async def failing(call: Any) -> tuple[grpc.StatusCode, dict[str, Any]]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
        metadata = dict(caught.value.trailing_metadata())
        return caught.value.code(), json.loads(metadata["status-bin"])

    async with channel:
        code, status = await failing(stub.Logs(node_pb2.LogsRequest(pod=ref, previous=True)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert status["message"] == f'previous terminated container "main" in pod "{pod.config.name}" not found'
        assert (status["code"], status["reason"]) == (400, "BadRequest")
        lost = node.lookup.found[0].status.container_statuses
        assert lost
        lost[0].container_id = "docker://" + "0" * 64
        code, status = await failing(stub.Logs(node_pb2.LogsRequest(pod=ref)))
        assert status["message"] == f"unable to retrieve container logs for docker://{'0' * 64}"
        gone = node_pb2.PodRef(namespace="runtime-test", name="gone")
        code, status = await failing(stub.Logs(node_pb2.LogsRequest(pod=gone)))
        assert (code, status["message"]) == (grpc.StatusCode.NOT_FOUND, "pod does not exist")
        start = node_pb2.ExecStart(pod=ref, command=["true"], stdout=True)
        start.pod.container = "other"
        code, status = await failing(stub.Exec(frames(node_pb2.ExecInput(start=start))))
        assert status["message"] == 'container not found ("other")'


async def test_only_the_apiserver_may_call(pods: Pods, node: Node) -> None:
    channel, stub = node.stub("stranger")
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Stats(node_pb2.StatsRequest())
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.Logs(node_pb2.LogsRequest()):
                pass
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_stats_and_metrics_tell_of_the_pod(pods: Pods, node: Node) -> None:
    pod = await pods.run()
    channel, stub = node.stub()
    async with channel:
        summary = json.loads((await stub.Stats(node_pb2.StatsRequest())).json)
        assert summary["node"]["nodeName"] == "test"
        assert summary["node"]["memory"]["workingSetBytes"] > 0
        assert summary["node"]["fs"]["capacityBytes"] > summary["node"]["fs"]["usedBytes"] > 0
        own = [item for item in summary["pods"] if item["podRef"]["uid"] == pod.config.uid]
        assert [item["name"] for item in own[0]["containers"]] == ["main"]
        for path, name in (
            ("/metrics", "# TYPE"),
            ("/metrics/resource", "pod_memory_working_set_bytes{"),
            ("/metrics/cadvisor", "container_network_receive_bytes_total{"),
            ("/pods", '"kind":"PodList"'),
        ):
            text = (await stub.Metrics(node_pb2.MetricsRequest(path=path))).text.decode()
            assert name in text
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Metrics(node_pb2.MetricsRequest(path="/nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
