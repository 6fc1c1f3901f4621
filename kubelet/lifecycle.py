"""postStart and preStop hooks: a command, an HTTP request, or a pause."""

from __future__ import annotations

import asyncio

from api.types.core_v1 import LifecycleHandler
from kubelet.cri import Runtime, RuntimeFailure
from kubelet.podutil import AnyContainer
from kubelet.probes import http

HTTP_TIMEOUT = 30.0  # seconds


class HookFailure(Exception):
    """str() goes into the event."""


async def run(runtime: Runtime, handler: LifecycleHandler, container_id: str, container: AnyContainer, ip: str) -> None:
    """Returns when the hook has ended well. Raises HookFailure."""
    if handler.exec:
        command = list(handler.exec.command or ())
        try:
            done = await runtime.exec_sync(container_id, command, None)
        except RuntimeFailure as error:
            raise HookFailure(str(error)) from None
        if done.exit_code:
            output = done.output.decode(errors="replace")
            raise HookFailure(f"command '{' '.join(command)}' exited with {done.exit_code}: {output}")
    elif handler.sleep:
        await asyncio.sleep(handler.sleep.seconds)
    elif handler.http_get:
        ports = {p.name: p.container_port for p in container.ports or () if p.name}
        try:
            await http.call_hook(handler.http_get, ip, ports, HTTP_TIMEOUT)
        except (http.HttpError, ValueError, TimeoutError) as error:
            raise HookFailure(str(error) or type(error).__name__) from None
