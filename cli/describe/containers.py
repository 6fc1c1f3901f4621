"""The containers of a pod or a template."""

from __future__ import annotations

from cli.describe.text import Text
from cli.errors import Object
from cli.human import rfc1123
from cli.objects import dig


def describe_containers(
    text: Text, title: str, containers: list[Object], statuses: list[Object], pod: Object | None, *, space: str = ""
) -> None:
    text.line(0, f"{space}{title}:")
    states = {one["name"]: one for one in statuses}
    for container in containers:
        status = states.get(container["name"])
        text.line(1, f"{' ' if space else ''}{container['name']}:")
        if status is not None:
            text.field("Container ID", status.get("containerID", ""), 2)
        text.field("Image", container.get("image", ""), 2)
        if status is not None:
            text.field("Image ID", status.get("imageID", ""), 2)
        _ports(text, container.get("ports") or [])
        profile = dig(container, "securityContext", "seccompProfile")
        if profile:
            text.field("SeccompProfile", profile.get("type", ""), 2)
        for key in ("command", "args"):
            if container.get(key):
                text.line(2, f"{key.capitalize()}:")
                for word in container[key]:
                    for part in str(word).split("\n"):
                        text.line(3, part)
        if status is not None:
            _states(text, status)
        _resources(text, container.get("resources") or {})
        for key in ("liveness", "readiness", "startup"):
            probe = container.get(f"{key}Probe")
            if probe:
                text.field(key.capitalize(), probe_text(probe), 2)
        _environment(text, container, pod)
        _mounts(text, container)


def _ports(text: Text, ports: list[Object]) -> None:
    for title, key in (("Port", "containerPort"), ("Host Port", "hostPort")):
        shown = ", ".join(f"{one.get(key, 0)}/{one.get('protocol', 'TCP')}" for one in ports)
        text.field(f"{title}s" if "," in shown else title, shown or "<none>", 2)


def _states(text: Text, status: Object) -> None:
    _state(text, "State", status.get("state") or {})
    last = status.get("lastState") or {}
    if last.get("terminated"):
        _state(text, "Last State", last)
    text.field("Ready", "True" if status.get("ready") else "False", 2)
    text.field("Restart Count", status.get("restartCount", 0), 2)


def _state(text: Text, title: str, state: Object) -> None:
    if "running" in state:
        text.field(title, "Running", 2)
        text.field("Started", rfc1123(dig(state, "running", "startedAt")), 3)
    elif state.get("terminated"):
        ended = state["terminated"]
        text.field(title, "Terminated", 2)
        for key in ("reason", "message"):
            if ended.get(key):
                text.field(key.capitalize(), ended[key], 3)
        text.field("Exit Code", ended.get("exitCode", 0), 3)
        if ended.get("signal"):
            text.field("Signal", ended["signal"], 3)
        text.field("Started", rfc1123(ended.get("startedAt")), 3)
        text.field("Finished", rfc1123(ended.get("finishedAt")), 3)
    else:
        text.field(title, "Waiting", 2)
        if dig(state, "waiting", "reason"):
            text.field("Reason", state["waiting"]["reason"], 3)


def _resources(text: Text, resources: Object) -> None:
    for key in ("limits", "requests"):
        if resources.get(key):
            text.line(2, f"{key.capitalize()}:")
            for name, amount in sorted(resources[key].items()):
                text.field(name, amount, 3)


def probe_text(probe: Object) -> str:
    attributes = (
        f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s #success={probe.get('successThreshold', 1)} "
        f"#failure={probe.get('failureThreshold', 3)}"
    )
    if probe.get("exec"):
        return f"exec [{' '.join(probe['exec'].get('command') or [])}] {attributes}"
    if probe.get("httpGet"):
        get = probe["httpGet"]
        scheme = (get.get("scheme") or "HTTP").lower()
        path = get.get("path") or ""
        slash = "" if path.startswith("/") else "/"
        return f"http-get {scheme}://{get.get('host', '')}:{get.get('port')}{slash}{path} {attributes}"
    if probe.get("tcpSocket"):
        return f"tcp-socket {probe['tcpSocket'].get('host', '')}:{probe['tcpSocket'].get('port')} {attributes}"
    if probe.get("grpc"):
        return f"grpc <pod>:{probe['grpc'].get('port')} {probe['grpc'].get('service') or ''} {attributes}"
    return f"unknown {attributes}"


def _environment(text: Text, container: Object, pod: Object | None) -> None:
    sources = container.get("envFrom") or []
    if sources:
        text.line(2, "Environment Variables from:")
    for one in sources:
        kind, key = ("ConfigMap", "configMapRef") if one.get("configMapRef") else ("Secret", "secretRef")
        ref = one.get(key) or {}
        prefix = f" with prefix '{one['prefix']}'" if one.get("prefix") else ""
        text.line(3, f"{ref.get('name', '')}\t{kind}{prefix}\tOptional: {_bool(ref.get('optional'))}")
    variables = container.get("env") or []
    text.line(2, "Environment:" + ("" if variables else "\t<none>"))
    for one in variables:
        name, source = one["name"], one.get("valueFrom")
        if not source:
            for index, part in enumerate(str(one.get("value", "")).split("\n")):
                text.line(3, f"{name}:\t{part}" if not index else f"\t{part}")
        elif source.get("fieldRef"):
            ref = source["fieldRef"]
            value = field_value(pod, ref.get("fieldPath", ""))
            text.line(3, f"{name}:\t{value} ({ref.get('apiVersion', 'v1')}:{ref.get('fieldPath')})")
        elif source.get("resourceFieldRef"):
            ref = source["resourceFieldRef"]
            where, _, resource = str(ref.get("resource", "")).partition(".")
            amount = dig(container, "resources", where, resource)
            value = _divided(amount, ref.get("divisor"), resource) if amount else "node allocatable"
            text.line(3, f"{name}:\t{value} ({ref.get('resource')})")
        elif source.get("secretKeyRef"):
            ref = source["secretKeyRef"]
            shown = f"<set to the key '{ref.get('key')}' in secret '{ref.get('name')}'>"
            text.line(3, f"{name}:\t{shown}\tOptional: {_bool(ref.get('optional'))}")
        elif source.get("configMapKeyRef"):
            ref = source["configMapKeyRef"]
            shown = f"<set to the key '{ref.get('key')}' of config map '{ref.get('name')}'>"
            text.line(3, f"{name}:\t{shown}\tOptional: {_bool(ref.get('optional'))}")


def _divided(amount: str, divisor: str | None, resource: str) -> str:
    """The number a container sees: in units of the divisor, rounded up."""
    from api.quantity import Quantity

    unit = Quantity(divisor or 0) or Quantity(1)
    if resource == "cpu":
        return str(-(-Quantity(amount).milli // unit.milli))
    return str(-(-Quantity(amount).value // unit.value))


def field_value(pod: Object | None, path: str) -> str:
    """What a downward API field holds; empty in a template, and for what only the node knows."""
    if pod is None:
        return ""
    known = {
        "metadata.name": ("metadata", "name"),
        "metadata.namespace": ("metadata", "namespace"),
        "metadata.uid": ("metadata", "uid"),
        "spec.nodeName": ("spec", "nodeName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"),
        "status.podIP": ("status", "podIP"),
        "status.hostIP": ("status", "hostIP"),
    }
    if path in known:
        return str(dig(pod, *known[path], default=""))
    for section in ("labels", "annotations"):
        start = f"metadata.{section}['"
        if path.startswith(start):
            return str(dig(pod, "metadata", section, path[len(start) : -2], default=""))
    return ""


def _mounts(text: Text, container: Object) -> None:
    mounts = container.get("volumeMounts") or []
    text.line(2, "Mounts:" + ("" if mounts else "\t<none>"))
    for one in sorted(mounts, key=lambda item: item.get("mountPath", "")):
        flags = ["ro" if one.get("readOnly") else "rw"]
        if one.get("subPath"):
            flags.append(f'path="{one["subPath"]}"')
        text.line(3, f"{one.get('mountPath')} from {one.get('name')} ({','.join(flags)})")
    devices = container.get("volumeDevices") or []
    if devices:
        text.line(2, "Devices:")
        for one in sorted(devices, key=lambda item: item.get("devicePath", "")):
            text.line(3, f"{one.get('devicePath')} from {one.get('name')}")


def _bool(value: object) -> str:
    return "true" if value else "false"
