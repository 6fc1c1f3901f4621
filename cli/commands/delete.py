"""`delete`: removes objects named by files, names or selectors, and waits until they are gone."""

from __future__ import annotations

import asyncio

from cli.env import Env
from cli.errors import ApiError, CliError, Object, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.resources import Target, fetch_all, resolve
from cli.watching import until
from cli.writing import dry_run_option, filename_options, selector_option

CASCADES = {
    "": "Background",
    "true": "Background",
    "background": "Background",
    "false": "Orphan",
    "orphan": "Orphan",
    "foreground": "Foreground",
}


@declare(
    "delete",
    usage="([-f FILENAME] | TYPE [(NAME | -l label | --all)])",
    help="""
    Delete resources by file names, stdin, resources and names, or by resources and label selector.

    Some resources, such as pods, support graceful deletion: they get a grace period before they are forcibly ended. Use
    --now for a grace period of one second, and --force --grace-period=0 to remove the object without waiting for the
    node to confirm.
    """,
    examples="""
    # Delete a pod using the type and name specified in pod.json
    kubectl delete -f ./pod.json

    # Delete pods and services with same names "baz" and "foo"
    kubectl delete pod,service baz foo

    # Delete pods and services with label name=myLabel
    kubectl delete pods,services -l name=myLabel

    # Delete all pods
    kubectl delete pods --all
    """,
)
@flag("--all", help="Delete all resources, in the namespace of the specified resource types.")
@flag("-A", "--all-namespaces", help="If present, the requested object(s) across all namespaces.")
@option("--cascade", bare="background", default="background", help='Must be "background", "orphan", or "foreground".')
@dry_run_option
@option("--field-selector", help="Selector (field query) to filter on, supports '=', '==', and '!='.")
@filename_options
@flag("--force", help="If true, immediately remove resources from API and bypass graceful deletion.")
@option(
    "--grace-period", type=int, default=-1, help="Period of time in seconds given to the resource to end gracefully."
)
@flag("--ignore-not-found", help='Treat "resource not found" as a successful delete.')
@flag("--now", help="If true, resources are signaled for immediate shutdown (same as --grace-period=1).")
@option("-o", "--output", help='Output mode. Use "-o name" for shorter output (resource/name).')
@option("--raw", help="Raw URI to DELETE to the server.")
@selector_option
@option("--timeout", default="0s", help="The length of time to wait before giving up on a delete, zero means no limit.")
@flag("--wait", default=True, help="If true, wait for resources to be gone before returning.")
async def command(
    env: Env,
    args: tuple[str, ...],
    all: bool,
    all_namespaces: bool,
    cascade: str,
    dry_run: str,
    field_selector: str,
    filename: tuple[str, ...],
    force: bool,
    grace_period: int,
    ignore_not_found: bool,
    now: bool,
    output: str,
    raw: str,
    recursive: bool,
    selector: str,
    timeout: str,
    wait: bool,
) -> None:
    if raw:
        env.out((await env.client.raw("DELETE", raw)).decode(), end="")
        return
    if output not in ("", "name"):
        raise CliError(f"unexpected -o output mode: {output}. We only support '-o name'")
    if cascade not in CASCADES:
        raise CliError(f'invalid cascade value ({cascade}). Must be "background", "foreground", or "orphan"')
    if all and selector:
        raise CliError("cannot set --all and --selector at the same time")
    if all and field_selector:
        raise CliError("cannot set --all and --field-selector at the same time")
    if now:
        if grace_period != -1:
            raise CliError("--now and --grace-period cannot be specified together")
        grace_period = 1
    if force and grace_period < 0:
        grace_period = 0
    if grace_period == 0 and not force:
        # Zero would drop the object while its containers still run; kubectl waits a second unless forced.
        grace_period = 1
    if force:
        env.warn(
            "Immediate deletion does not wait for confirmation that the running resource has been terminated. The "
            "resource may continue to run on the cluster indefinitely."
        )
    by_list = bool(selector or field_selector or all)
    targets = await resolve(
        env,
        args,
        filenames=filename,
        recursive=recursive,
        all_namespaces=all_namespaces,
        selector=selector or field_selector,
        select_all=all,
        need_name=not filename,
    )
    problems: list[Exception] = []
    if by_list and not filename:
        targets, problems = await fetch_all(env, targets, labels=selector, fields=field_selector)
    elif all_namespaces:
        env.warn("deleting cluster-scoped resources, not scoped to the provided namespace")
    options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": CASCADES[cascade]}
    if grace_period >= 0:
        options["gracePeriodSeconds"] = grace_period
    if dry_run == "server":
        options["dryRun"] = ["All"]
    await _delete(
        env,
        targets,
        options,
        problems,
        word="force deleted" if force and grace_period == 0 else "deleted",
        output=output,
        dry_run=dry_run,
        ignore_not_found=ignore_not_found or (by_list and not filename),
        by_list=by_list,
        wait=wait and dry_run in ("", "none"),
        timeout=parse_duration(timeout),
    )


async def _delete(
    env: Env,
    targets: list[Target],
    options: Object,
    problems: list[Exception],
    *,
    word: str,
    output: str,
    dry_run: str,
    ignore_not_found: bool,
    by_list: bool,
    wait: bool,
    timeout: float,
) -> None:
    pending: list[tuple[Target, str]] = []
    count = 0
    suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(dry_run, "")
    for target in targets:
        try:
            if dry_run == "client":
                answer: Object = await env.client.get(target.path)
            else:
                answer = await env.client.request("DELETE", target.path, body=options)
        except ApiError as problem:
            if not (problem.is_not_found and ignore_not_found):
                problems.append(problem.with_source("deleting", target.source))
            continue
        count += 1
        if output == "name":
            env.out(f"{target.mapping.display}/{target.name}")
        else:
            where = f" from {target.namespace} namespace" if target.namespace else ""
            env.out(f'{target.mapping.display} "{target.name}" {word}{where}{suffix}')
        pending.append((target, _uid(answer)))
    if not count and not problems and by_list:
        env.out("No resources found")
    if wait and pending:
        import sys

        sys.stdout.flush()
        await wait_gone(env, pending, timeout=timeout)
    raise_all(problems)


def _uid(answer: Object) -> str:
    """The deleted object's UID: in the returned object, or in the details of a `Status`."""
    if answer.get("kind") == "Status":
        return str((answer.get("details") or {}).get("uid") or "")
    return str((answer.get("metadata") or {}).get("uid") or "")


async def wait_gone(env: Env, pending: list[tuple[Target, str]], *, timeout: float) -> None:
    """Waits until every object is gone or replaced by another of the same name. 0 seconds: a week, as kubectl."""
    limit = timeout if timeout > 0 else 7 * 24 * 3600.0
    try:
        async with asyncio.timeout(limit):
            for target, uid in pending:
                await _gone(env, target, uid)
    except TimeoutError as problem:
        raise CliError(f"timed out waiting for the condition on {target.mapping.plural}/{target.name}") from problem


async def _gone(env: Env, target: Target, uid: str) -> None:
    while True:
        try:
            live = await env.client.get(target.path)
        except ApiError as problem:
            if problem.is_not_found or problem.reason in ("Forbidden", "MethodNotAllowed"):
                return
            raise
        if uid and _uid(live) != uid:
            return
        if "watch" not in target.mapping.verbs and target.mapping.verbs:
            await asyncio.sleep(1)
            continue
        if not await until(env, target, lambda obj: bool(uid) and _uid(obj) != uid, start=live):
            return
