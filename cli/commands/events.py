"""`events`: what happened, oldest first, in general or to one object."""

from __future__ import annotations

import sys
from typing import Any

from cli.describe.text import event_age, event_time
from cli.env import Env
from cli.errors import CliError, Object
from cli.framework import command as declare
from cli.framework import flag, option
from cli.objects import dig, namespace_of
from cli.printers.tabwriter import align
from cli.resources import resolve
from cli.writing import output_option


@declare(
    "events",
    usage="[(-o|--output=)json|yaml|name|jsonpath] [--for TYPE/NAME] [--watch] [--types=Normal,Warning]",
    help="Display events, oldest first. You can filter them to one object with --for and by type with --types.",
    examples="""
    # List recent events in the default namespace
    kubectl events

    # List recent events for the specified pod, then wait for more events and list them as they arrive
    kubectl events --for pod/web-pod-13je7 --watch

    # List recent only events of type 'Warning' or 'Normal'
    kubectl events --types=Warning,Normal
    """,
)
@flag("-A", "--all-namespaces", help="If present, list the requested object(s) across all namespaces.")
@option("--for", "about", help="Filter events to only those pertaining to the specified resource.")
@flag("--no-headers", help="Don't print headers (default print headers).")
@output_option
@option("--types", multiple=True, help="Output only events of given types.")
@flag("-w", "--watch", help="After listing the requested events, watch for more events.")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    types = {kind for text in params["types"] for kind in text.split(",")}
    fields: list[str] = []
    if params["about"]:
        target = (await resolve(env, (params["about"],), need_name=True))[0]
        fields = [f"involvedObject.kind={target.mapping.kind}", f"involvedObject.name={target.name}"]
    everywhere = params["all_namespaces"]
    path = "/api/v1/events" if everywhere else f"/api/v1/namespaces/{env.namespace}/events"
    query = {"fieldSelector": ",".join(fields)}
    answer = await env.client.get(path, query={**query, "limit": 500})
    found = [one for one in answer.get("items") or [] if not types or one.get("type") in types]
    found.sort(key=event_time)
    if params["output"]:
        from cli.printers.objects import as_list, render

        items = [{"apiVersion": "v1", "kind": "Event", **one} for one in found]
        env.out(render(as_list(items), params["output"], display="event"), end="")
        return
    if not found and not params["watch"]:
        env.err("No events found." if everywhere else f"No events found in {env.namespace} namespace.")
        return
    rows = [] if params["no_headers"] else [_header(everywhere)]
    rows.extend(_row(one, everywhere) for one in found)
    if rows:
        env.out(align("\n".join(rows), minwidth=6, padding=3))
    if not params["watch"]:
        return
    version = dig(answer, "metadata", "resourceVersion", default="")
    sys.stdout.flush()
    async for event in env.client.events(path, query={**query, "resourceVersion": version}):
        one = event.get("object") or {}
        if event.get("type") in ("ADDED", "MODIFIED") and (not types or one.get("type") in types):
            env.out(align(_row(one, everywhere), minwidth=6, padding=3))
            sys.stdout.flush()
    raise CliError("the server ended the watch")


def _header(everywhere: bool) -> str:
    return "\t".join([*(["NAMESPACE"] if everywhere else []), "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"])


def _row(event: Object, everywhere: bool) -> str:
    about = event.get("involvedObject") or {}
    message = str(event.get("message") or "").strip().split("\n")[0]
    cells = [
        event_age(event),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind')}/{about.get('name')}",
        message,
    ]
    return "\t".join([*([namespace_of(event)] if everywhere else []), *cells])
