"""Pods, and the pod templates of workloads."""

from __future__ import annotations

from cli.describe.containers import describe_containers
from cli.describe.inspector import Inspector
from cli.describe.text import Text
from cli.describe.volumes import describe_volumes
from cli.errors import Object
from cli.human import age, rfc1123
from cli.objects import annotations_of, dig, label_selector_text, labels_of, name_of, namespace_of, owner_of


async def describe(text: Text, pod: Object, inspector: Inspector) -> None:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    text.field("Name", name_of(pod))
    text.field("Namespace", namespace_of(pod))
    if spec.get("priority") is not None:
        text.field("Priority", spec["priority"])
    if spec.get("priorityClassName"):
        text.field("Priority Class Name", spec["priorityClassName"])
    if spec.get("runtimeClassName"):
        text.field("Runtime Class Name", spec["runtimeClassName"])
    if spec.get("serviceAccountName"):
        text.field("Service Account", spec["serviceAccountName"])
    node = spec.get("nodeName")
    text.field("Node", f"{node}/{status.get('hostIP', '')}" if node else "<none>")
    if status.get("startTime"):
        text.field("Start Time", rfc1123(status["startTime"]))
    text.labels("Labels", labels_of(pod))
    text.annotations("Annotations", annotations_of(pod))
    deleted = dig(pod, "metadata", "deletionTimestamp")
    if deleted and status.get("reason") != "NodeLost":
        text.field("Status", f"Terminating (lasts {age(deleted)})")
        text.field("Termination Grace Period", f"{dig(pod, 'metadata', 'deletionGracePeriodSeconds', default=0)}s")
    else:
        text.field("Status", status.get("phase", ""))
    for key in ("reason", "message"):
        if status.get(key):
            text.field(key.capitalize(), status[key])
    profile = dig(spec, "securityContext", "seccompProfile")
    if profile:
        text.field("SeccompProfile", profile.get("type", ""))
        if profile.get("localhostProfile"):
            text.field("LocalhostProfile", profile["localhostProfile"])
    text.field("IP", status.get("podIP", ""))
    _addresses(text, status)
    owner = owner_of(pod)
    if owner:
        text.field("Controlled By", f"{owner['kind']}/{owner['name']}")
    if status.get("nominatedNodeName"):
        text.field("NominatedNodeName", status["nominatedNodeName"])
    for title, key, states in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        if spec.get(key) or key == "containers":
            describe_containers(text, title, spec.get(key) or [], status.get(states) or [], pod)
    if spec.get("readinessGates"):
        text.line(0, "Readiness Gates:\n  Type\tStatus")
        have = {c["type"]: c["status"] for c in status.get("conditions") or []}
        for gate in spec["readinessGates"]:
            text.line(1, f"{gate['conditionType']} \t{have.get(gate['conditionType'], '<none>')} ")
    if status.get("conditions"):
        text.line(0, "Conditions:\n  Type\tStatus")
        for condition in status["conditions"]:
            text.line(1, f"{condition['type']} \t{condition['status']} ")
    describe_volumes(text, spec.get("volumes") or [])
    text.field("QoS Class", status.get("qosClass") or "BestEffort")
    text.labels("Node-Selectors", spec.get("nodeSelector"))
    describe_tolerations(text, spec.get("tolerations") or [])
    describe_spread(text, spec.get("topologySpreadConstraints") or [])
    text.events(await inspector.events(pod))


def _addresses(text: Text, status: Object) -> None:
    found = [one.get("ip", "") for one in status.get("podIPs") or []]
    if not found:
        text.field("IPs", "<none>")
        return
    text.line(0, "IPs:")
    for address in found:
        text.field("IP", address, 1)


def describe_tolerations(text: Text, tolerations: list[Object], indent: str = "") -> None:
    if not tolerations:
        text.line(0, f"{indent}Tolerations:\t<none>")
        return
    for index, one in enumerate(sorted(tolerations, key=lambda item: item.get("key", ""))):
        shown = one.get("key", "")
        if one.get("value"):
            shown += f"={one['value']}"
        if one.get("effect"):
            shown += f":{one['effect']}"
        if one.get("operator") == "Exists" and not one.get("value"):
            shown += " op=Exists" if one.get("key") or one.get("effect") else "op=Exists"
        if one.get("tolerationSeconds") is not None:
            shown += f" for {one['tolerationSeconds']}s"
        text.line(0, f"{indent}Tolerations:\t{shown}" if not index else f"{indent}\t{shown}")


def describe_spread(text: Text, constraints: list[Object], indent: str = "") -> None:
    for index, one in enumerate(sorted(constraints, key=lambda item: item.get("topologyKey", ""))):
        shown = f"{one.get('topologyKey', '')}:{one.get('whenUnsatisfiable', '')}"
        shown += f" when max skew {one.get('maxSkew', 0)} is exceeded"
        if one.get("labelSelector") is not None:
            shown += f" for selector {label_selector_text(one['labelSelector'])}"
        start = f"{indent}Topology Spread Constraints:\t" if not index else f"{indent}\t"
        text.line(0, start + shown)


def describe_template(text: Text, template: Object | None) -> None:
    """The `Pod Template:` block."""
    text.line(0, "Pod Template:")
    if template is None:
        text.line(0, "  <unset>")
        return
    spec = template.get("spec") or {}
    text.labels("Labels", labels_of(template), "  ")
    if annotations_of(template):
        text.annotations("Annotations", annotations_of(template), "  ")
    if spec.get("serviceAccountName"):
        text.line(0, f"  Service Account:\t{spec['serviceAccountName']}")
    if spec.get("initContainers"):
        describe_containers(text, "Init Containers", spec["initContainers"], [], None, space="  ")
    describe_containers(text, "Containers", spec.get("containers") or [], [], None, space="  ")
    describe_volumes(text, spec.get("volumes") or [], space="  ")
    describe_spread(text, spec.get("topologySpreadConstraints") or [], "  ")
    if spec.get("priorityClassName"):
        text.line(0, f"  Priority Class Name:\t{spec['priorityClassName']}")
    text.labels("Node-Selectors", spec.get("nodeSelector"), "  ")
    describe_tolerations(text, spec.get("tolerations") or [], "  ")
