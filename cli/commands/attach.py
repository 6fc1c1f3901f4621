"""`attach`: this terminal on the main process of a running container."""

from __future__ import annotations

from cli.commands.exec import stream
from cli.env import Env
from cli.errors import CliError, Object, UsageError
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.objects import dig, name_of, namespace_of
from cli.pods import all_containers, choose_container, pod_for


@declare(
    "attach",
    usage="(POD | TYPE/NAME) -c CONTAINER",
    help="Attach to a process that is already running inside an existing container.",
    examples="""
    # Get output from the default container of pod mypod
    kubectl attach mypod

    # Switch to raw terminal mode and use container bash of pod mypod
    kubectl attach mypod -c bash -i -t
    """,
)
@option("-c", "--container", help="Container name. If omitted, use the default-container annotation or the first one.")
@option("--pod-running-timeout", default="1m0s", help="The length of time to wait until at least one pod is running.")
@flag("-q", "--quiet", help="Only print output from the remote session.")
@flag("-i", "--stdin", help="Pass stdin to the container.")
@flag("-t", "--tty", help="Stdin is a TTY.")
async def command(
    env: Env,
    args: tuple[str, ...],
    container: str,
    pod_running_timeout: str,
    quiet: bool,
    stdin: bool,
    tty: bool,
) -> None:
    if len(args) != 1:
        raise UsageError(
            "at least 1 argument is required for attach"
            if not args
            else f"expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {len(args)}: {list(args)}"
        )
    pod = await pod_for(env, args[0], timeout=parse_duration(pod_running_timeout))
    chosen = choose_container(env, pod, container, quiet=quiet)
    await attach_to(env, pod, chosen, stdin=stdin, tty=tty, quiet=quiet)


async def attach_to(env: Env, pod: Object, container: str, *, stdin: bool, tty: bool, quiet: bool) -> int:
    phase = dig(pod, "status", "phase")
    if phase in ("Succeeded", "Failed"):
        raise CliError(f"cannot attach a container in a completed pod; current phase is {phase}")
    declared: Object = next((c for c in all_containers(pod) if c["name"] == container), {})
    if tty and not declared.get("tty"):
        env.err(f"error: Unable to use a TTY - container {container} did not allocate one")
        tty = False
    elif not tty and declared.get("tty"):
        # The container's output is a terminal's already; asking for anything else would garble it.
        tty = True
    if not quiet:
        env.err("If you don't see a command prompt, try pressing enter.")
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}/attach"
    code = await stream(env, path, container, stdin=stdin, tty=tty, command=None)
    if stdin and tty and not quiet and dig(pod, "spec", "restartPolicy") == "Always":
        env.out(
            f"Session ended, resume using 'pykubectl attach {name_of(pod)} -c {container} -i -t' "
            "command when the pod is running"
        )
    return code
