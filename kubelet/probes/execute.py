"""A command in the container: exit code 0 is success."""

from __future__ import annotations

from api.types.core_v1 import ExecAction
from kubelet.cri import Runtime, RuntimeFailure
from kubelet.expansion import expand_env
from kubelet.probes.outcome import Outcome, Result


async def probe(
    runtime: Runtime, container_id: str, action: ExecAction, env: dict[str, str], timeout: float
) -> Outcome:
    command = [expand_env(word, env) for word in action.command or ()]
    try:
        done = await runtime.exec_sync(container_id, command, timeout)
    except TimeoutError:
        return Outcome(Result.FAILURE, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s')
    except RuntimeFailure as error:
        return Outcome(Result.UNKNOWN, f"rpc error: {error}")
    output = done.output.decode(errors="replace")
    return Outcome(Result.SUCCESS if done.exit_code == 0 else Result.FAILURE, output)
