"""The kubelet's metric pages under upstream's names: /metrics, /metrics/resource, /metrics/cadvisor, /metrics/probes.

The resource and cAdvisor pages are made from one Summary each time they are asked for; nothing is kept in between.
"""

from __future__ import annotations

import calendar
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from component.metrics import exposition
from kubelet.server.lookup import failure
from kubelet.server.summary import Summary

Json = dict[str, Any]
Sample = tuple[dict[str, str], float]

PROBES = ("prober_",)


class Metrics:
    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    async def text(self, path: str) -> bytes:
        """Raises StatusError 404 for a page that does not exist."""
        match path.rstrip("/"):
            case "/metrics":
                return _without(exposition()[0], PROBES)
            case "/metrics/probes":
                return _only(exposition()[0], PROBES)
            case "/metrics/resource":
                return resource_page(await self._summary.read())
            case "/metrics/cadvisor":
                return cadvisor_page(await self._summary.read())
        raise failure("the server could not find the requested resource", 404)


def resource_page(summary: Json) -> bytes:
    node, pods = summary["node"], summary["pods"]
    families = [
        _family(
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
            ((_container(pod, item), _seconds(item["cpu"])) for pod, item in _containers(pods)),
        ),
        _family(
            "container_memory_working_set_bytes",
            "gauge",
            "Current working set of the container in bytes",
            ((_container(pod, item), item["memory"]["workingSetBytes"]) for pod, item in _containers(pods)),
        ),
        _family(
            "container_start_time_seconds",
            "gauge",
            "Start time of the container since unix epoch in seconds",
            ((_container(pod, item), _epoch(item["startTime"])) for pod, item in _containers(pods)),
        ),
        _family(
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds",
            [({}, _seconds(node["cpu"]))],
        ),
        _family(
            "node_memory_working_set_bytes",
            "gauge",
            "Current working set of the node in bytes",
            [({}, node["memory"]["workingSetBytes"])],
        ),
        _family(
            "pod_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the pod in core-seconds",
            ((_pod(pod), _seconds(pod["cpu"])) for pod in pods if "cpu" in pod),
        ),
        _family(
            "pod_memory_working_set_bytes",
            "gauge",
            "Current working set of the pod in bytes",
            ((_pod(pod), pod["memory"]["workingSetBytes"]) for pod in pods if "memory" in pod),
        ),
        _family(
            "resource_scrape_error",
            "gauge",
            "1 if there was an error while getting container metrics, 0 otherwise",
            [({}, 0)],
        ),
    ]
    return "".join(families).encode()


def cadvisor_page(summary: Json) -> bytes:
    node, pods = summary["node"], summary["pods"]
    total_memory = node["memory"].get("availableBytes", 0) + node["memory"]["workingSetBytes"]
    families = [
        _family("machine_cpu_cores", "gauge", "Number of logical CPU cores.", [({}, os.cpu_count() or 1)]),
        _family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.", [({}, total_memory)]),
    ]
    for name, kind, text, section, key in (
        ("container_memory_usage_bytes", "gauge", "Current memory usage in bytes", "memory", "usageBytes"),
        ("container_memory_working_set_bytes", "gauge", "Current working set in bytes", "memory", "workingSetBytes"),
        ("container_memory_rss", "gauge", "Size of RSS in bytes", "memory", "rssBytes"),
    ):
        families.append(_family(name, kind, text, _of_cgroups(node, pods, section, key)))
    families.append(
        _family(
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed in seconds",
            ((labels, value / 1e9) for labels, value in _of_cgroups(node, pods, "cpu", "usageCoreNanoSeconds")),
        )
    )
    for name, text, key in (
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", "rxBytes"),
        ("container_network_receive_errors_total", "Cumulative count of errors while receiving", "rxErrors"),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", "txBytes"),
        ("container_network_transmit_errors_total", "Cumulative count of errors while transmitting", "txErrors"),
    ):
        families.append(_family(name, "counter", text, _of_interfaces(pods, key)))
    return "".join(families).encode()


def _of_cgroups(node: Json, pods: Iterable[Json], section: str, key: str) -> Iterator[Sample]:
    """cAdvisor's labels: the node's root has none but its id, a pod's cgroup an empty container."""
    yield {"id": "/", "namespace": "", "pod": "", "container": ""}, node[section][key]
    for pod in pods:
        if section in pod:
            yield {"id": pod["podRef"]["uid"], **_pod(pod), "container": ""}, pod[section][key]
        for item in pod["containers"]:
            yield {"id": f"{pod['podRef']['uid']}/{item['name']}", **_container(pod, item)}, item[section][key]


def _of_interfaces(pods: Iterable[Json], key: str) -> Iterator[Sample]:
    for pod in pods:
        for interface in pod.get("network", {}).get("interfaces", ()):
            yield {**_pod(pod), "interface": interface["name"]}, interface[key]


def _containers(pods: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    for pod in pods:
        for item in pod["containers"]:
            yield pod, item


def _pod(pod: Json) -> dict[str, str]:
    return {"namespace": pod["podRef"]["namespace"], "pod": pod["podRef"]["name"]}


def _container(pod: Json, item: Json) -> dict[str, str]:
    return {"container": item["name"], **_pod(pod)}


def _seconds(cpu: Json) -> float:
    return float(cpu["usageCoreNanoSeconds"]) / 1e9


def _epoch(stamp: str) -> float:
    return float(calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")))


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escape(item)}"' for key, item in labels.items())
        lines.append(f"{name}{{{shown}}} {value:.10g}" if shown else f"{name} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _lines_of(page: bytes, prefixes: tuple[str, ...], wanted: bool) -> bytes:
    kept: list[bytes] = []
    for line in page.splitlines(keepends=True):
        name = line.removeprefix(b"# HELP ").removeprefix(b"# TYPE ").decode(errors="replace")
        if name.startswith(prefixes) == wanted:
            kept.append(line)
    return b"".join(kept)


def _only(page: bytes, prefixes: tuple[str, ...]) -> bytes:
    return _lines_of(page, prefixes, True)


def _without(page: bytes, prefixes: tuple[str, ...]) -> bytes:
    return _lines_of(page, prefixes, False)
