"""`get`: lists and shows objects, as server-side Tables or in any output format, once or as they change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.discovery import Mapping
from cli.env import Env
from cli.errors import ApiError, CliError, Object, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.jsonpath import Template, relaxed
from cli.printers.objects import STRUCTURED, as_list, check, print_object, split_format
from cli.printers.table import TableOptions, TablePrinter, plain_table
from cli.resources import Target, pages, resolve
from cli.rest import JSON, TABLE
from cli.writing import filename_options, output_option


@dataclass
class Options:
    output: str
    labels: str
    fields: str
    all_namespaces: bool
    chunk: int
    ignore_not_found: bool
    no_headers: bool
    show_kind: bool
    show_labels: bool
    label_columns: tuple[str, ...]
    sort_by: str
    subresource: str
    output_watch_events: bool
    server_print: bool

    @property
    def human(self) -> bool:
        return self.output in ("", "wide")

    def table_options(self, mapping: Mapping, *, several: bool) -> TableOptions:
        return TableOptions(
            wide=self.output == "wide",
            headers=not self.no_headers,
            namespace_column=self.all_namespaces and mapping.namespaced,
            kind_prefix=mapping.display if several or self.show_kind else "",
            show_labels=self.show_labels,
            label_columns=self.label_columns,
            event_column=self.output_watch_events,
        )


@declare(
    "get",
    usage="[(-o|--output=)json|yaml|name|jsonpath|custom-columns|wide] (TYPE[.VERSION][.GROUP] [NAME | -l label] | "
    "TYPE[.VERSION][.GROUP]/NAME ...) [flags]",
    help="""
    Display one or many resources.

    Prints a table of the most important information about the specified resources. You can filter the list using a
    label selector and the --selector flag. If the desired resource type is namespaced you will only see results in the
    current namespace unless you pass --all-namespaces.

    Use "pykubectl api-resources" for a complete list of supported resources.
    """,
    examples="""
    # List all pods
    kubectl get pods

    # List all pods with more information (such as node name)
    kubectl get pods -o wide

    # Show one deployment as YAML
    kubectl get deployment web -o yaml

    # Return only the phase value of the specified pod
    kubectl get pod/web -o jsonpath='{.status.phase}'

    # List chosen fields
    kubectl get pods -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[0].image

    # List pods and services in all namespaces, and follow pods as they change
    kubectl get pods,svc -A
    kubectl get pods -w
    """,
)
@flag("-A", "--all-namespaces", help="If present, list the requested object(s) across all namespaces.")
@option("--chunk-size", type=int, default=500, help="Return large lists in chunks. Pass 0 to disable.")
@option("--field-selector", help="Selector (field query) to filter on, supports '=', '==', and '!='.")
@filename_options
@flag("--ignore-not-found", help="If the requested object does not exist the command will return exit code 0.")
@option("-L", "--label-columns", multiple=True, help="Comma separated list of labels to present as columns.")
@flag("--no-headers", help="Don't print headers (default print headers).")
@output_option
@flag("--output-watch-events", help="Output watch event objects when --watch or --watch-only is used.")
@option("--raw", help="Raw URI to request from the server.")
@option("-l", "--selector", help="Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.")
@flag("--server-print", default=True, help="If true, have the server return the appropriate table output.")
@flag("--show-kind", help="If present, list the resource type for the requested object(s).")
@flag("--show-labels", help="When printing, show all labels as the last column.")
@option("--sort-by", help="Sort list types using this JSONPath expression (e.g. '{.metadata.name}').")
@option("--subresource", help="If specified, gets the subresource of the requested object.")
@flag("-w", "--watch", help="After listing/getting the requested object, watch for changes.")
@flag("--watch-only", help="Watch for changes to the requested object(s), without listing/getting first.")
async def command(
    env: Env,
    args: tuple[str, ...],
    all_namespaces: bool,
    chunk_size: int,
    field_selector: str,
    filename: tuple[str, ...],
    ignore_not_found: bool,
    label_columns: tuple[str, ...],
    no_headers: bool,
    output: str,
    output_watch_events: bool,
    raw: str,
    recursive: bool,
    selector: str,
    server_print: bool,
    show_kind: bool,
    show_labels: bool,
    sort_by: str,
    subresource: str,
    watch: bool,
    watch_only: bool,
) -> None:
    if raw:
        data = await env.client.raw("GET", raw if raw.startswith("/") else f"/{raw}")
        sys.stdout.write(data.decode(errors="replace"))
        return
    check(output, allowed=[*STRUCTURED, "custom-columns", "custom-columns-file", "wide"])
    if not args and not filename:
        env.err(
            'You must specify the type of resource to get. Use "pykubectl api-resources" for a complete list of '
            "supported resources.\n"
        )
        raise UsageError(
            "Required resource not specified.\n"
            'Use "pykubectl explain <resource>" for a detailed description of that resource '
            "(e.g. pykubectl explain pods)."
        )
    if output_watch_events and not (watch or watch_only):
        raise CliError("--output-watch-events option can only be used with --watch or --watch-only")
    options = Options(
        output=output,
        labels=selector,
        fields=field_selector,
        all_namespaces=all_namespaces,
        chunk=chunk_size,
        ignore_not_found=ignore_not_found,
        no_headers=no_headers,
        show_kind=show_kind,
        show_labels=show_labels,
        label_columns=tuple(label for text in label_columns for label in text.split(",") if label),
        sort_by=sort_by,
        subresource=subresource,
        output_watch_events=output_watch_events,
        server_print=server_print,
    )
    targets = await resolve(
        env, args, filenames=filename, recursive=recursive, all_namespaces=all_namespaces, selector=selector
    )
    if subresource and not all(target.name for target in targets):
        raise CliError("subresource cannot be used when bulk resources are specified")
    if filename and (selector or field_selector):
        targets = await _chosen(env, targets, options)
    if watch or watch_only:
        await _watch(env, targets, options, watch_only=watch_only)
    elif options.human:
        await _human(env, targets, options)
    else:
        await _structured(env, args, targets, options)


async def _chosen(env: Env, targets: Sequence[Target], options: Options) -> list[Target]:
    """Those of a file's objects that a selector matches: the server decides, as it does for lists."""
    chosen = []
    for target in targets:
        fields = ",".join(part for part in (options.fields, f"metadata.name={target.name}") if part)
        listed = Target(target.mapping, target.namespace)
        async for page in pages(env, listed, labels=options.labels, fields=fields, chunk=options.chunk):
            chosen += [target for _ in page.get("items") or []]
    return chosen


async def _table(env: Env, target: Target, options: Options) -> Object:
    """The Table of a target (all pages as one)."""
    extra = {"includeObject": "Object"} if options.sort_by else {}
    accept = TABLE if options.server_print else JSON
    if target.name:
        path = target.mapping.path(target.namespace, target.name, options.subresource)
        return _as_table(await env.client.get(path, query=extra, accept=accept))
    whole: Object = {}
    async for page in pages(
        env, target, labels=options.labels, fields=options.fields, chunk=options.chunk, accept=accept, extra=extra
    ):
        table = _as_table(page)
        if whole:
            whole["rows"].extend(table.get("rows") or [])
        else:
            whole = {**table, "rows": list(table.get("rows") or [])}
        whole["metadata"] = page.get("metadata") or {}
    return whole


def _as_table(answer: Object) -> Object:
    if answer.get("kind") == "Table":
        return answer
    objects = answer["items"] if isinstance(answer.get("items"), list) else [answer]
    return {**plain_table(objects), "metadata": answer.get("metadata") or {}}


async def _human(env: Env, targets: Sequence[Target], options: Options) -> None:
    several = len({(t.mapping.group, t.mapping.plural) for t in targets}) > 1
    problems: list[Exception] = []
    printer: TablePrinter | None = None
    last: Mapping | None = None
    written = False
    for target in targets:
        try:
            table = await _table(env, target, options)
        except ApiError as problem:
            if not (problem.is_not_found and options.ignore_not_found):
                problems.append(problem)
            continue
        if options.sort_by:
            table["rows"] = _sorted(table.get("rows") or [], options.sort_by, key="object")
        if not table.get("rows"):
            continue
        if printer is None or last != target.mapping:
            if written and not options.no_headers:
                env.out()
            printer = TablePrinter(options.table_options(target.mapping, several=several))
            last = target.mapping
        for line in printer.lines(table):
            env.out(line)
            written = True
    if not written and not problems and not options.ignore_not_found:
        if options.all_namespaces or not all(target.mapping.namespaced for target in targets):
            env.err("No resources found")
        else:
            env.err(f"No resources found in {env.namespace} namespace.")
    raise_all(problems)


async def _structured(env: Env, args: Sequence[str], targets: Sequence[Target], options: Options) -> None:
    found: list[tuple[Object, Mapping]] = []
    problems: list[Exception] = []
    for target in targets:
        try:
            if target.name:
                path = target.mapping.path(target.namespace, target.name, options.subresource)
                found.append((await env.client.get(path), target.mapping))
                continue
            async for page in pages(env, target, labels=options.labels, fields=options.fields, chunk=options.chunk):
                for item in page.get("items") or []:
                    item.setdefault("apiVersion", target.mapping.api_version)
                    item.setdefault("kind", target.mapping.kind)
                    found.append((item, target.mapping))
        except ApiError as problem:
            if not (problem.is_not_found and options.ignore_not_found):
                problems.append(problem)
    if options.sort_by:
        found = _sorted(found, options.sort_by, key=0)
    name, argument = split_format(options.output)
    objects = [obj for obj, _ in found]
    if name in ("custom-columns", "custom-columns-file"):
        _print_columns(name, argument, objects, options)
    elif name == "name":
        for obj, mapping in found:
            print_object(obj, "name", display=mapping.display)
    elif len(targets) == 1 and targets[0].name:
        for obj, mapping in found:
            print_object(
                obj,
                options.output,
                display=mapping.display,
            )
    elif objects or not (problems or (options.ignore_not_found and all(target.name for target in targets))):
        print_object(
            as_list(objects),
            options.output,
            display="list",
        )
    raise_all(problems)


def _print_columns(name: str, argument: str, objects: list[Object], options: Options) -> None:
    from cli.printers.columns import Columns

    make = Columns.from_file if name.endswith("file") else Columns
    sys.stdout.write(make(argument, headers=not options.no_headers).text(objects))


def _sorted(rows: list[Any], expression: str, *, key: str | int) -> list[Any]:
    """Sorted as kubectl does: numbers by value, text naturally by code point, quantities by amount; missing first."""
    template = Template(relaxed(expression))

    def rank(row: Any) -> tuple[int, Any]:
        values = [value for result in template.find(row[key] or {}) for value in result]
        if not values or values[0] is None:
            return (0, 0)
        value = values[0]
        if isinstance(value, bool):
            return (1, int(value))
        if isinstance(value, (int, float)):
            return (1, value)
        if isinstance(value, str):
            return (2, value)
        raise CliError(f"unsortable type: {type(value).__name__}")

    if rows and all(rank(row)[0] == 0 for row in rows):
        raise CliError(f'couldn\'t find any field with path "{relaxed(expression)}" in the list of objects')
    return sorted(rows, key=rank)


async def _watch(env: Env, targets: Sequence[Target], options: Options, *, watch_only: bool) -> None:
    if len(targets) > 1:
        raise CliError("you may only specify a single resource type")
    target = targets[0]
    printer = TablePrinter(options.table_options(target.mapping, several=False))
    accept = TABLE if options.human and options.server_print else JSON
    fields = options.fields
    if target.name:
        fields = ",".join(part for part in (fields, f"metadata.name={target.name}") if part)
    collection = Target(target.mapping, target.namespace)
    version = ""
    first = True
    query = {"labelSelector": options.labels, "fieldSelector": fields}
    if target.name:
        # Asked for one name: not finding it is an error, as without --watch.
        answer = await env.client.get(target.path, accept=accept)
        listed = _watch_items(answer, single=True)
        version = str(_version(answer))
        if accept == TABLE and answer.get("kind") == "Table":
            version = str((answer.get("metadata") or {}).get("resourceVersion") or version)
    else:
        answer = await env.client.get(collection.collection, query=query, accept=accept)
        listed = _watch_items(answer, single=False)
        version = str((answer.get("metadata") or {}).get("resourceVersion") or "")
    if not watch_only:
        for item in listed:
            first = _show(env, printer, item, "ADDED", target.mapping, options, first=first)
        sys.stdout.flush()
    while True:
        try:
            async for event in env.client.events(
                collection.collection, query={**query, "resourceVersion": version}, accept=accept
            ):
                kind, obj = event.get("type", ""), event.get("object") or {}
                version = _version(obj) or version
                if kind == "BOOKMARK":
                    continue
                first = _show(env, printer, obj, kind, target.mapping, options, first=first)
                sys.stdout.flush()
        except ApiError as problem:
            if problem.reason in ("Expired", "Gone") or problem.code == 410:
                raise CliError("the watch's version is too old; start it again") from problem
            raise


def _version(obj: Object) -> str:
    rows = obj.get("rows") or []
    if rows:
        obj = rows[-1].get("object") or obj
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")


def _watch_items(answer: Object, *, single: bool) -> list[Object]:
    if answer.get("kind") == "Table":
        return [answer] if answer.get("rows") else []
    return [answer] if single else list(answer.get("items") or [])


def _show(
    env: Env, printer: TablePrinter, obj: Object, event: str, mapping: Mapping, options: Options, *, first: bool
) -> bool:
    if options.human:
        table = obj if obj.get("kind") == "Table" else plain_table([obj])
        for line in printer.lines(table, event=event):
            env.out(line)
        return False
    if obj.get("kind") == "Table":
        return first
    obj.setdefault("apiVersion", mapping.api_version)
    obj.setdefault("kind", mapping.kind)
    name, argument = split_format(options.output)
    if name in ("custom-columns", "custom-columns-file"):
        from cli.printers.columns import Columns

        headers = first and not options.no_headers
        make = Columns.from_file if name.endswith("file") else Columns
        sys.stdout.write(make(argument, headers=headers).text([obj]))
        return False
    shown: Object = {"type": event, "object": obj} if options.output_watch_events else obj
    print_object(
        shown,
        options.output,
        display=mapping.display,
        first=first,
    )
    return False
