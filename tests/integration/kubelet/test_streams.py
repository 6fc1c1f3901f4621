"""exec, attach and logs on real containers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kubelet import cri
from kubelet.runtime.streams import HijackedStream
from tests.integration.kubelet.conftest import Pods, RunningPod


async def collect(stream: HijackedStream) -> dict[str, bytes]:
    out = {"stdout": b"", "stderr": b""}
    async with asyncio.timeout(20):
        async for name, data in stream.output():
            out[name] += data
    return out


async def execute(pod: RunningPod, *command: str, tty: bool = False, stdin: bool = False) -> HijackedStream:
    return await pod.runtime.exec(pod.container, command, stdin=stdin, stdout=True, stderr=True, tty=tty)


async def test_exec_keeps_the_streams_apart_and_tells_the_exit_code(pods: Pods) -> None:
    pod = await pods.run()
    stream = await execute(pod, "sh", "-c", "echo out; echo err >&2; exit 42")
    assert await collect(stream) == {"stdout": b"out\n", "stderr": b"err\n"}
    assert (await stream.exit_code(), stream.error) == (42, "")


async def test_exec_of_what_does_not_exist_is_an_error_and_no_output(pods: Pods) -> None:
    pod = await pods.run()
    for tty in (False, True):
        stream = await execute(pod, "nope", tty=tty)
        assert await collect(stream) == {"stdout": b"", "stderr": b""}
        assert stream.error == (
            "OCI runtime exec failed: exec failed: unable to start container process: "
            'exec: "nope": executable file not found in $PATH: unknown'
        )
        assert await stream.exit_code() in (126, 127)


async def test_a_program_may_print_what_docker_says_on_failure(pods: Pods) -> None:
    pod = await pods.run()
    stream = await execute(pod, "echo", "OCI runtime exec failed: not really")
    assert (await collect(stream))["stdout"] == b"OCI runtime exec failed: not really\n"
    assert stream.error == ""


async def test_closing_stdin_ends_a_filter_and_megabytes_go_through(pods: Pods) -> None:
    pod = await pods.run()
    stream = await execute(pod, "cat", stdin=True)
    data = bytes(range(256)) * 4096 * 4

    async def feed() -> None:
        for start in range(0, len(data), 60_000):
            await stream.write(data[start : start + 60_000])
        await stream.close_stdin()

    _, out = await asyncio.gather(feed(), collect(stream))
    assert out["stdout"] == data
    assert await stream.exit_code() == 0


async def test_a_caller_without_input_may_close_it_at_once(pods: Pods) -> None:
    pod = await pods.run()
    for stdin in (False, True):
        stream = await execute(pod, "sh", "-c", "sleep 0.2; echo late; exit 4", stdin=stdin)
        await stream.close_stdin()
        assert (await collect(stream))["stdout"] == b"late\n"
        assert await stream.exit_code() == 4


async def test_a_terminal_has_a_size_and_one_stream(pods: Pods) -> None:
    pod = await pods.run()
    stream = await execute(pod, "sh", tty=True, stdin=True)
    await stream.resize(132, 43)
    await stream.write(b"stty size; echo $TERM >&2; exit 5\n")
    out = await collect(stream)
    assert b"43 132" in out["stdout"]
    assert b"xterm" in out["stdout"]
    assert out["stderr"] == b""
    assert await stream.exit_code() == 5


async def test_a_timed_out_command_is_killed(pods: Pods) -> None:
    pod = await pods.run()
    with pytest.raises(TimeoutError, match=r"timed out after 0\.3s"):
        await pod.runtime.exec_sync(pod.container, ["sh", "-c", "sleep 1234 & sleep 1234"], 0.3)
    async with asyncio.timeout(5):
        while "sleep 1234" in await pod.sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true"):
            await asyncio.sleep(0.05)


async def test_probe_output_is_cut(pods: Pods) -> None:
    pod = await pods.run()
    done = await pod.runtime.exec_sync(pod.container, ["sh", "-c", "yes | head -c 100000"], 10)
    assert (done.exit_code, len(done.output)) == (0, 10 * 1024)


async def test_exec_in_what_does_not_run(pods: Pods) -> None:
    pod = await pods.run("true")
    await pod.ended()
    with pytest.raises(cri.RuntimeFailure, match="container not running"):
        await pod.runtime.exec_sync(pod.container, ["true"], 5)
    with pytest.raises(cri.RuntimeFailure, match="container not running"):
        await pod.runtime.attach(pod.container, stdin=False, stdout=True, stderr=True, tty=False)
    with pytest.raises(cri.ContainerNotFound):
        await pod.runtime.exec_sync("f" * 64, ["true"], 5)


async def test_attach_talks_to_the_main_process(pods: Pods) -> None:
    pod = await pods.run("sh", "-c", "read line; echo got $line; echo oops >&2", stdin=True, stdin_once=True)
    stream = await pod.runtime.attach(pod.container, stdin=True, stdout=True, stderr=True, tty=False)
    await stream.write(b"hello\n")
    assert await collect(stream) == {"stdout": b"got hello\n", "stderr": b"oops\n"}
    assert (await pod.ended()).exit_code == 0


async def test_attach_to_a_terminal_is_not_misled_by_its_caller(pods: Pods) -> None:
    pod = await pods.run("sh", "-c", "read line; stty size; echo bye", stdin=True, tty=True)
    stream = await pod.runtime.attach(pod.container, stdin=True, stdout=True, stderr=True, tty=False)
    await stream.resize(99, 33)
    await stream.write(b"go\n")
    out = await collect(stream)
    assert b"33 99" in out["stdout"]
    assert b"bye" in out["stdout"]


async def test_sixty_execs_at_once(pods: Pods) -> None:
    pod = await pods.run()

    async def one(number: int) -> bytes:
        return (await pod.runtime.exec_sync(pod.container, ["echo", str(number)], 60)).output

    answers = await asyncio.gather(*(one(number) for number in range(60)))
    assert answers == [f"{number}\n".encode() for number in range(60)]


# -- logs -------------------------------------------------------------------------------------------------------------


async def test_log_options(pods: Pods) -> None:
    pod = await pods.run("sh", "-c", "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.05; done")
    await pod.ended()
    everything = await pod.log()
    assert sorted(everything.splitlines()) == sorted(
        f"{name} {number}".encode() for name in ("out", "err") for number in (1, 2, 3)
    )
    assert await pod.log(stream="stderr") == b"err 1\nerr 2\nerr 3\n"
    assert await pod.log(stream="stdout", tail=2) == b"out 2\nout 3\n"
    assert await pod.log(tail=0) == b""
    assert await pod.log(stream="stdout", limit_bytes=8) == b"out 1\nou"
    stamped = (await pod.log(stream="stdout", timestamps=True)).decode().splitlines()
    stamps = [line.split(" ", 1)[0] for line in stamped]
    assert all(len(stamp) == 30 and stamp.endswith("Z") for stamp in stamps)
    assert stamps == sorted(stamps)


async def test_following_ends_with_the_container_and_misses_nothing(pods: Pods) -> None:
    pod = await pods.run("sh", "-c", "for i in $(seq 300); do echo $i; done; sleep 0.5; echo last")
    async with asyncio.timeout(20):
        followers = await asyncio.gather(*(pod.log(follow=True) for _ in range(20)))
    expected = "".join(f"{number}\n" for number in range(1, 301)).encode() + b"last\n"
    assert set(followers) == {expected}


async def test_following_survives_rotation(pods: Pods) -> None:
    lines = 330_000  # some 25 MB in the file: at least two rotations
    pod = await pods.run("sh", "-c", f"sleep 0.3; seq {lines}")
    count, last, rotated = 0, b"", False
    async with asyncio.timeout(120):
        async for data in pod.runtime.logs(
            pod.container, follow=True, since=None, tail=None, timestamps=False, limit_bytes=None
        ):
            count, last = count + data.count(b"\n"), data
    inspected = await pod.runtime._context.inspect(pod.container)
    rotated = Path(f"{inspected['LogPath']}.1").exists()
    assert rotated
    assert (count, last.splitlines()[-1]) == (lines, str(lines).encode())
    assert await pod.log(tail=200_000) == "".join(f"{n}\n" for n in range(lines - 200_000 + 1, lines + 1)).encode()


async def test_a_slow_reader_does_not_hold_up_the_container(pods: Pods) -> None:
    pod = await pods.run("sh", "-c", "seq 100000; echo done > /dev/termination; echo end")
    reader = pod.runtime.logs(pod.container, follow=True, since=None, tail=None, timestamps=False, limit_bytes=None)
    await anext(reader)  # and now it reads no more
    assert (await pod.ended()).exit_code == 0
    rest = b"".join([data async for data in reader])
    assert rest.endswith(b"100000\nend\n")


async def test_logs_of_what_is_gone(pods: Pods) -> None:
    pod = await pods.run()
    with pytest.raises(cri.ContainerNotFound):
        await pod.log("e" * 64)
