"""`rollout`: status, history, undo, pause, resume and restart of workloads."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from cli.env import Env
from cli.errors import CliError, Object, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, group, option
from cli.human import now, parse_duration
from cli.objects import dig, name_of
from cli.resources import Target, fetch_all, resolve
from cli.revisions import Revision, choose, revisions
from cli.rollout_status import progress
from cli.watching import until
from cli.writing import Writer, dry_run_option, each, filename_options, output_option, selector_option

command = group(
    "rollout",
    help="Manage the rollout of one or many resources: deployments, daemonsets and statefulsets.",
)
RESTARTED = "kubectl.kubernetes.io/restartedAt"


def _common(function: Any) -> Any:
    return selector_option(filename_options(function))


async def _targets(env: Env, args: tuple[str, ...], params: dict[str, Any]) -> list[Target]:
    if not args and not params["filename"]:
        raise UsageError("required resource not specified")
    chosen = await resolve(
        env, args, filenames=params["filename"], recursive=params["recursive"], selector=params["selector"]
    )
    found, problems = await fetch_all(env, chosen, labels=params["selector"])
    raise_all(problems)
    if not found:
        env.err(f"No resources found in {env.namespace} namespace.")
    return found


@declare(
    "status",
    usage="(TYPE NAME | TYPE/NAME) [flags]",
    help="Show the status of the rollout. By default it watches the latest rollout until it's done.",
    group=command,
)
@_common
@option("--revision", type=int, default=0, help="Pin to a specific revision. Default is 0 (last revision).")
@option("--timeout", default="0s", help="The length of time to wait before ending watch, zero means never.")
@flag("-w", "--watch", default=True, help="Watch the status of the rollout until it's done.")
async def status(env: Env, args: tuple[str, ...], **params: Any) -> None:
    limit = parse_duration(params["timeout"])
    try:
        async with asyncio.timeout(limit or None):
            for target in await _targets(env, args, params):
                await _follow(env, target, params["revision"], watch=params["watch"])
    except TimeoutError as problem:
        raise CliError("timed out waiting for the condition") from problem


async def _follow(env: Env, target: Target, revision: int, *, watch: bool) -> None:
    """Prints each step once. A watch that breaks is begun again from the newest state."""
    obj = target.object or {}
    shown = ""

    def step(live: Object) -> bool:
        nonlocal shown
        text, done = progress(live, target.mapping.kind, revision)
        if text != shown:
            sys.stdout.write(text)
            sys.stdout.flush()
            shown = text
        return done

    if step(obj) or not watch:
        return
    if not await until(env, target, step, start=obj):
        raise CliError("object has been deleted")


@declare(
    "history",
    usage="(TYPE NAME | TYPE/NAME) [flags]",
    help="View previous rollout revisions and configurations.",
    group=command,
)
@_common
@output_option
@option("--revision", type=int, default=0, help="See the details, including podTemplate of the revision specified.")
async def history(env: Env, args: tuple[str, ...], **params: Any) -> None:
    for target in await _targets(env, args, params):
        found = await revisions(env, target)
        wanted = params["revision"]
        title = f"{target.mapping.display}/{target.name} "
        if params["output"]:
            from cli.printers.objects import render

            chosen = [choose(found, wanted)] if wanted else found
            for one in chosen:
                env.out(render(one.object, params["output"], display=target.mapping.display), end="")
            continue
        if wanted:
            picked = next((r for r in found if r.number == wanted), None)
            if picked is None:
                raise CliError("unable to find the specified revision")
            env.out(f"{title}with revision #{wanted}")
            env.out(_template(picked))
            continue
        env.out(title)
        if not found:
            env.out("No rollout history found.")
            continue
        from cli.printers.tabwriter import align

        rows = ["REVISION\tCHANGE-CAUSE", *(f"{one.number}\t{one.cause or '<none>'}" for one in found)]
        env.out(align("\n".join(rows), padding=2) + "\n")


def _template(one: Revision) -> str:
    from cli.describe.pod import describe_template
    from cli.describe.text import Text

    text = Text()
    describe_template(text, one.template)
    return text.render()


@declare(
    "undo",
    usage="(TYPE NAME | TYPE/NAME) [flags]",
    help="Roll back to a previous rollout.",
    group=command,
)
@_common
@dry_run_option
@output_option
@option("--to-revision", type=int, default=0, help="The revision to rollback to. Default to 0 (last revision).")
async def undo(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if params["to_revision"] < 0:
        raise CliError(f"--to-revision must be a non-negative number, got {params['to_revision']}")
    writer = Writer(env, dry_run=params["dry_run"], output=params["output"], manager="kubectl-rollout")

    async def one(target: Target) -> None:
        obj = target.object or {}
        if dig(obj, "spec", "paused"):
            raise CliError(
                f'you cannot rollback a paused deployment; resume it first with "pykubectl rollout resume '
                f'deployment/{target.name}" and try again'
            )
        found = await revisions(env, target)
        back = choose(found, params["to_revision"])
        if target.mapping.kind == "Deployment":
            current = found[-1] if found else None
            if current is not None and current.template == back.template:
                writer.report(
                    target.mapping,
                    obj,
                    f"skipped rollback (current template already matches revision {back.number})",
                )
                return
            patch: Any = [{"op": "replace", "path": "/spec/template", "value": back.template}]
            annotations = dict(dig(back.object, "metadata", "annotations", default={}))
            for key in list(annotations):
                # These describe a replica set, not the deployment that made it.
                if key.startswith("deployment.kubernetes.io/"):
                    annotations.pop(key)
            kept = {
                key: value
                for key, value in dig(obj, "metadata", "annotations", default={}).items()
                if key.startswith("deployment.kubernetes.io/") or key.endswith("last-applied-configuration")
            }
            patch.append({"op": "replace", "path": "/metadata/annotations", "value": {**annotations, **kept}})
            kind = "json"
        else:
            patch, kind = {"spec": {"template": {"$patch": "replace", **back.template}}}, "strategic"
        made = obj if writer.client_only else await writer.patch(target, patch, kind=kind)
        writer.report(target.mapping, made, "rolled back")

    await each(await _targets(env, args, params), one)


def _simple(name: str, about: str, done: str, change: Callable[[Target], tuple[Object | None, str]]) -> None:
    """Declares a subcommand that patches the spec: `change` gives the patch, or why there is nothing to do."""

    @declare(name, usage="RESOURCE", help=about, group=command)
    @_common
    @dry_run_option
    @option("--field-manager", default="kubectl-rollout", help="Name of the manager used to track field ownership.")
    @output_option
    async def run(env: Env, args: tuple[str, ...], **params: Any) -> None:
        writer = Writer(env, dry_run=params["dry_run"], output=params["output"], manager=params["field_manager"])

        async def one(target: Target) -> None:
            patch, why_not = change(target)
            if patch is None:
                raise CliError(
                    f'{target.mapping.group_resource} "{name_of(target.object or {})}" {why_not}'
                    if not why_not.startswith("no ")
                    else why_not
                )
            made = target.object or {}
            if not writer.client_only:
                made = await writer.patch(target, patch, kind="strategic")
            writer.report(target.mapping, made, done)

        await each(await _targets(env, args, params), one)


def _pause(target: Target) -> tuple[Object | None, str]:
    if target.mapping.kind != "Deployment":
        return None, f"no pausing is supported for {target.mapping.kind}"
    if dig(target.object, "spec", "paused"):
        return None, "is already paused"
    return {"spec": {"paused": True}}, ""


def _resume(target: Target) -> tuple[Object | None, str]:
    if target.mapping.kind != "Deployment":
        return None, f"no resuming is supported for {target.mapping.kind}"
    if not dig(target.object, "spec", "paused"):
        return None, "is not paused"
    return {"spec": {"paused": None}}, ""


def _restart(target: Target) -> tuple[Object | None, str]:
    if target.mapping.kind not in ("Deployment", "DaemonSet", "StatefulSet"):
        return None, f"no restarting is supported for {target.mapping.kind}"
    if dig(target.object, "spec", "paused"):
        return None, "can't restart paused deployment (run rollout resume first)"
    stamp = now().astimezone().isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED: stamp}}}}}, ""


_simple("pause", "Mark the provided resource as paused.", "paused", _pause)
_simple("resume", "Resume a paused resource.", "resumed", _resume)
_simple("restart", "Restart a resource: its pods are replaced as in a rolling update.", "restarted", _restart)
