"""Processes start from flags or environment, tell their health, and end with the right code."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import aiohttp
import pytest

from component.health import Health, HealthServer
from component.logs import JsonFormatter, TextFormatter

ROOT = Path(__file__).parents[3]

PROGRAM = """
import asyncio, sys
from component import DURATION, BOOL, main, option

async def run(process):
    print(process.options.wait, process.options.flag, flush=True)
    if sys.argv[-1] == "crash":
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            group.create_task(fail())
    try:
        await asyncio.sleep(process.options.wait)
    finally:
        print("cleaned up", flush=True)

async def fail():
    raise RuntimeError("task failed")

main(
    "test",
    run,
    [option("--wait", default="40s", type=DURATION, help=""), option("--flag", default=False, type=BOOL, help="")],
    health_port=0,
    args=[a for a in sys.argv[1:] if a != "crash"],
)
"""


def start(*args: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), "--health-address=127.0.0.1:0", *args],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_options_come_from_flags_or_the_environment() -> None:
    flags, environment = start("--wait=1ms", "--flag=true"), start("--flag", PYKUBE_WAIT="2ms")
    assert flags.communicate(timeout=30)[0].splitlines()[0] == "0.001 True"
    assert environment.communicate(timeout=30)[0].splitlines()[0] == "0.002 True"
    assert (flags.returncode, environment.returncode) == (0, 0)


def test_a_crashed_task_takes_the_process_down_and_says_why() -> None:
    process = start("crash")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "RuntimeError: task failed" in log


def test_sigterm_cleans_up_and_exits_with_0() -> None:
    process = start()
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert "cleaned up" in rest
    assert process.returncode == 0


async def test_health_is_served_in_upstreams_format() -> None:
    health = Health()
    trouble = "informers not synced"
    health.ready["informer-sync"] = lambda: trouble
    async with HealthServer(health, "127.0.0.1:0") as server, aiohttp.ClientSession() as http:
        base = f"http://127.0.0.1:{server.port}"
        async with http.get(f"{base}/healthz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
        async with http.get(f"{base}/readyz") as answer:
            assert answer.status == 500
            assert await answer.text() == (
                "[+]ping ok\n[-]informer-sync failed: informers not synced\nreadyz check failed\n"
            )
        trouble = ""
        async with http.get(f"{base}/readyz?verbose") as answer:
            assert await answer.text() == "[+]ping ok\n[+]informer-sync ok\nreadyz check passed\n"
        async with http.get(f"{base}/metrics") as answer:
            page = await answer.text()
        assert "process_cpu_seconds_total" in page
        assert 'kubernetes_build_info{git_version="v1.36.0",major="1",minor="36"} 1.0' in page
        async with http.get(f"{base}/nowhere") as answer:
            assert answer.status == 404


async def test_a_broken_check_is_a_failed_check() -> None:
    health = Health()
    health.live["bad"] = lambda: str(1 / 0)
    code, text = health.report("livez")
    assert code == 500 and "ZeroDivisionError" in text


@pytest.mark.parametrize(("formatter", "start"), [(TextFormatter(), "I"), (JsonFormatter(), '{"ts": ')])
def test_log_lines(formatter: TextFormatter, start: str) -> None:
    import logging

    record = logging.LogRecord("client.informer", logging.INFO, "f.py", 7, "hello %s", ("you",), None)
    line = formatter.format(record)
    assert line.startswith(start) and "client/informer.py:7" in line and "hello you" in line


async def test_certificates_are_reloaded(tmp_path: Path) -> None:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    from component import tls

    def make(name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        cert = builder.sign(key, hashes.SHA256())
        (tmp_path / "key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (tmp_path / "cert").write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    make("one")
    files = tls.Files(str(tmp_path / "cert"), str(tmp_path / "key"))
    context = tls.server_context(files)
    task = asyncio.create_task(tls.keep_fresh(context, files, 0.01))
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]

    async def served() -> str:
        import ssl

        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        der = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()

    assert await served() == "CN=one"
    await asyncio.sleep(0.02)
    make("two")
    async with asyncio.timeout(10):
        while await served() != "CN=two":
            await asyncio.sleep(0.02)
    task.cancel()
    server.close()


async def test_a_hanging_event_loop_is_seen_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import time
    import urllib.error
    import urllib.request

    monkeypatch.setattr("component.health.PATIENCE", 0.1)
    async with HealthServer(Health(), "127.0.0.1:0") as server:

        def ask() -> int:
            try:
                return int(urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=5).status)
            except urllib.error.HTTPError as error:
                return error.code

        assert await asyncio.to_thread(ask) == 200
        asking = asyncio.get_running_loop().run_in_executor(None, ask)
        await asyncio.sleep(0)
        time.sleep(1)  # noqa: ASYNC251
        assert await asking == 500
