"""`api-resources`: what kinds of objects the server knows."""

from __future__ import annotations

from cli.discovery import Mapping
from cli.env import Env
from cli.errors import CliError, Object, UsageError
from cli.framework import command as declare
from cli.framework import flag, option
from cli.printers.objects import check, render
from cli.printers.tabwriter import align


@declare(
    "api-resources",
    usage="[flags]",
    help="Print the supported API resources on the server.",
    examples="""
    # Print the supported API resources with more information
    kubectl api-resources -o wide

    # Print the namespaced resources that can be listed
    kubectl api-resources --namespaced=true --verbs=list

    # Print the resources of one API group
    kubectl api-resources --api-group=rbac.authorization.k8s.io
    """,
)
@option("--api-group", default=None, shown="''", help="Limit to resources in the specified API group.")
@flag("--cached", help="Use the cached list of resources if available.")
@option("--categories", multiple=True, help="Limit to resources that belong to the specified categories.")
@option("--namespaced", bare="true", shown="true", help="If false, non-namespaced resources will be returned.")
@flag("--no-headers", help="Don't print headers (default print headers).")
@option("-o", "--output", help="Output format. One of: (wide, name).")
@option("--sort-by", help="Sort list of resources by this field: name or kind.")
@option("--verbs", multiple=True, help="Limit to resources that support the specified verbs.")
async def command(
    env: Env,
    args: tuple[str, ...],
    api_group: str | None,
    cached: bool,
    categories: tuple[str, ...],
    namespaced: str,
    no_headers: bool,
    output: str,
    sort_by: str,
    verbs: tuple[str, ...],
) -> None:
    if args:
        raise UsageError(f"unexpected arguments: [{' '.join(args)}]")
    check(output, allowed=("wide", "name", "json", "yaml", "kyaml"))
    if sort_by not in ("", "name", "kind"):
        raise CliError("--sort-by accepts only name or kind")
    if not cached:
        await env.discovery.refresh()
    wanted_verbs = {verb for text in verbs for verb in text.split(",")}
    wanted_categories = {word for text in categories for word in text.split(",")}
    rows = [
        one
        for one in await env.discovery.preferred()
        if (api_group is None or one.group == api_group)
        and (not namespaced or one.namespaced == (namespaced.lower() != "false"))
        and wanted_verbs <= set(one.verbs)
        and wanted_categories <= set(one.categories)
    ]

    def rank(one: Mapping) -> tuple[str, str]:
        if sort_by:
            return (one.plural if sort_by == "name" else one.kind, "")
        return (one.group, one.plural)

    rows.sort(key=rank)
    if output == "name":
        for one in rows:
            env.out(one.group_resource)
        return
    if output not in ("", "wide"):
        env.out(render(_as_list(rows), output, display="apiresourcelist"), end="")
        return
    wide = output == "wide"
    titles = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", *(["VERBS", "CATEGORIES"] if wide else [])]
    lines = [] if no_headers else ["\t".join(titles)]
    for one in rows:
        cells = [
            one.plural,
            ",".join(one.short_names),
            one.api_version,
            "true" if one.namespaced else "false",
            one.kind,
        ]
        if wide:
            cells.extend([",".join(one.verbs), ",".join(one.categories)])
        lines.append("\t".join(cells))
    env.out(align("\n".join(lines), minwidth=6, padding=3))


def _as_list(rows: list[Mapping]) -> Object:
    resources = [
        {
            "categories": list(one.categories) or None,
            "group": one.group or None,
            "kind": one.kind,
            "name": one.plural,
            "namespaced": one.namespaced,
            "shortNames": list(one.short_names) or None,
            "singularName": one.singular,
            "verbs": list(one.verbs),
            "version": one.version,
        }
        for one in rows
    ]
    shown = [{key: value for key, value in one.items() if value is not None} for one in resources]
    return {"apiVersion": "v1", "groupVersion": "", "kind": "APIResourceList", "resources": shown}
