"""`expose`: a Service for a deployment, replica set, pod, service or replication controller."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.errors import CliError, Object, raise_all
from cli.framework import command as declare
from cli.framework import option
from cli.generators import int_or_text, prune, split_pairs
from cli.objects import dig, labels_of
from cli.resources import Target, fetch_all, resolve
from cli.writing import create_generated, dry_run_option, filename_options, output_option

EXPOSABLE = ("Deployment", "ReplicaSet", "ReplicationController", "Pod", "Service")


@declare(
    "expose",
    usage="(-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] "
    "[--name=name] [--external-ip=external-ip-of-service] [--type=type]",
    help="""
    Expose a resource as a new Kubernetes service.

    Looks up a deployment, service, replica set, replication controller or pod by name and uses the selector for that
    resource as the selector for a new service on the specified port.
    """,
    examples="""
    # Create a service for a deployment, which serves on port 80 and connects to the containers on port 8000
    kubectl expose deployment web --port=80 --target-port=8000

    # Make it reachable on a port of every node
    kubectl expose deployment web --port=80 --type=NodePort
    """,
)
@option("--cluster-ip", help="ClusterIP to be assigned to the service, or 'None' for a headless service.")
@dry_run_option
@option("--external-ip", help="Additional external IP address (not managed by Kubernetes) to accept for the service.")
@option("--field-manager", default="kubectl-expose", help="Name of the manager used to track field ownership.")
@filename_options
@option("-l", "--labels", help="Labels to apply to the service created by this call.")
@option("--load-balancer-ip", help="IP to assign to the LoadBalancer.")
@option("--name", help="The name for the newly created object.")
@output_option
@option("--overrides", help="An inline JSON override for the generated object.")
@option("--port", help="The port that the service should serve on. Copied from the resource if unspecified.")
@option("--protocol", help="The network protocol for the service to be created. Default is 'TCP'.")
@option("--selector", help="A label selector to use for this service.")
@option("--session-affinity", help="If non-empty, set the session affinity for the service: 'None' or 'ClientIP'.")
@option("--target-port", help="Name or number for the port on the container that the service should direct traffic to.")
@option("--type", "kind", help="Type for this service: ClusterIP, NodePort, LoadBalancer, or ExternalName.")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    targets = await resolve(
        env, args, filenames=params["filename"], recursive=params["recursive"], need_name=not params["filename"]
    )
    found, problems = await fetch_all(env, targets)
    raise_all(problems)
    for target in found:
        service = _service(target, params)
        if params["overrides"]:
            import json

            from cli.strategic import _overlay

            service = _overlay(service, json.loads(params["overrides"]))
        await create_generated(
            env,
            service,
            dry_run=params["dry_run"],
            output=params["output"],
            manager=params["field_manager"],
            done="exposed",
        )


def _service(target: Target, params: dict[str, Any]) -> Object:
    obj = target.object or {}
    if target.mapping.kind not in EXPOSABLE:
        raise CliError(f"cannot expose a {target.mapping.kind}")
    selector = split_pairs((params["selector"],)) if params["selector"] else _selector(target, obj)
    ports = _ports(obj, params)
    if not ports and params["cluster_ip"] != "None":
        raise CliError("couldn't find port via --port flag or introspection")
    labels = split_pairs((params["labels"],)) if params["labels"] else labels_of(obj)
    name = params["name"] or target.name
    if len(name) > 63:
        name = name[:63]
    spec = prune(
        {
            "selector": selector,
            "ports": ports,
            "type": params["kind"],
            "clusterIP": params["cluster_ip"],
            "externalIPs": [params["external_ip"]] if params["external_ip"] else None,
            "loadBalancerIP": params["load_balancer_ip"],
            "sessionAffinity": params["session_affinity"],
        }
    )
    metadata = prune({"name": name, "labels": labels or None})
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}


def _selector(target: Target, obj: Object) -> dict[str, str]:
    kind = target.mapping.kind
    if kind == "Pod":
        labels = labels_of(obj)
        if not labels:
            raise CliError(
                "couldn't retrieve selectors via --selector flag or introspection: the pod has no labels "
                "and cannot be exposed"
            )
        return labels
    selector = dig(obj, "spec", "selector", default={})
    if kind in ("Service", "ReplicationController"):
        if not selector:
            raise CliError(
                "couldn't retrieve selectors via --selector flag or introspection: invalid service: "
                "its selector is empty"
            )
        return dict(selector)
    if selector.get("matchExpressions"):
        raise CliError(
            "couldn't retrieve selectors via --selector flag or introspection: couldn't convert expressions - "
            f'"{selector["matchExpressions"]}" to map-based selector format'
        )
    return dict(selector.get("matchLabels") or {})


def _ports(obj: Object, params: dict[str, Any]) -> list[Object]:
    """The service's ports: from --port, else those the containers (or the service) declare."""
    declared = _declared(obj)
    if params["port"]:
        wanted = [text.strip() for text in params["port"].split(",")]
        bad = next((text for text in wanted if not text.isdigit()), None)
        if bad is not None:
            raise CliError(f'strconv.Atoi: parsing "{bad}": invalid syntax')
        numbers = [(int(text), params["protocol"] or dict(declared).get(int(text), "TCP")) for text in wanted]
    else:
        numbers = [(number, params["protocol"] or protocol) for number, protocol in declared]
    ports: list[Object] = []
    for index, (number, protocol) in enumerate(numbers):
        target = int_or_text(params["target_port"]) if params["target_port"] else number
        port: Object = {"port": number, "protocol": protocol, "targetPort": target}
        if len(numbers) > 1:
            port["name"] = f"port-{index + 1}"
        ports.append(port)
    return ports


def _declared(obj: Object) -> list[tuple[int, str]]:
    spec = obj.get("spec") or {}
    if "ports" in spec:
        return [(port["port"], port.get("protocol", "TCP")) for port in spec["ports"]]
    pod = dig(spec, "template", "spec") or spec
    return [
        (port["containerPort"], port.get("protocol", "TCP"))
        for container in pod.get("containers") or []
        for port in container.get("ports") or []
    ]
