"""Services, Endpoints, EndpointSlices, Ingresses."""

from __future__ import annotations

from cli.describe.inspector import Inspector
from cli.describe.text import Text
from cli.errors import Object
from cli.objects import annotations_of, dig, join, labels_of, name_of, namespace_of


async def service(text: Text, obj: Object, inspector: Inspector) -> None:
    spec = obj.get("spec") or {}
    text.head(obj)
    text.labels("Selector", spec.get("selector"))
    text.field("Type", spec.get("type", ""))
    if spec.get("ipFamilyPolicy"):
        text.field("IP Family Policy", spec["ipFamilyPolicy"])
    if spec.get("ipFamilies"):
        text.field("IP Families", join(spec["ipFamilies"]))
    text.field("IP", spec.get("clusterIP", ""))
    if spec.get("clusterIPs"):
        text.field("IPs", join(spec["clusterIPs"]))
    if spec.get("externalIPs"):
        text.field("External IPs", join(spec["externalIPs"]))
    if spec.get("loadBalancerIP"):
        text.field("Desired LoadBalancer IP", spec["loadBalancerIP"])
    if spec.get("externalName"):
        text.field("External Name", spec["externalName"])
    ingress = dig(obj, "status", "loadBalancer", "ingress", default=[])
    if ingress:
        text.field("LoadBalancer Ingress", ", ".join(one.get("ip") or one.get("hostname") or "" for one in ingress))
    slices = await inspector.items(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace_of(obj)}/endpointslices",
        labelSelector=f"kubernetes.io/service-name={name_of(obj)}",
    )
    for port in spec.get("ports") or []:
        name, protocol = port.get("name") or "<unset>", port.get("protocol", "TCP")
        text.field("Port", f"{name}\t{port.get('port')}/{protocol}")
        text.field("TargetPort", f"{port.get('targetPort', port.get('port'))}/{protocol}")
        if port.get("nodePort"):
            text.field("NodePort", f"{name}\t{port['nodePort']}/{protocol}")
        text.field("Endpoints", _endpoints(slices, port.get("name") or ""))
    text.field("Session Affinity", spec.get("sessionAffinity", "None"))
    if spec.get("externalTrafficPolicy"):
        text.field("External Traffic Policy", spec["externalTrafficPolicy"])
    if spec.get("internalTrafficPolicy"):
        text.field("Internal Traffic Policy", spec["internalTrafficPolicy"])
    if spec.get("trafficDistribution"):
        text.field("Traffic Distribution", spec["trafficDistribution"])
    if spec.get("healthCheckNodePort"):
        text.field("HealthCheck NodePort", spec["healthCheckNodePort"])
    if spec.get("loadBalancerSourceRanges"):
        text.field("LoadBalancer Source Ranges", join(spec["loadBalancerSourceRanges"]))
    text.events(await inspector.events(obj))


def _endpoints(slices: list[Object], port_name: str) -> str:
    """`10.0.0.1:80,10.0.0.2:80 + 3 more...`; ready ones only."""
    found: list[str] = []
    for one in slices:
        for port in one.get("ports") or []:
            if (port.get("name") or "") != port_name:
                continue
            for endpoint in one.get("endpoints") or []:
                if dig(endpoint, "conditions", "ready", default=True):
                    found.extend(_join_port(address, port.get("port")) for address in endpoint.get("addresses") or [])
    if len(found) > 3:
        return f"{','.join(found[:3])} + {len(found) - 3} more..."
    return ",".join(found) or "<none>"


def _join_port(address: str, port: object) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def endpoints(text: Text, obj: Object, inspector: Inspector) -> None:
    text.head(obj)
    text.line(0, "Subsets:")
    for subset in obj.get("subsets") or []:
        text.field("Addresses", join(one.get("ip") for one in subset.get("addresses") or []), 1)
        text.field("NotReadyAddresses", join(one.get("ip") for one in subset.get("notReadyAddresses") or []), 1)
        if subset.get("ports"):
            text.line(1, "Ports:")
            text.line(2, "Name\tPort\tProtocol")
            text.line(2, "----\t----\t--------")
            for port in subset["ports"]:
                text.line(2, f"{port.get('name') or '<unset>'}\t{port.get('port')}\t{port.get('protocol', 'TCP')}")
        text.raw("\n")
    text.events(await inspector.events(obj))


async def endpoint_slice(text: Text, obj: Object, inspector: Inspector) -> None:
    text.head(obj)
    text.field("AddressType", obj.get("addressType", ""))
    ports = obj.get("ports") or []
    if ports:
        text.line(0, "Ports:")
        text.line(1, "Name\tPort\tProtocol")
        text.line(1, "----\t----\t--------")
        for port in ports:
            text.line(1, f"{port.get('name') or '<unset>'}\t{port.get('port', '')}\t{port.get('protocol', '')}")
    else:
        text.field("Ports", "<unset>")
    found = obj.get("endpoints") or []
    if not found:
        text.field("Endpoints", "<none>")
    else:
        text.line(0, "Endpoints:")
    for one in found:
        text.field("- Addresses", ", ".join(one.get("addresses") or []), 1)
        text.line(2, "Conditions:")
        for key in ("ready", "serving", "terminating"):
            value = dig(one, "conditions", key)
            if key == "ready" or value is not None:
                text.field(key.capitalize(), "<unset>" if value is None else str(value).lower(), 3)
        text.field("Hostname", one.get("hostname") or "<unset>", 2)
        ref = one.get("targetRef")
        if ref:
            text.field("TargetRef", f"{ref.get('kind')}/{ref.get('name')}", 2)
        text.field("NodeName", one.get("nodeName") or "<unset>", 2)
        text.field("Zone", one.get("zone") or "<unset>", 2)
    text.events(await inspector.events(obj))


async def ingress(text: Text, obj: Object, inspector: Inspector) -> None:
    spec = obj.get("spec") or {}
    text.field("Name", name_of(obj))
    text.labels("Labels", labels_of(obj))
    text.field("Namespace", namespace_of(obj))
    addresses = dig(obj, "status", "loadBalancer", "ingress", default=[])
    text.field("Address", ",".join(one.get("ip") or one.get("hostname") or "" for one in addresses))
    text.field("Ingress Class", spec.get("ingressClassName") or "<none>")
    default = spec.get("defaultBackend")
    text.field("Default backend", await _backend(default, obj, inspector) if default else "<default>")
    if spec.get("tls"):
        text.line(0, "TLS:")
        for one in spec["tls"]:
            hosts = ",".join(one.get("hosts") or [])
            text.line(1, f"{one['secretName']} terminates {hosts}" if one.get("secretName") else f"SNI routes {hosts}")
    text.line(0, "Rules:")
    text.line(1, "Host\tPath\tBackends")
    text.line(1, "----\t----\t--------")
    rules = spec.get("rules") or []
    for rule in rules:
        text.line(1, f"{rule.get('host') or '*'}\t")
        for path in dig(rule, "http", "paths", default=[]):
            text.line(2, f"\t{path.get('path', '')} \t{await _backend(path.get('backend') or {}, obj, inspector)}")
    if not rules:
        text.line(1, f"*\t*\t{await _backend(default, obj, inspector) if default else '<default>'}")
    text.annotations("Annotations", annotations_of(obj))
    text.events(await inspector.events(obj))


async def _backend(backend: Object, obj: Object, inspector: Inspector) -> str:
    if backend.get("resource"):
        one = backend["resource"]
        return f"APIGroup: {one.get('apiGroup') or '<none>'}, Kind: {one.get('kind')}, Name: {one.get('name')}"
    target = backend.get("service") or {}
    port = target.get("port") or {}
    shown = port.get("name") or port.get("number")
    root = f"/api/v1/namespaces/{namespace_of(obj)}/services/{target.get('name')}"
    found = await inspector.one(root)
    if found is None:
        return f'{target.get("name")}:{shown} (<error: services "{target.get("name")}" not found>)'
    name = next(
        (
            p.get("name") or ""
            for p in dig(found, "spec", "ports", default=[])
            if shown in (p.get("name"), p.get("port"))
        ),
        "",
    )
    slices = await inspector.items(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace_of(obj)}/endpointslices",
        labelSelector=f"kubernetes.io/service-name={target.get('name')}",
    )
    return f"{target.get('name')}:{shown} ({_endpoints(slices, name)})"
