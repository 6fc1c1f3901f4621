"""`patch`: changes fields of a live object with a patch of any of the three kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from cli.env import Env
from cli.errors import CliError, UsageError
from cli.framework import command as declare
from cli.framework import flag, option
from cli.manifests import load_yaml
from cli.resources import Target, resolve
from cli.writing import Writer, dry_run_option, each, filename_options, output_option


@declare(
    "patch",
    usage="(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE]",
    help="Update fields of a resource using strategic merge patch, a JSON merge patch, or a JSON patch. "
    "JSON and YAML formats are accepted.",
    examples="""
    # Partially update a node using a strategic merge patch
    kubectl patch node node1 -p '{"spec":{"unschedulable":true}}'

    # Update a container's image using a JSON patch with positional arrays
    kubectl patch pod web --type='json' -p='[{"op": "replace", "path": "/spec/containers/0/image", "value":"x"}]'

    # Update a deployment's replicas through the 'scale' subresource
    kubectl patch deployment web --subresource='scale' --type='merge' -p '{"spec":{"replicas":2}}'
    """,
)
@dry_run_option
@option("--field-manager", default="kubectl-patch", help="Name of the manager used to track field ownership.")
@filename_options
@flag("--local", help="If true, patch will operate on the content of the file, not the server-side resource.")
@output_option
@option("-p", "--patch", help="The patch to be applied to the resource JSON file.")
@option("--patch-file", help="A file containing a patch to be applied to the resource.")
@option("--subresource", help="If specified, patch will operate on the subresource of the requested object.")
@option("--type", "kind", default="strategic", help="The type of patch being provided; one of [json merge strategic].")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if bool(params["patch"]) == bool(params["patch_file"]):
        raise CliError(
            "must specify --patch or --patch-file containing the contents of the patch"
            if not params["patch"]
            else "cannot specify --patch and --patch-file together"
        )
    if params["kind"] not in ("json", "merge", "strategic"):
        raise UsageError(f'--type must be one of [json merge strategic], not "{params["kind"]}"')
    text = params["patch"] or Path(params["patch_file"]).read_text()
    try:
        patch: Any = next(load_yaml(text, "patch"))
    except CliError as problem:
        raise CliError(f'unable to parse "{text}": {problem}') from problem
    writer = Writer(env, dry_run=params["dry_run"], output=params["output"], manager=params["field_manager"])

    async def one(target: Target) -> None:
        if params["local"] or writer.client_only:
            live = target.object if params["local"] and target.object else await env.client.get(target.path)
            writer.report(target.mapping, _local(target, live or {}, patch, params["kind"]), "patched")
            return
        before = await env.client.get(target.mapping.path(target.namespace, target.name, params["subresource"]))
        made = await writer.patch(target, patch, kind=params["kind"], subresource=params["subresource"])
        same = (before.get("metadata") or {}).get("resourceVersion") == (made.get("metadata") or {}).get(
            "resourceVersion"
        )
        made.setdefault("metadata", {}).setdefault("name", target.name)
        writer.report(target.mapping, made, "patched (no change)" if same and not writer.dry_run else "patched")

    targets = await resolve(
        env, args, filenames=params["filename"], recursive=params["recursive"], need_name=not params["filename"]
    )
    await each(targets, one)


def _local(target: Target, live: dict[str, Any], patch: Any, kind: str) -> dict[str, Any]:
    from api.patch import json_patch, merge_patch, strategic_merge
    from cli.strategic import schema_for

    if kind == "json":
        return dict(json_patch(live, patch))
    schema = schema_for(target.mapping.api_version, target.mapping.kind)
    if kind == "strategic" and schema is not None and schema.struct is not None:
        return dict(strategic_merge(live, patch, cast(Any, schema.struct)))
    if kind == "strategic":
        raise CliError("cannot apply strategic merge patch for a kind whose schema is unknown; use --type merge")
    return dict(merge_patch(live, patch))
