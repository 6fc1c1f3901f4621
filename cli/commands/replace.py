"""`replace`: puts a whole object in the place of the live one."""

from __future__ import annotations

from typing import Any

from cli.commands.apply import validation
from cli.commands.delete import wait_gone
from cli.env import Env
from cli.errors import ApiError, CliError, Object
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.objects import LAST_APPLIED, annotations_of, dig
from cli.resources import Target, resolve
from cli.writing import Writer, dry_run_option, each, filename_options, output_option, with_last_applied


@declare(
    "replace",
    usage="-f FILENAME",
    help="Replace a resource by file name or stdin. The complete resource spec must be provided, as "
    "'pykubectl get TYPE NAME -o yaml' gives it.",
    examples="""
    # Replace a pod using the data in pod.json
    kubectl replace -f ./pod.json

    # Force replace, delete and then re-create the resource
    kubectl replace --force -f ./pod.json
    """,
)
@option("--cascade", bare="background", default="background", help='Must be "background", "orphan", or "foreground".')
@dry_run_option
@option("--field-manager", default="kubectl-replace", help="Name of the manager used to track field ownership.")
@filename_options
@flag("--force", help="If true, delete the resource and create it again.")
@option("--grace-period", type=int, default=-1, help="With --force: seconds given to the resource to end gracefully.")
@output_option
@option("--raw", help="Raw URI to PUT to the server.")
@flag("--save-config", help="If true, the configuration of current object will be saved in its annotation.")
@option("--subresource", help="If specified, replace will operate on the subresource of the requested object.")
@option("--timeout", default="0s", help="With --force: how long to wait for the deletion, zero means no limit.")
@option("--validate", bare="strict", default="strict", help="strict, warn or ignore unknown fields.")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not params["filename"]:
        raise CliError("must specify one of -f and -k")
    writer = Writer(
        env,
        dry_run=params["dry_run"],
        output=params["output"],
        manager=params["field_manager"],
        validate=validation(params["validate"]),
    )
    targets = await resolve(env, args, filenames=params["filename"], recursive=params["recursive"])
    if not targets:
        raise CliError("no objects passed to replace")

    async def one(target: Target) -> None:
        obj = target.object or {}
        if params["save_config"]:
            obj = with_last_applied(obj)
        if writer.client_only:
            writer.report(target.mapping, obj, "replaced")
            return
        if params["force"]:
            writer.report(target.mapping, await writer.create(target, obj), "replaced")
            return
        if not dig(obj, "metadata", "resourceVersion"):
            obj = await _over_live(env, target, obj)
        made = await writer.replace(target, obj, subresource=params["subresource"])
        writer.report(target.mapping, made, "replaced")

    if params["force"] and not writer.client_only:
        for target in targets:
            await _delete(env, target, params)
    await each(targets, one, verb="replacing")


async def _over_live(env: Env, target: Target, obj: Object) -> Object:
    """The object with the live one's version; one that does not exist is the server's to refuse."""
    try:
        live = await env.client.get(target.path)
    except ApiError as problem:
        if problem.is_not_found:
            return obj
        raise
    if LAST_APPLIED in annotations_of(live) and LAST_APPLIED not in annotations_of(obj):
        # Whoever applies this object later needs to know what was applied before.
        obj = with_last_applied(obj)
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}}


async def _delete(env: Env, target: Target, params: dict[str, Any]) -> None:
    body: dict[str, Any] = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": {"orphan": "Orphan", "foreground": "Foreground"}.get(params["cascade"], "Background"),
    }
    if params["grace_period"] >= 0:
        body["gracePeriodSeconds"] = params["grace_period"]
    try:
        answer = await env.client.request("DELETE", target.path, body=body)
    except ApiError as problem:
        if problem.is_not_found:
            return
        raise
    where = f" from {target.namespace} namespace" if target.namespace else ""
    env.out(f'{target.mapping.display} "{target.name}" deleted{where}')
    uid = dig(answer, "details", "uid") or dig(answer, "metadata", "uid", default="")
    await wait_gone(env, [(target, uid)], timeout=parse_duration(params["timeout"]))
