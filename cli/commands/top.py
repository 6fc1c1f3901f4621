"""`top`: CPU and memory in use, from the metrics API (metrics.k8s.io)."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.errors import ApiError, CliError, Object
from cli.framework import command as declare
from cli.framework import flag, group, option
from cli.objects import dig, name_of, namespace_of
from cli.printers.tabwriter import align
from cli.writing import selector_option

command = group(
    "top",
    help="Display resource (CPU/memory) usage of nodes or pods.",
)
command.aliases = {"po": "pod", "pods": "pod", "no": "node", "nodes": "node"}
ROOT = "/apis/metrics.k8s.io/v1beta1"


async def _metrics(env: Env, path: str, query: dict[str, Any]) -> list[Object]:
    groups = await env.discovery.groups()
    if not any(group.name == "metrics.k8s.io" for group in groups):
        await env.discovery.refresh()
        groups = await env.discovery.groups()
    if not any(group.name == "metrics.k8s.io" for group in groups):
        raise CliError("Metrics API not available")
    try:
        answer = await env.client.get(path, query=query)
    except ApiError as problem:
        if problem.reason == "ServiceUnavailable":
            raise CliError("Metrics API not available") from problem
        raise
    return list(answer["items"]) if "items" in answer else [answer]


def _usage(values: list[Object]) -> tuple[int, int]:
    """Millicores and bytes together."""
    from api.quantity import Quantity

    cpu = sum(Quantity(one.get("cpu", "0")).milli for one in values)
    memory = sum(Quantity(one.get("memory", "0")).value for one in values)
    return int(cpu), int(memory)


def _cells(cpu: int, memory: int) -> list[str]:
    return [f"{cpu}m", f"{memory // 2**20}Mi"]


def _check_sort(sort_by: str) -> None:
    if sort_by not in ("", "cpu", "memory"):
        raise CliError("--sort-by accepts only cpu or memory")


@declare("pod", usage="[NAME | -l label]", help="Display resource (CPU/memory) usage of pods.", group=command)
@flag("-A", "--all-namespaces", help="If present, list the requested object(s) across all namespaces.")
@flag("--containers", help="If present, print usage of containers within a pod.")
@option("--field-selector", help="Selector (field query) to filter on.")
@flag("--no-headers", help="If present, print output without headers.")
@selector_option
@option("--sort-by", help="If non-empty, sort pods list using specified field: 'cpu' or 'memory'.")
@flag("--sum", help="Print the sum of the resource usage.")
async def pod(env: Env, args: tuple[str, ...], **params: Any) -> None:
    _check_sort(params["sort_by"])
    everywhere = params["all_namespaces"]
    path = f"{ROOT}/pods" if everywhere else f"{ROOT}/namespaces/{env.namespace}/pods"
    query = {"labelSelector": params["selector"], "fieldSelector": params["field_selector"]}
    items = await _metrics(env, f"{path}/{args[0]}" if args else path, query)
    if not items:
        env.err("No resources found" + ("" if everywhere else f" in {env.namespace} namespace."))
        return
    rows: list[tuple[list[str], int, int]] = []
    for one in items:
        start = [namespace_of(one)] if everywhere else []
        containers = one.get("containers") or []
        if params["containers"]:
            for container in containers:
                rows.append(([*start, name_of(one), container["name"]], *_usage([container.get("usage") or {}])))
        else:
            rows.append(([*start, name_of(one)], *_usage([c.get("usage") or {} for c in containers])))
    head = [*(["NAMESPACE"] if everywhere else []), *(["POD"] if params["containers"] else []), "NAME"]
    _print(env, head, rows, params, total=params["sum"])


@declare("node", usage="[NAME | -l label]", help="Display resource (CPU/memory) usage of nodes.", group=command)
@flag("--no-headers", help="If present, print output without headers.")
@selector_option
@flag("--show-capacity", help="Print node resources based on Capacity instead of Allocatable (default).")
@option("--sort-by", help="If non-empty, sort nodes list using specified field: 'cpu' or 'memory'.")
async def node(env: Env, args: tuple[str, ...], **params: Any) -> None:
    _check_sort(params["sort_by"])
    query = {"labelSelector": params["selector"]}
    items = await _metrics(env, f"{ROOT}/nodes/{args[0]}" if args else f"{ROOT}/nodes", query)
    nodes = {name_of(one): one for one in (await env.client.get("/api/v1/nodes", query=query)).get("items") or []}
    key = "capacity" if params["show_capacity"] else "allocatable"
    rows = [([name_of(one)], *_usage([one.get("usage") or {}])) for one in items]
    rows.sort(key=lambda row: (-row[1] if params["sort_by"] == "cpu" else -row[2]) if params["sort_by"] else row[0][0])
    lines = [] if params["no_headers"] else ["NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)"]
    for name, cpu, memory in rows:
        all_cpu, all_memory = _usage([dig(nodes.get(name[0], {}), "status", key, default={})])
        shares = [
            f"{part * 100 // whole}%" if whole else "<unknown>"
            for part, whole in ((cpu, all_cpu), (memory, all_memory))
        ]
        lines.append("\t".join([name[0], f"{cpu}m", shares[0], f"{memory // 2**20}Mi", shares[1]]))
    _table(env, lines)


def _table(env: Env, lines: list[str]) -> None:
    """The last column is padded like the others: kubectl ends each cell here with a tab."""
    env.out(align("".join(f"{line}\t\n" for line in lines), minwidth=6, padding=3), end="")


def _print(
    env: Env, head: list[str], rows: list[tuple[list[str], int, int]], params: dict[str, Any], *, total: bool
) -> None:
    by = params["sort_by"]
    rows.sort(key=lambda row: -(row[1] if by == "cpu" else row[2]) if by else 0)
    lines = [] if params["no_headers"] else ["\t".join([*head, "CPU(cores)", "MEMORY(bytes)"])]
    lines.extend("\t".join([*names, *_cells(cpu, memory)]) for names, cpu, memory in rows)
    if total:
        blank = [""] * len(head)
        lines.append("\t".join([*blank, "________", "________"]))
        lines.append("\t".join([*blank, *_cells(sum(r[1] for r in rows), sum(r[2] for r in rows))]))
    _table(env, lines)
