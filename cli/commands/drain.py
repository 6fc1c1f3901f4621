"""`drain`: cordons nodes and moves their pods away, respecting disruption budgets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from cli.env import Env
from cli.errors import CliError, Errors, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.nodes import DrainRules, choose_pods, remove, set_unschedulable
from cli.resources import Target, fetch_all, resolve
from cli.writing import Writer, dry_run_option, selector_option


@declare(
    "drain",
    usage="NODE",
    help="""
    Drain node in preparation for maintenance.

    The given node will be marked unschedulable to prevent new pods from arriving. 'drain' evicts the pods if the API
    server supports eviction, else it deletes them. It waits until all of them are gone, and does not touch mirror pods;
    pods of DaemonSets, pods without a controller and pods with emptyDir volumes need their flags.
    """,
    examples="""
    # Drain node "foo", even if there are pods not managed by a controller on it
    kubectl drain foo --force

    # Drain it, leaving the pods of daemon sets, with a grace period of 15 minutes
    kubectl drain foo --ignore-daemonsets --grace-period=900
    """,
)
@flag("--delete-emptydir-data", help="Continue even if there are pods using emptyDir (their data will be deleted).")
@flag(
    "--disable-eviction", help="Force drain to use delete, even if eviction is supported. Bypasses disruption budgets."
)
@dry_run_option
@flag("--force", help="Continue even if there are pods that do not declare a controller.")
@option("--grace-period", type=int, default=-1, help="Seconds given to each pod to end gracefully. Negative: its own.")
@flag("--ignore-daemonsets", help="Ignore DaemonSet-managed pods.")
@option("--pod-selector", help="Label selector to filter pods on the node.")
@selector_option
@option(
    "--skip-wait-for-delete-timeout", type=int, default=0, help="Skip pods deleted for longer than this many seconds."
)
@option("--timeout", default="0s", help="The length of time to wait before giving up, zero means infinite.")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not args and not params["selector"]:
        raise UsageError("USAGE: drain NODE [flags]")
    names = tuple(name.removeprefix("node/").removeprefix("nodes/") for name in args)
    found, problems = await fetch_all(env, await resolve(env, ("nodes", *names)), labels=params["selector"])
    raise_all(problems)
    writer = Writer(env, dry_run=params["dry_run"])
    for target in found:
        await set_unschedulable(writer, target, True)
    limit = parse_duration(params["timeout"])
    deadline = time.monotonic() + (limit or 10 * 365 * 24 * 3600)
    for target in found:
        await _drain(env, writer, target, params, deadline)


async def _drain(env: Env, writer: Writer, target: Target, params: dict[str, Any], deadline: float) -> None:
    query = {"fieldSelector": f"spec.nodeName={target.name}", "labelSelector": params["pod_selector"]}
    pods = (await env.client.get("/api/v1/pods", query=query)).get("items") or []
    rules = DrainRules(
        force=params["force"],
        ignore_daemon_sets=params["ignore_daemonsets"],
        delete_emptydir_data=params["delete_emptydir_data"],
        skip_wait_for_delete_timeout=params["skip_wait_for_delete_timeout"],
    )
    choice = await choose_pods(env, pods, rules)
    if choice.errors:
        env.err(
            f'error: unable to drain node "{target.name}" due to error: [{", ".join(choice.errors)}], '
            "continuing command..."
        )
        env.err(f"There are pending nodes to be drained:\n {target.name}")
        raise Errors([CliError(text, prefix="") for text in choice.errors])
    if choice.warnings:
        env.warn("; ".join(choice.warnings))
    if not writer.client_only:
        evict = not params["disable_eviction"]
        work = (
            remove(env, pod, evict=evict, grace=params["grace_period"], deadline=deadline, dry_run=writer.dry_run)
            for pod in choice.evict
        )
        results = await asyncio.gather(*work, return_exceptions=True)
        failed = [one for one in results if isinstance(one, Exception)]
        if failed:
            env.err(f'error: unable to drain node "{target.name}" due to error: {failed[0]}, continuing command...')
            raise Errors(failed)
    writer.report(target.mapping, target.object or {}, "drained")
