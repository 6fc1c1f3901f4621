"""`scale`: sets the number of replicas through the scale subresource."""

from __future__ import annotations

import asyncio

from cli.env import Env
from cli.errors import ApiError, CliError, Object
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.objects import dig
from cli.resources import Target, fetch_all, resolve
from cli.writing import Writer, dry_run_option, each, filename_options, output_option, selector_option


@declare(
    "scale",
    usage="[--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME)",
    help="""
    Set a new size for a deployment, replica set, replication controller, or stateful set.

    If --current-replicas or --resource-version is specified, it is validated before the scale is attempted, and it is
    guaranteed that the precondition holds true when the scale is sent to the server.
    """,
    examples="""
    # Scale a deployment named 'web' to 3
    kubectl scale --replicas=3 deployment/web

    # If the deployment's current size is 2, scale it to 3
    kubectl scale --current-replicas=2 --replicas=3 deployment/web

    # Scale multiple resources
    kubectl scale --replicas=5 deployment/example1 statefulset/example2
    """,
)
@flag("--all", help="Select all resources in the namespace of the specified resource types.")
@option(
    "--current-replicas", type=int, default=-1, help="Precondition for current size. -1 (default) for no condition."
)
@dry_run_option
@filename_options
@output_option
@option("--replicas", type=int, required=True, shown="0", help="The new desired number of replicas. Required.")
@option("--resource-version", help="Precondition for resource version.")
@selector_option
@option("--timeout", default="0s", help="The length of time to wait before giving up, zero means don't wait.")
async def command(
    env: Env,
    args: tuple[str, ...],
    all: bool,
    current_replicas: int,
    dry_run: str,
    filename: tuple[str, ...],
    output: str,
    recursive: bool,
    replicas: int,
    resource_version: str,
    selector: str,
    timeout: str,
) -> None:
    if replicas < 0:
        raise CliError(f"The --replicas={replicas} flag is required, and it must be greater than or equal to 0")
    writer = Writer(env, dry_run=dry_run, output=output)
    limit = parse_duration(timeout)
    targets = await resolve(
        env, args, filenames=filename, recursive=recursive, selector=selector, select_all=all, need_name=not filename
    )
    if selector or all:
        targets, problems = await fetch_all(env, targets, labels=selector)
        if problems:
            raise problems[0]
        if not targets:
            raise CliError("no objects passed to scale")
    if len(targets) > 1 and resource_version:
        raise CliError("cannot use --resource-version with multiple resources")

    async def scale(target: Target) -> None:
        if target.mapping.subresources and "scale" not in target.mapping.subresources:
            raise CliError(f"cannot scale a {target.mapping.kind}: the server has no scale subresource for it")
        if writer.client_only:
            writer.report(target.mapping, await env.client.get(target.path), "scaled")
            return
        await set_scale(writer, target, replicas, current=current_replicas, version=resource_version)
        if limit:
            await _settled(env, target, replicas, limit)
        live: Object = {"metadata": {"name": target.name}}
        if output and output != "name":
            live = await env.client.get(target.path)
        writer.report(target.mapping, live, "scaled")

    await each(targets, scale)


async def set_scale(writer: Writer, target: Target, replicas: int, *, current: int = -1, version: str = "") -> Object:
    """Sets the size; with preconditions, by an update that fails when they do not hold."""
    path = target.mapping.path(target.namespace, target.name, "scale")
    if current < 0 and not version:
        return await writer.patch(target, {"spec": {"replicas": replicas}}, subresource="scale")
    live = await writer.env.client.get(path)
    have = dig(live, "spec", "replicas", default=0)
    if current >= 0 and have != current:
        raise CliError(f"Expected replicas to be {current}, was {have}")
    seen = dig(live, "metadata", "resourceVersion")
    if version and seen != version:
        raise CliError(f"Expected resource version to be {version}, was {seen}")
    live["spec"] = {**(live.get("spec") or {}), "replicas": replicas}
    return await writer.replace(target, live, subresource="scale")


async def _settled(env: Env, target: Target, replicas: int, limit: float) -> None:
    try:
        async with asyncio.timeout(limit):
            while True:
                try:
                    live = await env.client.get(target.path)
                except ApiError as problem:
                    if problem.is_not_found:
                        return
                    raise
                generation = dig(live, "metadata", "generation", default=0)
                observed = dig(live, "status", "observedGeneration", default=0)
                if observed >= generation and dig(live, "status", "replicas", default=0) == replicas:
                    return
                await asyncio.sleep(0.5)
    except TimeoutError as problem:
        raise CliError(f'timed out waiting for "{target.name}" to be synced') from problem
