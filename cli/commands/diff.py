"""`diff`: what `apply` would change, as a unified diff. Exit code 0: nothing, 1: differences, 2 and up: an error."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cli.apply import Applier, default_manager, make_patch
from cli.env import Env
from cli.errors import ApiError, CliError, Object, SilentExit
from cli.framework import command as declare
from cli.framework import flag, option
from cli.objects import clone, namespace_of, without_managed_fields
from cli.printers.yaml import to_yaml
from cli.resources import Target, resolve
from cli.writing import Writer, filename_options, selector_option, with_last_applied


@declare(
    "diff",
    usage="-f FILENAME",
    help="""
    Diff configurations specified by file name or stdin between the current online configuration, and the configuration
    as it would be if applied.

    KUBECTL_EXTERNAL_DIFF can name another diff program. Exit status: 0 no differences, 1 differences, >1 an error.
    """,
    examples="""
    # Diff resources included in pod.json
    kubectl diff -f pod.json

    # Diff file read from stdin
    cat service.yaml | kubectl diff -f -
    """,
)
@option("--field-manager", help="Name of the manager used to track field ownership.")
@filename_options
@flag("--force-conflicts", help="With --server-side, take over fields of other managers.")
@selector_option
@flag("--server-side", help="If true, apply runs in the server instead of the client.")
@flag("--show-managed-fields", help="If true, include managed fields in the diff.")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not params["filename"]:
        raise CliError("must specify one of -f and -k", code=2)
    manager = params["field_manager"] or default_manager(server_side=params["server_side"])
    writer = Writer(env, dry_run="server", manager=manager)
    applier = Applier(env, writer, server_side=params["server_side"], force_conflicts=params["force_conflicts"])
    with (
        tempfile.TemporaryDirectory(prefix="LIVE-") as live_folder,
        tempfile.TemporaryDirectory(prefix="MERGED-") as merged_folder,
    ):
        live, merged = Path(live_folder), Path(merged_folder)
        try:
            for target in await resolve(env, (), filenames=params["filename"], recursive=params["recursive"]):
                before, after = await _versions(env, applier, writer, target)
                group, _, version = target.mapping.api_version.rpartition("/")
                parts = [group, version, target.mapping.kind, namespace_of(after), target.name]
                name = ".".join(part for part in parts if part)
                for where, obj in ((live, before), (merged, after)):
                    shown = obj if params["show_managed_fields"] else without_managed_fields(obj)
                    (where / name).write_text(to_yaml(_masked(target, shown)) if obj else "")
        except (ApiError, CliError) as problem:
            raise _as_failure(problem) from problem
        code = _run(live, merged)
    if code:
        raise SilentExit(code)


async def _versions(env: Env, applier: Applier, writer: Writer, target: Target) -> tuple[Object, Object]:
    obj = target.object or {}
    try:
        current = await env.client.get(target.path)
    except ApiError as problem:
        if not problem.is_not_found:
            raise
        current = {}
    if applier.server_side:
        return current, (await applier.apply(target)).object
    modified = with_last_applied(obj)
    if not current:
        return {}, await writer.create(target, obj)
    patch, kind = make_patch(target, modified, current)
    if not patch:
        return current, clone(current)
    return current, await writer.patch(target, patch, kind=kind)


def _masked(target: Target, obj: Object) -> Object:
    """Secrets are compared without being shown."""
    if target.mapping.kind != "Secret" or not obj.get("data"):
        return obj
    import hashlib

    masked = {key: f"*** ({hashlib.sha256(str(value).encode()).hexdigest()[:8]})" for key, value in obj["data"].items()}
    return {**obj, "data": masked}


def _run(live: Path, merged: Path) -> int:
    external = os.environ.get("KUBECTL_EXTERNAL_DIFF")
    words = shlex.split(external) if external else ["diff", "-u", "-N"]
    try:
        done = subprocess.run([*words, str(live), str(merged)], check=False)
    except OSError as problem:
        raise CliError(f'failed to run "{words[0]}": {problem.strerror}', code=2) from problem
    return done.returncode


def _as_failure(problem: Exception) -> CliError:
    from cli.errors import describe

    return CliError(describe(problem), code=2, prefix="")
