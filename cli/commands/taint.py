"""`taint`: sets and removes taints of nodes."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.errors import CliError, Object, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.objects import dig
from cli.resources import Target, fetch_all, resolve
from cli.writing import Writer, dry_run_option, each, output_option, selector_option

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@declare(
    "taint",
    usage="NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N",
    help="Update the taints on one or more nodes. A taint is a key, value and effect: key=value:effect, where the "
    "effect is NoSchedule, PreferNoSchedule or NoExecute.",
    examples="""
    # Keep pods that don't tolerate it off node 'foo'
    kubectl taint nodes foo dedicated=special-user:NoSchedule

    # Remove from node 'foo' all the taints with key 'dedicated'
    kubectl taint nodes foo dedicated-
    """,
)
@flag("--all", help="Select all nodes in the cluster.")
@dry_run_option
@option("--field-manager", default="kubectl-taint", help="Name of the manager used to track field ownership.")
@output_option
@flag("--overwrite", help="If true, allow taints to be overwritten.")
@selector_option
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    resources = [arg for arg in args if not _is_taint(arg)]
    changes = [arg for arg in args if _is_taint(arg)]
    if not resources:
        raise UsageError("one or more resources must be specified as <resource> <name> or <resource>/<name>")
    if not changes:
        raise CliError("at least one taint update is required")
    add, remove = (
        [_parse(text) for text in changes if not text.endswith("-")],
        [_parse(text[:-1]) for text in changes if text.endswith("-")],
    )
    named = await resolve(env, resources, selector=params["selector"], select_all=params["all"], need_name=True)
    for target in named:
        if target.mapping.kind != "Node":
            raise CliError(f"invalid resource type {target.mapping.plural}, only node types are supported")
    found, problems = await fetch_all(env, named, labels=params["selector"])
    writer = Writer(env, dry_run=params["dry_run"], output=params["output"], manager=params["field_manager"])

    async def one(target: Target) -> None:
        have = dig(target.object, "spec", "taints", default=[])
        taints, word = change(have, add, remove, overwrite=params["overwrite"], node=target.name)
        made = target.object or {}
        if not writer.client_only:
            version = dig(target.object, "metadata", "resourceVersion")
            body = {"metadata": {"resourceVersion": version}, "spec": {"taints": taints or None}}
            made = await writer.patch(target, body, kind="merge")
        writer.report(target.mapping, made, word)

    await each(found, one)
    raise_all(problems)


def _is_taint(text: str) -> bool:
    return "=" in text or ":" in text or text.endswith("-")


def _parse(text: str) -> Object:
    """`key=value:effect`, `key:effect` or `key`."""
    body, colon, effect = text.partition(":")
    key, equals, value = body.partition("=")
    if colon and effect not in EFFECTS:
        raise UsageError(f"invalid taint effect: {effect}, unsupported taint effect")
    if equals and not colon:
        raise CliError(f"invalid taint spec: {text}")
    return {"key": key, **({"value": value} if value else {}), **({"effect": effect} if effect else {})}


def change(
    have: list[Object], add: list[Object], remove: list[Object], *, overwrite: bool, node: str
) -> tuple[list[Object], str]:
    """The new taints and kubectl's word for it. Raises `CliError` for what needs --overwrite or is not there."""
    for one in add:
        if not one.get("effect"):
            raise CliError(f"invalid taint spec: {one['key']}")
    taken = [f"{t['key']}" for one in add for t in have if (t["key"], t.get("effect")) == (one["key"], one["effect"])]
    if taken and not overwrite:
        raise CliError(
            f"node {node} already has {','.join(taken)} taint(s) with same effect(s) and --overwrite is false"
        )
    kept = list(have)
    for one in remove:
        left = [t for t in kept if t["key"] != one["key"] or (one.get("effect") and t.get("effect") != one["effect"])]
        if len(left) == len(kept):
            shown = f"{one['key']}:{one['effect']}" if one.get("effect") else one["key"]
            raise CliError(f'taint "{shown}" not found')
        kept = left
    for one in add:
        kept = [t for t in kept if (t["key"], t.get("effect")) != (one["key"], one["effect"])]
    word = "tainted" if add and not remove else "untainted" if remove and not add else "modified"
    return [*kept, *add], "modified" if taken else word
