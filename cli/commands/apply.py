"""`apply`: makes the cluster as the manifests say; also keeps the last-applied annotation visible and editable."""

from __future__ import annotations

import json

from cli.apply import Applier
from cli.env import Env
from cli.errors import ApiError, CliError, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.objects import LAST_APPLIED, annotations_of
from cli.printers.objects import as_list, render
from cli.resources import Target, fetch_all, resolve
from cli.writing import Writer, dry_run_option, filename_options, output_option, selector_option


@declare(
    "apply",
    usage="-f FILENAME",
    help="""
    Apply a configuration to a resource by file name or stdin. The resource name must be specified. This resource will
    be created if it doesn't exist yet. To use 'apply', always create the resource initially with either 'apply' or
    'create --save-config'.

    JSON and YAML formats are accepted.
    """,
    examples="""
    # Apply the configuration in pod.yaml to a pod
    kubectl apply -f pod.yaml

    # Apply all manifests of a directory and those below it
    kubectl apply -R -f manifests/

    # Apply what comes from stdin
    cat pod.json | kubectl apply -f -

    # Let the server do the merging and keep track of who owns which field
    kubectl apply --server-side -f pod.yaml
    """,
)
@dry_run_option
@option("--field-manager", help="Name of the manager used to track field ownership.")
@filename_options
@flag("--force", help="Delete and re-create resources whose update is refused as invalid or conflicting.")
@flag("--force-conflicts", help="With --server-side, take over fields of other managers.")
@output_option
@selector_option
@flag("--server-side", help="If true, apply runs in the server instead of the client.")
@option(
    "--validate", bare="strict", default="strict", help="Must be one of: strict (or true), warn, ignore (or false)."
)
async def command(
    env: Env,
    args: tuple[str, ...],
    dry_run: str,
    field_manager: str,
    filename: tuple[str, ...],
    force: bool,
    force_conflicts: bool,
    output: str,
    recursive: bool,
    selector: str,
    server_side: bool,
    validate: str,
) -> None:
    if (
        args
        and args[0] in ("view-last-applied", "set-last-applied")
        and not (args[0] == "view-last-applied" and filename)
    ):
        await _last_applied(env, args, filename, output)
        return
    if args:
        raise UsageError(f"Unexpected args: [{' '.join(args)}]")
    if not filename:
        raise CliError("must specify one of -f and -k")
    if force_conflicts and not server_side:
        raise CliError("--force-conflicts only works with --server-side")
    if force and server_side:
        raise CliError("--force cannot be used with --server-side")
    if dry_run == "client" and server_side:
        raise CliError("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)")
    manager = field_manager or ("kubectl" if server_side else "kubectl-client-side-apply")
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
    done = []
    for target in targets:
        try:
            applied = await applier.apply(target)
        except (ApiError, CliError) as problem:
            problems.append(problem)
            continue
        if output and output != "name":
            done.append(applied.object)
        else:
            writer.report(target.mapping, applied.object, applied.outcome)
    if done:
        shown = done[0] if len(done) == 1 else as_list(done)
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


async def _last_applied(env: Env, args: tuple[str, ...], filename: tuple[str, ...], output: str) -> None:
    if args[0] == "view-last-applied":
        targets, problems = await fetch_all(env, await resolve(env, args[1:]))
        for target in targets:
            text = annotations_of(target.object or {}).get(LAST_APPLIED)
            if text is None:
                raise CliError(f"no last-applied-configuration annotation found on resource: {target.name}")
            env.out(render(json.loads(text), output or "yaml", display=target.mapping.display), end="")
        raise_all(problems)
        return
    from cli.writing import last_applied

    writer = Writer(env, output=output)

    async def write(target: Target) -> None:
        text = last_applied(target.object or {})
        made = await writer.patch(target, {"metadata": {"annotations": {LAST_APPLIED: text}}})
        writer.report(target.mapping, made, "configured")

    for target in await resolve(env, (), filenames=filename):
        await write(target)
