"""What the shell offers behind a command: kinds of resources, then names, as the server has them.

A server that cannot be reached offers nothing; a completion never complains.
"""

from __future__ import annotations

from typing import Any

import click

from cli.env import Env
from cli.framework import run_async
from cli.objects import name_of
from cli.resources import pages, resolve

PODS = ("attach", "cp", "debug", "exec", "logs", "port-forward")
NODES = ("cordon", "drain", "uncordon")
KINDS = (
    *("annotate", "autoscale", "delete", "describe", "edit", "expose", "get", "label", "patch", "scale", "taint"),
    *("wait", "status", "history", "undo", "pause", "resume", "restart", "image", "env", "resources", "selector"),
)
SECONDS = 3.0


def arguments(ctx: click.Context, words: tuple[str, ...], incomplete: str) -> list[str]:
    """Candidates for the word being typed, given the words before it."""
    command = ctx.info_name or ""
    if command not in (*PODS, *NODES, *KINDS) and command != "explain":
        return []
    env = Env({**ctx.ensure_object(dict), "request_timeout": f"{SECONDS:.0f}s"})

    async def find() -> list[str]:
        try:
            return await _find(env, command, words, incomplete)
        finally:
            await env.close()

    try:
        found: list[str] = run_async(find())
    except Exception:  # whatever went wrong, the prompt is no place to say it
        return []
    return sorted({one for one in found if one.startswith(incomplete)})


async def _find(env: Env, command: str, words: tuple[str, ...], incomplete: str) -> list[str]:
    if command in NODES:
        return await _names(env, "nodes")
    if "/" in incomplete and command != "explain":
        kind = incomplete.partition("/")[0]
        return [f"{kind}/{name}" for name in await _names(env, kind)]
    if command in PODS:
        return [] if words else await _names(env, "pods")
    if words and command != "explain":
        return await _names(env, words[0].split(",")[-1])
    if words:
        return []
    return [one.plural if not one.group else one.group_resource for one in await env.discovery.preferred()]


async def _names(env: Env, kind: str) -> list[str]:
    found: list[str] = []
    for target in await resolve(env, (kind,)):
        async for page in pages(env, target):
            found += [name_of(item) for item in page.get("items") or []]
    return found


def shell_complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
    from click.shell_completion import CompletionItem

    words = tuple(ctx.params.get("args") or ())
    return [CompletionItem(one) for one in arguments(ctx, words, incomplete)]
