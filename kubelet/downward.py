"""Values of a pod as files and environment variables show them: fieldRef and resourceFieldRef (downward API)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from api.quantity import Quantity
from api.types.core_v1 import Pod, ResourceFieldSelector
from kubelet import podutil
from kubelet.podutil import AnyContainer

_SUBSCRIPT = re.compile(r"^metadata\.(annotations|labels)\['(.*)'\]$")


class UnsupportedField(Exception):
    """str() is upstream's message."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A pod's addresses as known on the node; the API server may not have heard of them yet."""

    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()


def format_map(values: Mapping[str, str] | None) -> str:
    """Labels or annotations as a file shows them: `key="value"`, sorted, one on a line."""
    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted((values or {}).items()))


def field_value(pod: Pod, path: str, addresses: Addresses) -> str:
    """The field that `path` names. Raises UnsupportedField."""
    meta = pod.metadata
    if match := _SUBSCRIPT.match(path):
        values = meta.annotations if match[1] == "annotations" else meta.labels
        return (values or {}).get(match[2], "")
    match path:
        case "metadata.name":
            return meta.name or ""
        case "metadata.namespace":
            return meta.namespace or ""
        case "metadata.uid":
            return meta.uid or ""
        case "metadata.labels":
            return format_map(meta.labels)
        case "metadata.annotations":
            return format_map(meta.annotations)
        case "spec.nodeName":
            return pod.spec.node_name or ""
        case "spec.serviceAccountName":
            return pod.spec.service_account_name or ""
        case "status.hostIP":
            return addresses.host_ips[0] if addresses.host_ips else ""
        case "status.hostIPs":
            return ",".join(addresses.host_ips)
        case "status.podIP":
            return addresses.pod_ips[0] if addresses.pod_ips else ""
        case "status.podIPs":
            return ",".join(addresses.pod_ips)
    raise UnsupportedField(f"unsupported fieldPath: {path}")


def resource_value(
    pod: Pod, selector: ResourceFieldSelector, container: AnyContainer | None, allocatable: Mapping[str, Quantity]
) -> str:
    """The request or limit that `selector` names, divided (rounded up) as it asks. A limit that is not set counts as
    the node's allocatable amount. Raises UnsupportedField."""
    if selector.container_name:
        container = podutil.find_container(pod, selector.container_name)
    if container is None:
        raise UnsupportedField(f"container {selector.container_name} not found")
    scope, _, name = selector.resource.partition(".")
    if scope not in ("limits", "requests") or not name:
        raise UnsupportedField(f"unsupported container resource : {selector.resource}")
    requirements = container.resources
    limits, requests = requirements.limits or {}, requirements.requests or {}
    value = Quantity(0)
    if scope == "limits":
        if name in limits and Quantity(limits[name]) > Quantity(0):
            value = Quantity(limits[name])
        elif name in ("cpu", "memory", "ephemeral-storage"):
            value = allocatable.get(name, value)
    else:
        value = Quantity(requests[name]) if name in requests else value
    divisor = Quantity(selector.divisor or 0)
    if divisor == Quantity(0):
        divisor = Quantity(1)
    if name == "cpu":
        return str(-(-value.milli // divisor.milli))
    return str(-(-value.value // divisor.value))
