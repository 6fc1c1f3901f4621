"""A node container's own part: the supervisor, the relays, what it reads of the kernel's files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.node import __main__ as node
from deploy.node import prepare, supervisor
from deploy.node.relay import TcpRelay, relay_dns
from deploy.node.supervisor import Program
from tests.support.ports import free_port

ENVIRONMENT = {"PYKUBE_NODE_NAME": "node7", "PYKUBE_NODE_IP": "172.30.0.17"}


async def eventually(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_program_that_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.01)
    log = tmp_path / "starts"
    program = Program("test", ["sh", "-c", f"echo x >>{log}; exit 1"])
    task = asyncio.create_task(program.run())
    await eventually(lambda: log.exists() and len(log.read_text().split()) >= 3)
    await program.stop(5)
    await task
    starts = log.read_text()
    await asyncio.sleep(0.1)
    assert log.read_text() == starts


async def test_a_killed_program_is_started_again_and_stop_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.01)
    program = Program("test", ["sleep", "1000"])
    task = asyncio.create_task(program.run())
    await eventually(lambda: program.process is not None)
    assert program.process is not None
    first = program.process.pid
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: program.process is not None and program.process.pid != first)
    await program.stop(5)
    await task
    assert program.restarts == 1


async def test_a_program_that_will_not_end_is_killed() -> None:
    program = Program(
        "test",
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True)\nwhile 1: signal.pause()",
        ],
    )
    task = asyncio.create_task(program.run())
    await eventually(lambda: program.process is not None)
    assert program.process is not None
    await asyncio.sleep(0.3)
    await program.stop(0.2)
    await task
    assert program.process is None


def test_exit_statuses_in_words() -> None:
    assert [supervisor.describe(code) for code in (1, -9, -64)] == ["exit code 1", "SIGKILL", "SIGRTMAX"]


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_the_relay_carries_both_directions_and_half_closes() -> None:
    async with echo() as target:
        port = free_port()
        servers = await TcpRelay("127.0.0.1", target).listen(["127.0.0.1"], port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data = b"abc" * 500_000
        writer.write(data)
        writer.write_eof()
        assert await reader.read(-1) == data.upper()
        writer.close()
        servers[0].close()


async def test_the_relay_survives_a_target_that_is_away() -> None:
    port = free_port()
    servers = await TcpRelay("127.0.0.1", free_port()).listen(["127.0.0.1"], port)
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
    servers[0].close()


async def test_dns_queries_are_passed_on_and_answers_come_back_to_whoever_asked() -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: object) -> None:
            if data != b"lost":
                self.transport.sendto(b"answer to " + data, addr)  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    port = free_port()
    await relay_dns("127.0.0.1", "127.0.0.1", port=port, server_port=server.get_extra_info("sockname")[1])
    answers: list[bytes] = []

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answers.append(data)

    clients = [(await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port)))[0] for _ in range(3)]
    for number, client in enumerate(clients):
        client.sendto(b"lost")
        client.sendto(b"query %d" % number)
    await eventually(lambda: len(answers) == 3)
    assert sorted(answers) == [b"answer to query %d" % number for number in range(3)]
    for transport in (*clients, server):
        transport.close()


def test_a_loopback_resolver_is_replaced_for_pods() -> None:
    docker = "search example.com\nnameserver 127.0.0.11\noptions ndots:0\n"
    assert prepare.loopback_resolver(docker) == "127.0.0.11"
    assert prepare.pods_resolv_conf(docker) == f"nameserver {prepare.RELAY_ADDRESS}\nsearch example.com\n"
    assert prepare.nameservers("nameserver\t192.0.2.1\nnameserver \n#nameserver 192.0.2.2\n") == ["192.0.2.1"]
    plain = "nameserver 192.0.2.53\noptions edns0\n"
    assert prepare.loopback_resolver(plain) is None
    assert prepare.pods_resolv_conf(plain) == plain


def test_cgroup_hierarchies_are_read_from_mountinfo() -> None:
    mountinfo = """\
600 599 0:30 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:9 - cgroup cgroup rw,memory
601 599 0:31 / /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw
602 599 0:32 / /proc rw - proc proc rw
"""
    assert prepare.hierarchies(mountinfo) == ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"]


def test_delegation_moves_processes_out_before_it_hands_controllers_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("1\n17\n")
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    prepare.delegate(tmp_path)
    assert (tmp_path / "init/cgroup.procs").read_text() == "17"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_cgroup_version_is_told_by_the_root_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "CGROUPS", tmp_path)
    assert prepare.cgroup_version() == 1
    (tmp_path / "cgroup.controllers").touch()
    assert prepare.cgroup_version() == 2


def test_kubelet_and_proxy_are_told_who_and_where_they_are() -> None:
    settings = node.Settings.read({**ENVIRONMENT, "PYKUBE_NODE_LABELS": "zone=a"})
    kubelet = node.kubelet(settings)
    assert {"--node-name=node7", "--node-ip=172.30.0.17", "--node-labels=zone=a"} <= set(kubelet)
    assert "--key-file=/etc/pykube/pki/kubelet.key" in kubelet
    assert "--key-file=/etc/pykube/pki/proxy.key" in node.proxy(settings)
    with pytest.raises(KeyError, match="PYKUBE_NODE_NAME"):
        node.Settings.read({})
