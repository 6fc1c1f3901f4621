"""`edit`: live objects in an editor; what was changed goes back as a patch, so that others' changes are kept."""

from __future__ import annotations

from pathlib import Path

from cli.editor import edit_text, reopen
from cli.env import Env
from cli.errors import ApiError, CliError, Object, SilentExit, describe, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.manifests import parse
from cli.objects import without_managed_fields
from cli.printers.objects import Output
from cli.printers.yaml import to_yaml
from cli.resources import Target, fetch_all, resolve
from cli.strategic import json_merge, same, schema_for, two_way
from cli.writing import Writer, filename_options, output_option, with_last_applied

HEADER = """\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
"""


@declare(
    "edit",
    usage="(RESOURCE/NAME | -f FILENAME)",
    help="""
    Edit a resource from the default editor.

    The edit command allows you to directly edit any API resource you can retrieve via the command-line tools. It will
    open the editor defined by your KUBE_EDITOR, VISUAL or EDITOR environment variables, or fall back to 'vi'. The
    changes are saved as a patch. If the server refuses them, the file is opened again with the reason on top.
    """,
    examples="""
    # Edit the service named 'registry'
    kubectl edit svc/registry

    # Use an alternative editor
    KUBE_EDITOR="nano" kubectl edit deployment/web

    # Edit the job 'myjob' in JSON
    kubectl edit job.v1.batch/myjob -o json
    """,
)
@option("--field-manager", default="kubectl-edit", help="Name of the manager used to track field ownership.")
@filename_options
@output_option
@flag("--output-patch", help="Output the patch if the resource is edited.")
@flag("--save-config", help="If true, the configuration of current object will be saved in its annotation.")
@option("--subresource", help="If specified, edit will operate on the subresource of the requested object.")
@option("--validate", bare="strict", default="strict", help="strict, warn or ignore unknown fields.")
async def command(
    env: Env,
    args: tuple[str, ...],
    field_manager: str,
    filename: tuple[str, ...],
    output: Output,
    output_patch: bool,
    recursive: bool,
    save_config: bool,
    subresource: str,
    validate: str,
) -> None:
    from cli.commands.apply import validation

    targets = await resolve(env, args, filenames=filename, recursive=recursive, need_name=not filename)
    found, problems = await fetch_all(env, targets)
    raise_all(problems)
    if not found:
        raise CliError("no objects found to edit")
    writer = Writer(env, manager=field_manager, validate=validation(validate))
    for target in found:
        live = target.object or {}
        shown = live if output.show_managed_fields else without_managed_fields(live)
        await _edit(
            env,
            writer,
            target,
            shown,
            as_json=output == "json",
            output_patch=output_patch,
            subresource=subresource,
            save_config=save_config,
        )


async def _edit(
    env: Env,
    writer: Writer,
    target: Target,
    before: Object,
    *,
    as_json: bool,
    output_patch: bool,
    subresource: str,
    save_config: bool,
) -> None:
    from cli.printers.json import to_json

    body = to_json(before) if as_json else to_yaml(before)
    text, path = edit_text(HEADER + body, suffix=".json" if as_json else ".yaml")
    seen = HEADER + body
    while True:
        problem: Exception | None = None
        try:
            if _bare(text) == _bare(seen):
                if seen == HEADER + body:
                    path.unlink(missing_ok=True)
                    env.err("Edit cancelled, no changes made.")
                    return
                raise _abandoned(env, path, "Edit cancelled, no valid changes were saved.")
            if not _bare(text).strip():
                path.unlink(missing_ok=True)
                env.err("Edit cancelled, saved file was empty.")
                return
            after = parse(text, str(path))[0].object
            if same(after, before):
                path.unlink(missing_ok=True)
                env.err("Edit cancelled, no changes made.")
                return
            _check_identity(before, after)
            if save_config:
                after = with_last_applied(after)
            patch, kind = _patch(target, before, after)
            made = await writer.patch(target, patch, kind=kind, subresource=subresource)
        except (ApiError, CliError) as failure:
            if isinstance(failure, SilentExit):
                raise
            problem = failure
        if problem is None:
            path.unlink(missing_ok=True)
            if output_patch:
                from cli.printers.json import compact

                env.out(f"Patch: {compact(patch)}")
            writer.report(target.mapping, made, "edited")
            return
        reason = describe(problem)
        if isinstance(problem, ApiError) and problem.is_not_found:
            env.err(reason)
            raise _abandoned(env, path, "The edits you made on deleted resources have been saved")
        env.err(reason)
        remarks = "".join(f"# {line}\n" for line in reason.splitlines())
        title = f'# {target.mapping.plural} "{target.name}" was not valid:\n' if isinstance(problem, ApiError) else ""
        seen = HEADER + title + remarks + "#\n" + _bare(text)
        path.write_text(seen)
        text = reopen(path)


def _bare(text: str) -> str:
    """The text without the comments on top."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def _check_identity(before: Object, after: Object) -> None:
    for field in ("apiVersion", "kind"):
        if before.get(field) != after.get(field):
            raise CliError(f"At least one of apiVersion, kind and name was changed: {field}")
    if (before.get("metadata") or {}).get("name") != (after.get("metadata") or {}).get("name"):
        raise CliError("At least one of apiVersion, kind and name was changed")


def _patch(target: Target, before: Object, after: Object) -> tuple[Object, str]:
    schema = schema_for(target.mapping.api_version, target.mapping.kind)
    if schema is None:
        return json_merge(before, after), "merge"
    return two_way(before, after, schema), "strategic"


def _abandoned(env: Env, path: Path, words: str) -> SilentExit:
    env.err(f'A copy of your changes has been stored to "{path}"')
    env.err(f"error: {words}")
    return SilentExit(1)
