"""`describe`: objects with everything that belongs to them, for reading."""

from __future__ import annotations

from cli.describe.inspector import Inspector
from cli.describe.registry import describer_for
from cli.describe.text import Text
from cli.env import Env
from cli.errors import ApiError, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.resources import Target, fetch, resolve
from cli.writing import filename_options, selector_option


@declare(
    "describe",
    usage="(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME)",
    help="""
    Show details of a specific resource or group of resources, with related resources such as events or controllers.

    You may select a single object by name, all objects of that type, provide a name prefix, or label selector.
    """,
    examples="""
    # Describe a node
    kubectl describe nodes node1

    # Describe a pod
    kubectl describe pods/nginx

    # Describe all pods
    kubectl describe pods

    # Describe pods by label name=myLabel
    kubectl describe pods -l name=myLabel

    # Describe all pods whose names begin with 'frontend'
    kubectl describe pods frontend
    """,
)
@flag("-A", "--all-namespaces", help="If present, list the requested object(s) across all namespaces.")
@option("--chunk-size", type=int, default=500, help="Return large lists in chunks. Pass 0 to disable.")
@filename_options
@selector_option
@flag("--show-events", default=True, help="If true, display events related to the described object.")
async def command(
    env: Env,
    args: tuple[str, ...],
    all_namespaces: bool,
    chunk_size: int,
    filename: tuple[str, ...],
    recursive: bool,
    selector: str,
    show_events: bool,
) -> None:
    if not args and not filename:
        raise UsageError(
            'You must specify the type of resource to describe. Use "pykubectl api-resources" for a complete '
            "list of supported resources."
        )
    targets = await resolve(
        env, args, filenames=filename, recursive=recursive, all_namespaces=all_namespaces, selector=selector
    )
    problems: list[Exception] = []
    written = 0
    for target in targets:
        try:
            found = [one async for one in fetch(env, target, labels=selector, chunk=chunk_size)]
        except ApiError as problem:
            found = await _by_prefix(env, target) if problem.is_not_found and target.name else []
            if not found:
                problems.append(problem)
        for one in found:
            text = Text()
            inspector = Inspector(env, one.mapping, show_events=show_events)
            await describer_for(one.mapping)(text, one.object or {}, inspector)
            if written:
                env.out("\n")
            env.out(text.render())
            written += 1
    if not written and not problems:
        where = f" in {env.namespace} namespace." if not all_namespaces else ""
        env.err(f"No resources found{where}")
    raise_all(problems)


async def _by_prefix(env: Env, target: Target) -> list[Target]:
    """kubectl takes a name that matches nothing as a prefix."""
    everything = Target(target.mapping, target.namespace)
    return [one async for one in fetch(env, everything) if one.name.startswith(target.name)]
