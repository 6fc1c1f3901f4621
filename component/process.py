"""Starts a process: options, logging, health server, signals, one TaskGroup; and ends it honestly.

Invariants:
- whatever a task raises ends the process with exit code 1 and says why: a component is never left half dead;
- SIGTERM and SIGINT cancel the component's tasks, wait for their clean-up and exit with code 0; a second one exits at
  once;
- `/healthz` answers before the component has finished starting, `/readyz` is what the component says it is.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import click

from component import logs, options
from component.health import Check, Health, HealthServer

log = logging.getLogger(__name__)


class Process:
    """What a component's `run` is given."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.name = name
        self.options = SimpleNamespace(**values)
        self.health = Health()

    def live_check(self, name: str, check: Check) -> None:
        """`check` answers "" or what is wrong; it counts for /healthz, /livez and /readyz."""
        self.health.live[name] = check

    def ready_check(self, name: str, check: Check) -> None:
        """Counts for /readyz only."""
        self.health.ready[name] = check


Run = Callable[[Process], Awaitable[None]]
NewLoop = Callable[[], asyncio.AbstractEventLoop]


def main(
    name: str,
    run: Run,
    params: Sequence[click.Option] = (),
    *,
    health_port: int,
    args: Sequence[str] | None = None,
    help: str = "",
    new_loop: NewLoop | None = None,
) -> NoReturn:
    """The whole life of a process: parse `args` (default: the command line), `run`, exit.

    `new_loop` makes the event loop; asyncio's own if not given.
    """

    # gRPC's own chatter about each failed handshake; what matters of it comes as an exception
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

    def start(**values: Any) -> None:
        logs.setup(values["log_level"], values["log_format"])
        sys.exit(execute(Process(name, values), run, new_loop))

    command = click.Command(
        name,
        params=[*params, *options.common_options(health_port)],
        callback=start,
        help=help,
        context_settings={"auto_envvar_prefix": "PYKUBE", "help_option_names": ["-h", "--help"]},
    )
    command.main(args=list(args) if args is not None else None, prog_name=name)
    raise AssertionError("click's main always exits")


def execute(process: Process, run: Run, new_loop: NewLoop | None = None) -> int:
    """Run to the end on a fresh event loop and answer the exit code."""
    # Objects of the cache live long: looking at all of them at every few hundred allocations costs more than it finds.
    gc.set_threshold(20_000, 20, 50)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_supervise(process, run))
    except asyncio.CancelledError:
        log.info("%s: stopped", process.name)
        return 0
    except BaseException as error:
        for leaf in _leaves(error):
            if not isinstance(leaf, asyncio.CancelledError):
                log.critical("%s: %s: %s", process.name, type(leaf).__name__, leaf, exc_info=leaf)
        return 1
    return 0


async def _supervise(process: Process, run: Run) -> None:
    _handle_signals(process.name)
    address = process.options.health_address
    if not address:
        await run(process)
        return
    async with HealthServer(process.health, address):
        gc.collect()
        gc.freeze()
        await run(process)


def _handle_signals(name: str) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    seen: list[int] = []

    def stop(number: int) -> None:
        if seen:
            os._exit(1)
        seen.append(number)
        log.info("%s: %s received, stopping", name, signal.Signals(number).name)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
