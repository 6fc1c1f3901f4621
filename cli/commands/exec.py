"""`exec`: runs a command in a container, with its exit code as ours."""

from __future__ import annotations

from cli.env import Env
from cli.errors import CliError, SilentExit, UsageError
from cli.exec_stream import run, stream_query, writer_to
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.objects import dig, name_of, namespace_of
from cli.pods import choose_container, pod_for
from cli.terminal import is_terminal, raw_mode, standard_input, window_sizes


@declare(
    "exec",
    usage="(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
    help="Execute a command in a container.",
    examples="""
    # Get output from running the 'date' command from pod mypod, using the first container by default
    kubectl exec mypod -- date

    # Open a shell in container web of pod mypod
    kubectl exec -it mypod -c web -- sh

    # Run a command in the first pod of a deployment
    kubectl exec deploy/web -- ls /
    """,
)
@option("-c", "--container", help="Container name. If omitted, use the default-container annotation or the first one.")
@option("-f", "--filename", multiple=True, help="Filename to use to exec into the resource.")
@option("--pod-running-timeout", default="1m0s", help="The length of time to wait until at least one pod is running.")
@flag("-q", "--quiet", help="Only print output from the remote session.")
@flag("-i", "--stdin", help="Pass stdin to the container.")
@flag("-t", "--tty", help="Stdin is a TTY.")
async def command(
    env: Env,
    args: tuple[str, ...],
    after_dash: list[str] | None,
    container: str,
    filename: tuple[str, ...],
    pod_running_timeout: str,
    quiet: bool,
    stdin: bool,
    tty: bool,
) -> None:
    if filename:
        from cli.resources import resolve

        targets = await resolve(env, (), filenames=filename)
        args = (f"{targets[0].mapping.group_resource}/{targets[0].name}", *args)
    if after_dash is None and len(args) > 1:
        raise UsageError("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead")
    if not args:
        raise UsageError("pod, type/name or --filename must be specified")
    if not after_dash:
        raise CliError("you must specify at least one command for the container")
    if len(args) > 1:
        raise UsageError("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead")
    pod = await pod_for(env, args[0], timeout=parse_duration(pod_running_timeout))
    phase = dig(pod, "status", "phase")
    if phase in ("Succeeded", "Failed"):
        raise CliError(f"cannot exec into a container in a completed pod; current phase is {phase}")
    chosen = choose_container(env, pod, container, quiet=quiet)
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}/exec"
    if tty and not is_terminal() and stdin:
        env.err("Unable to use a TTY - input is not a terminal or the right kind of file")
        tty = False
    code = await stream(env, path, chosen, stdin=stdin, tty=tty, command=after_dash)
    if code:
        if not quiet:
            env.err(f"command terminated with exit code {code}")
        raise SilentExit(code)


async def stream(env: Env, path: str, container: str, *, stdin: bool, tty: bool, command: list[str] | None) -> int:
    """Connects this process's own terminal and streams to a container's exec or attach."""
    query = stream_query(container, stdin=stdin, stdout=True, stderr=not tty, tty=tty)
    if command is not None:
        query["command"] = command
    with raw_mode(tty and stdin):
        return await run(
            env.client,
            path,
            query,
            stdin=standard_input() if stdin else None,
            stdout=writer_to(1),
            stderr=writer_to(2),
            sizes=window_sizes() if tty and is_terminal() else None,
        )
