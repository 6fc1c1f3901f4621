"""`logs`: what containers wrote, once or as they write."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from cli.env import Env
from cli.errors import ApiError, CliError, Object, UsageError
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.objects import name_of, namespace_of
from cli.pods import choose_container, container_names, matching_pods, pods_of
from cli.resources import fetch_one, resolve

USAGE = """\
expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.
POD or TYPE/NAME is a required argument for the logs command"""


@dataclass
class Source:
    """One container's log."""

    pod: Object
    container: str

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{namespace_of(self.pod)}/pods/{name_of(self.pod)}/log"

    @property
    def prefix(self) -> str:
        return f"[pod/{name_of(self.pod)}/{self.container}] "


@declare(
    "logs",
    usage="[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]",
    help="Print the logs for a container in a pod or specified resource. If the pod has only one container, the "
    "container name is optional.",
    examples="""
    # Return snapshot logs from pod nginx with only one container
    kubectl logs nginx

    # Return snapshot logs from pod nginx, prefixing each line with the source pod and container name
    kubectl logs nginx --all-containers --prefix

    # Return snapshot logs from all containers in pods defined by label app=nginx
    kubectl logs -l app=nginx --all-containers=true

    # Begin streaming the logs of the web container in pod web-1
    kubectl logs -f -c web web-1

    # Show all logs from pod nginx written in the last hour
    kubectl logs --since=1h nginx
    """,
)
@flag("--all-containers", help="Get all containers' logs in the pod(s).")
@flag("--all-pods", help="Get logs from all pod(s). Sets prefix to true.")
@option("-c", "--container", help="Print the logs of this container.")
@flag("-f", "--follow", help="Specify if the logs should be streamed.")
@flag("--ignore-errors", help="If watching / following pod logs, allow for any errors that occur to be non-fatal.")
@flag("--insecure-skip-tls-verify-backend", help="Skip verifying the identity of the kubelet that logs come from.")
@option("--limit-bytes", type=int, default=0, help="Maximum bytes of logs to return. Defaults to no limit.")
@option("--max-log-requests", type=int, default=5, help="Maximum number of concurrent logs to follow with a selector.")
@flag("--prefix", help="Prefix each log line with the log source (pod name and container name).")
@flag("-p", "--previous", help="If true, print the logs for the previous instance of the container in a pod.")
@option("-l", "--selector", help="Selector (label query) to filter on.")
@option("--since", default="0s", help="Only return logs newer than a relative duration like 5s, 2m, or 3h.")
@option("--since-time", help="Only return logs after a specific date (RFC3339).")
@option("--tail", type=int, default=-1, help="Lines of recent log file to display. -1: all, or 10 with a selector.")
@flag("--timestamps", help="Include timestamps on each line in the log output.")
async def command(
    env: Env,
    args: tuple[str, ...],
    all_containers: bool,
    all_pods: bool,
    container: str,
    follow: bool,
    ignore_errors: bool,
    insecure_skip_tls_verify_backend: bool,
    limit_bytes: int,
    max_log_requests: int,
    prefix: bool,
    previous: bool,
    selector: str,
    since: str,
    since_time: str,
    tail: int,
    timestamps: bool,
) -> None:
    if not args and not selector:
        raise UsageError(USAGE)
    if len(args) > 2:
        raise UsageError(USAGE)
    if len(args) == 2 and container:
        raise UsageError("only one of -c or an inline [CONTAINER] arg is allowed")
    if len(args) == 2:
        container = args[1]
    if container and all_containers:
        raise CliError("--all-containers=true should not be specified with container name")
    if selector and args:
        raise CliError("only a selector (-l) or a POD name is allowed")
    if parse_duration(since) and since_time:
        raise CliError("only one of --since-time / --since may be used")
    if limit_bytes < 0:
        raise CliError("--limit must be greater than 0")
    if tail < -1:
        raise CliError("--tail must be greater than or equal to -1")
    if tail == -1 and selector:
        tail = 10
    query: dict[str, Any] = {
        "follow": follow or None,
        "previous": previous or None,
        "timestamps": timestamps or None,
        "sinceTime": since_time,
        "sinceSeconds": round(parse_duration(since)) or None,
        "tailLines": tail if tail >= 0 else None,
        "limitBytes": limit_bytes or None,
        "insecureSkipTLSVerifyBackend": insecure_skip_tls_verify_backend or None,
    }
    sources = await _sources(env, args, container, selector=selector, all_containers=all_containers, all_pods=all_pods)
    prefix = prefix or all_pods
    if follow and len(sources) > 1:
        if len(sources) > max_log_requests:
            raise CliError(
                f"you are attempting to follow {len(sources)} log streams, but maximum allowed concurrency is "
                f"{max_log_requests}, use --max-log-requests to increase the limit"
            )
        async with asyncio.TaskGroup() as tasks:
            for source in sources:
                tasks.create_task(_print(env, source, query, prefix=prefix, ignore_errors=ignore_errors))
        return
    for source in sources:
        await _print(env, source, query, prefix=prefix, ignore_errors=ignore_errors)


async def _sources(
    env: Env, args: tuple[str, ...], container: str, *, selector: str, all_containers: bool, all_pods: bool
) -> list[Source]:
    if selector:
        pods = list(await matching_pods(env, selector, env.namespace))
        if not pods:
            env.err(f"No resources found in {env.namespace} namespace.")
    else:
        words = (args[0],) if "/" in args[0] else ("pods", args[0])
        target = (await resolve(env, words))[0]
        try:
            found = await fetch_one(env, target)
        except ApiError as problem:
            if not problem.is_not_found:
                raise
            text = f'error from server (NotFound): {problem.message} in namespace "{env.namespace}"'
            raise CliError(text) from problem
        pods = await pods_of(env, found)
        if not pods:
            raise CliError("timed out waiting for the condition")
        if target.mapping.kind != "Pod" and not all_pods:
            if len(pods) > 1:
                env.err(f"Found {len(pods)} pods, using pod/{name_of(pods[0])}")
            pods = pods[:1]
    out: list[Source] = []
    for pod in pods:
        if all_containers:
            spec = pod.get("spec") or {}
            ordered = [
                one["name"]
                for key in ("initContainers", "containers", "ephemeralContainers")
                for one in spec.get(key) or []
            ]
            out.extend(Source(pod, name) for name in ordered)
        elif container and container not in container_names(pod):
            raise CliError(f"container {container} is not valid for pod {name_of(pod)}")
        else:
            out.append(Source(pod, choose_container(env, pod, container)))
    return out


async def _print(env: Env, source: Source, query: dict[str, Any], *, prefix: bool, ignore_errors: bool) -> None:
    out = sys.stdout.buffer
    rest = b""
    start = source.prefix.encode() if prefix else b""
    try:
        async with env.client.open("GET", source.path, query={"container": source.container, **query}) as response:
            async for chunk in response.content.iter_any():
                if not start:
                    out.write(chunk)
                    out.flush()
                    continue
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    out.write(start + line + b"\n")
                out.flush()
        if rest:
            out.write(start + rest)
            out.flush()
    except ApiError as problem:
        if not ignore_errors:
            raise
        env.err(f"error: {problem.message}")
