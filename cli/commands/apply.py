"""`apply`: makes the cluster as the manifests say; also keeps the last-applied annotation visible and editable."""

from __future__ import annotations

import json
from typing import Any

from cli import prune as pruning
from cli.apply import Applier, default_manager
from cli.commands.delete import CASCADES
from cli.env import Env
from cli.errors import ApiError, CliError, Object, raise_all
from cli.framework import RunnableGroup, flag, option
from cli.framework import command as declare
from cli.objects import LAST_APPLIED, annotations_of
from cli.printers.objects import as_list, render
from cli.resources import Target, fetch_all, resolve
from cli.writing import Writer, dry_run_option, filename_options, last_applied, output_option, selector_option


@flag("--all", help="Select all resources in the namespace of the specified resource types.")
@option("--cascade", bare="background", default="background", help='Must be "background", "orphan", or "foreground".')
@dry_run_option
@option("--field-manager", help="Name of the manager used to track field ownership.")
@filename_options
@flag("--force", help="Delete and re-create resources whose update is refused as invalid or conflicting.")
@flag("--force-conflicts", help="With --server-side, take over fields of other managers.")
@output_option
@flag("--overwrite", default=True, help="Resolve conflicts by using values from the modified configuration.")
@flag("--prune", help="Delete resources that an earlier apply made and that are not in this one.")
@option(
    "--prune-allowlist", multiple=True, help="Overwrite the default allowlist with <group/version/kind> for --prune"
)
@selector_option
@flag("--server-side", help="If true, apply runs in the server instead of the client.")
@option(
    "--validate", bare="strict", default="strict", help="Must be one of: strict (or true), warn, ignore (or false)."
)
async def _apply(
    env: Env,
    all: bool,
    cascade: str,
    dry_run: str,
    field_manager: str,
    filename: tuple[str, ...],
    force: bool,
    force_conflicts: bool,
    output: str,
    overwrite: bool,
    prune: bool,
    prune_allowlist: tuple[str, ...],
    recursive: bool,
    selector: str,
    server_side: bool,
    validate: str,
) -> None:
    if not filename:
        raise CliError("must specify one of -f and -k")
    if force_conflicts and not server_side:
        raise CliError("--force-conflicts only works with --server-side")
    if force and server_side:
        raise CliError("--force cannot be used with --server-side")
    if dry_run == "client" and server_side:
        raise CliError("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)")
    if prune:
        pruning.check(selector=selector, select_all=all)
    manager = field_manager or default_manager(server_side=server_side)
    writer = Writer(env, dry_run=dry_run, output=output, manager=manager, validate=validation(validate))
    applier = Applier(env, writer, server_side=server_side, force_conflicts=force_conflicts, force=force)
    targets = await resolve(env, (), filenames=filename, recursive=recursive)
    if selector:
        from api.selectors import parse_label_selector

        chosen = parse_label_selector(selector)
        targets = [t for t in targets if chosen.matches(((t.object or {}).get("metadata") or {}).get("labels"))]
    if not targets:
        raise CliError("no objects passed to apply")
    problems, env.deferred = env.deferred, []
    done: list[tuple[Target, Object]] = []
    for target in targets:
        try:
            applied = await applier.apply(target)
        except (ApiError, CliError) as problem:
            problems.append(problem)
            continue
        done.append((target, applied.object))
        if output in ("", "name"):
            writer.report(target.mapping, applied.object, applied.outcome)
    if prune and not problems:
        allowed = [part for text in prune_allowlist for part in text.split(",")]
        await pruning.prune(env, writer, done, selector=selector, allowed=allowed, cascade=CASCADES[cascade])
    if done and output not in ("", "name"):
        objects = [obj for _, obj in done]
        shown = objects[0] if len(objects) == 1 else as_list(objects, {})
        env.out(render(shown, output, display=targets[0].mapping.display), end="")
    raise_all(problems)


def validation(value: str) -> str:
    """The server's `fieldValidation` for the flag's spelling."""
    known = {"strict": "Strict", "true": "Strict", "warn": "Warn", "ignore": "Ignore", "false": "Ignore"}
    if value.lower() not in known:
        raise CliError(
            f'invalid - validate option "{value}"; must be one of: strict (or true), warn, ignore (or false)'
        )
    return known[value.lower()]


command = RunnableGroup(
    "apply",
    run=_apply,
    help="""
    Apply a configuration to a resource by file name or stdin. The resource name must be specified. This resource will
    be created if it doesn't exist yet. To use 'apply', always create the resource initially with either 'apply' or
    'create --save-config'.

    JSON and YAML formats are accepted.
    """,
)


@declare(
    "view-last-applied",
    usage="(TYPE [NAME | -l label] | TYPE/NAME | -f FILENAME)",
    help="View the latest last-applied-configuration annotations by type/name or file.",
    group=command,
)
@flag("--all", help="Select all resources in the namespace of the specified resource types")
@filename_options
@option("-o", "--output", default="yaml", help="Output format. Must be one of (yaml, json)")
@selector_option
async def view_last_applied(env: Env, args: tuple[str, ...], **params: Any) -> None:
    targets = await resolve(
        env, args, filenames=params["filename"], recursive=params["recursive"], selector=params["selector"]
    )
    if params["output"] not in ("yaml", "json"):
        raise CliError(f"Unexpected -o output mode: {params['output']}, the flag 'output' must be one of yaml|json")
    found, problems = await fetch_all(env, targets, labels=params["selector"])
    raise_all(problems)
    for target in found:
        text = annotations_of(target.object or {}).get(LAST_APPLIED)
        if text is None:
            raise CliError(f"no last-applied-configuration annotation found on resource: {target.name}")
        env.out(render(json.loads(text), params["output"], display=target.mapping.display), end="")


@declare(
    "set-last-applied",
    usage="-f FILENAME",
    help="Set the latest last-applied-configuration annotations to the contents of a file, and nothing else.",
    group=command,
)
@flag("--create-annotation", help="Will create 'last-applied-configuration' annotations if there are none yet")
@dry_run_option
@filename_options
@output_option
async def set_last_applied(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not params["filename"]:
        raise CliError("one or more files must be specified")
    writer = Writer(env, dry_run=params["dry_run"], output=params["output"], manager="kubectl-last-applied")
    for target in await resolve(env, (), filenames=params["filename"], recursive=params["recursive"]):
        live = await env.client.get(target.path)
        if LAST_APPLIED not in annotations_of(live) and not params["create_annotation"]:
            raise CliError(
                f"no last-applied-configuration annotation found on resource: {target.name}, to create the annotation, "
                "run the command with --create-annotation"
            )
        text = last_applied(target.object or {})
        if annotations_of(live).get(LAST_APPLIED) == text:
            env.out(f"set-last-applied {target.name}: no changes required.")
            continue
        made = live
        if not writer.client_only:
            made = await writer.patch(target, {"metadata": {"annotations": {LAST_APPLIED: text}}})
        writer.report(target.mapping, made, "configured")


@declare(
    "edit-last-applied",
    usage="(RESOURCE/NAME | -f FILENAME)",
    help="Edit the latest last-applied-configuration annotations of resources from the default editor.",
    group=command,
)
@filename_options
@option("--field-manager", default="kubectl-client-side-apply", help="Name of the manager used to track ownership.")
async def edit_last_applied(env: Env, args: tuple[str, ...], **params: Any) -> None:
    from cli.editor import edit_documents

    writer = Writer(env, manager=params["field_manager"])
    targets = await resolve(env, args, filenames=params["filename"], need_name=not params["filename"])
    found, problems = await fetch_all(env, targets)
    raise_all(problems)
    for target in found:
        text = annotations_of(target.object or {}).get(LAST_APPLIED)
        if text is None:
            raise CliError(f"no last-applied-configuration annotation found on resource: {target.name}")
        before = json.loads(text)
        (after,) = await edit_documents(env, [before])
        if after == before:
            env.err("Edit cancelled, no changes made.")
            continue
        written = last_applied(after)
        made = await writer.patch(target, {"metadata": {"annotations": {LAST_APPLIED: written}}})
        writer.report(target.mapping, made, "edited")
