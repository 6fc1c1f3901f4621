"""`create deployment | namespace | job | cronjob | service | ingress | quota | priorityclass | poddisruptionbudget`."""

from __future__ import annotations

import re
from typing import Any

import click

from api.quantity import Quantity
from cli.env import Env
from cli.errors import CliError, Object
from cli.framework import command as declare
from cli.framework import flag, group, option
from cli.generators import (
    finish,
    generator_options,
    int_or_text,
    metadata,
    one_name,
    prune,
    required,
    split_list,
    split_pairs,
)


def add_to(parent: click.Group) -> None:
    for one in (deployment, namespace, job, cronjob, ingress, quota, priorityclass, poddisruptionbudget, service):
        parent.add_command(one)


@declare(
    "deployment",
    usage="NAME --image=image -- [COMMAND] [args...]",
    help="Create a deployment with the specified name.",
    examples="""
    # Create a deployment named web that runs the nginx image with 3 replicas
    kubectl create deployment web --image=nginx --replicas=3

    # Create a deployment with a command
    kubectl create deployment box --image=busybox -- date
    """,
)
@generator_options
@option("--image", multiple=True, help="Image names to run. A deployment can have multiple images set.")
@option("--port", type=int, default=-1, help="The containerPort that this deployment exposes.")
@option("-r", "--replicas", type=int, default=1, help="Number of replicas to create. Default is 1.")
async def deployment(env: Env, args: tuple[str, ...], after_dash: list[str] | None, **params: Any) -> None:
    images = split_list(params["image"])
    required(images, "image")
    name = one_name(args, "deployment")
    if len(images) > 1 and after_dash:
        raise CliError("cannot specify multiple --image options and command")
    containers = [container(_image_name(image), image, after_dash) for image in images]
    if params["port"] >= 0:
        containers[0]["ports"] = [{"containerPort": params["port"]}]
    labels = {"app": name}
    obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, labels=labels),
        "spec": {
            "replicas": params["replicas"],
            "selector": {"matchLabels": labels},
            "strategy": {},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
        "status": {},
    }
    await finish(env, obj, params)


def container(name: str, image: str, command: list[str] | None) -> Object:
    return {"name": name, "image": image, "resources": {}, **({"command": command} if command else {})}


def _image_name(image: str) -> str:
    """The container's name from its image: `localhost:5000/a/web:1` -> `web`."""
    last = image.rsplit("/", 1)[-1].split("@")[0].split(":")[0]
    return re.sub(r"[^a-z0-9-]", "-", last.lower())[:63].strip("-") or "container"


@declare("namespace", usage="NAME", help="Create a namespace with the specified name.")
@generator_options
async def namespace(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "namespace")
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}, "status": {}}
    await finish(env, obj, params)


@declare(
    "job",
    usage="NAME --image=image [--from=cronjob/name] -- [COMMAND] [args...]",
    help="Create a job with the specified name.",
)
@generator_options
@option("--from", "from_", help="The name of the resource to create a Job from (only cronjob is supported).")
@option("--image", help="Image name to run.")
async def job(env: Env, args: tuple[str, ...], after_dash: list[str] | None, **params: Any) -> None:
    name = one_name(args, "job")
    if bool(params["image"]) == bool(params["from_"]):
        raise CliError("either --image or --from must be specified")
    if params["from_"]:
        if after_dash:
            raise CliError("cannot specify --from and command")
        from cli.resources import single

        source = await single(env, (params["from_"],))
        if source.mapping.kind != "CronJob":
            raise CliError("from must be an existing cronjob")
        parent = source.object or {}
        template = parent["spec"]["jobTemplate"]
        annotations = {"cronjob.kubernetes.io/instantiate": "manual"}
        annotations.update((template.get("metadata") or {}).get("annotations") or {})
        obj: Object = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata(
                name,
                annotations=annotations,
                labels=(template.get("metadata") or {}).get("labels"),
                ownerReferences=[
                    {
                        "apiVersion": "batch/v1",
                        "kind": "CronJob",
                        "name": source.name,
                        "uid": parent["metadata"]["uid"],
                        "controller": True,
                    }
                ],
            ),
            "spec": template["spec"],
        }
    else:
        pod = {"containers": [container(name, params["image"], after_dash)], "restartPolicy": "Never"}
        obj = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {"template": {"metadata": {}, "spec": pod}},
            "status": {},
        }
    await finish(env, obj, params)


@declare(
    "cronjob",
    usage="NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...] [flags]",
    help="Create a cron job with the specified name.",
)
@generator_options
@option("--image", help="Image name to run.")
@option("--restart", default="OnFailure", help="job's restart policy. supported values: OnFailure, Never")
@option("--schedule", help="A schedule in the Cron format the job should be run with.")
async def cronjob(env: Env, args: tuple[str, ...], after_dash: list[str] | None, **params: Any) -> None:
    missing = [flag_name for flag_name in ("image", "schedule") if not params[flag_name]]
    required(not missing, *missing)
    name = one_name(args, "cronjob")
    pod = {"containers": [container(name, params["image"], after_dash)], "restartPolicy": params["restart"]}
    template = {"metadata": {"name": name}, "spec": {"template": {"metadata": {}, "spec": pod}}}
    obj = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {"jobTemplate": template, "schedule": params["schedule"]},
        "status": {},
    }
    await finish(env, obj, params)


@declare(
    "ingress",
    usage="NAME --rule=host/path=service:port[,tls[=secret]]",
    help="Create an ingress with the specified name.",
)
@generator_options
@option("--annotation", multiple=True, help="Annotation to insert in the ingress object, in the format key=value.")
@option("--class", "class_name", help="Ingress Class to be used.")
@option("--default-backend", help="Default service for backend, in format of svcname:port.")
@option("--rule", multiple=True, help="Rule in format host/path=service:port[,tls=secretname].")
async def ingress(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "ingress")
    if not params["rule"] and not params["default_backend"]:
        raise CliError(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all "
            "traffic) or a list of rules (which catch specific paths)"
        )
    hosts: dict[str, list[Object]] = {}
    tls: dict[str, list[str]] = {}
    for rule in params["rule"]:
        match = re.fullmatch(r"([^/]*)(/[^=]*)=([^:,]+):([^,]+)(?:,tls(?:=([^,]*))?)?", rule)
        if match is None:
            raise CliError(f"rule {rule} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]")
        host, path, backend, port, secret = match.groups()
        kind = "Prefix" if path.endswith("*") else "Exact"
        hosts.setdefault(host, []).append(
            {"path": path.rstrip("*") or "/", "pathType": kind, "backend": _backend(backend, port)}
        )
        if ",tls" in rule:
            tls.setdefault(secret or "", []).append(host)
    spec = prune(
        {
            "ingressClassName": params["class_name"],
            "defaultBackend": _backend(*params["default_backend"].split(":", 1)) if params["default_backend"] else None,
            "rules": [prune({"host": host, "http": {"paths": paths}}) for host, paths in hosts.items()],
            "tls": [prune({"hosts": [h for h in names if h], "secretName": key}) for key, names in tls.items()],
        }
    )
    obj = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(name, annotations=split_pairs(params["annotation"]) or None),
        "spec": spec,
        "status": {"loadBalancer": {}},
    }
    await finish(env, obj, params)


def _backend(service_name: str, port: str = "80") -> Object:
    number = int_or_text(port)
    return {"service": {"name": service_name, "port": {"number" if isinstance(number, int) else "name": number}}}


@declare(
    "quota", usage="NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2]", help="Create a resource quota."
)
@generator_options
@option("--hard", help="A comma-delimited set of resource=quantity pairs that define a hard limit.")
@option("--scopes", help="A comma-delimited set of quota scopes that must all match each object tracked by the quota.")
async def quota(env: Env, args: tuple[str, ...], **params: Any) -> None:
    hard = split_pairs((params["hard"],)) if params["hard"] else None
    for amount in (hard or {}).values():
        try:
            Quantity(amount)
        except ValueError as problem:
            raise CliError(str(problem)) from problem
    spec = prune({"hard": hard, "scopes": split_list((params["scopes"],))})
    obj = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": one_name(args, "quota")}, "spec": spec}
    obj["status"] = {}
    await finish(env, obj, params)


@declare("priorityclass", usage="NAME --value=VALUE --global-default=BOOL", help="Create a priority class.")
@generator_options
@option("--description", help="Text that usually provides guidelines on when this priority class should be used.")
@flag("--global-default", help="Specifies whether this PriorityClass should be considered as the default priority.")
@option("--preemption-policy", default="PreemptLowerPriority", help="The policy for preempting pods of lower priority.")
@option("--value", type=int, default=0, help="The value of this priority class.")
async def priorityclass(env: Env, args: tuple[str, ...], **params: Any) -> None:
    obj = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": one_name(args, "priorityclass")},
        "value": params["value"],
        **prune({"description": params["description"], "preemptionPolicy": params["preemption_policy"]}),
        **({"globalDefault": True} if params["global_default"] else {}),
    }
    await finish(env, obj, params)


@declare(
    "poddisruptionbudget",
    usage="NAME --selector=SELECTOR --min-available=N",
    help="Create a pod disruption budget with the specified name, selector, and desired minimum available pods.",
)
@generator_options
@option("--max-unavailable", help="The maximum number or percentage of unavailable pods this budget requires.")
@option("--min-available", help="The minimum number or percentage of available pods this budget requires.")
@option("--selector", help="A label selector to use for this budget. Only equality-based selectors are supported.")
async def poddisruptionbudget(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not params["selector"]:
        raise CliError("a selector must be specified")
    if bool(params["max_unavailable"]) == bool(params["min_available"]):
        raise CliError(
            "min-available and max-unavailable cannot be both specified"
            if params["min_available"]
            else "one of min-available or max-unavailable must be specified"
        )
    key = "minAvailable" if params["min_available"] else "maxUnavailable"
    amount = params["min_available"] or params["max_unavailable"]
    spec = {key: int_or_text(amount), "selector": {"matchLabels": split_pairs((params["selector"],))}}
    obj = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": one_name(args, "poddisruptionbudget")},
        "spec": spec,
        "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0},
    }
    await finish(env, obj, params)


service = group("service", help="Create a service using a specified subcommand.")


def _service_port(text: str) -> Object:
    port, _, target = text.partition(":")
    if not port.isdigit():
        raise CliError(f"invalid port value: {text}")
    return {
        "name": text.replace(":", "-"),
        "port": int(port),
        "protocol": "TCP",
        "targetPort": int_or_text(target or port),
    }


def _make_service(name: str, kind: str, params: dict[str, Any], **more: Any) -> Object:
    ports = [_service_port(text) for text in split_list(params["tcp"])]
    if params.get("node_port"):
        for port in ports:
            port["nodePort"] = params["node_port"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": prune({"type": kind, "selector": {"app": name}, "ports": ports, **more}),
        "status": {"loadBalancer": {}},
    }


_tcp = option("--tcp", multiple=True, help="Port pairs can be specified as '<port>:<targetPort>'.")


@declare("clusterip", usage="NAME [--tcp=<port>:<targetPort>]", help="Create a ClusterIP service.", group=service)
@generator_options
@option("--clusterip", help="Assign your own ClusterIP or set to 'None' for a 'headless' service (no loadbalancing).")
@_tcp
async def clusterip(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "service")
    if not params["tcp"] and params["clusterip"] != "None":
        raise CliError("at least one tcp port specifier must be provided")
    obj = _make_service(name, "ClusterIP", params, clusterIP=params["clusterip"])
    await finish(env, obj, params)


@declare("nodeport", usage="NAME [--tcp=port:targetPort]", help="Create a NodePort service.", group=service)
@generator_options
@option("--node-port", type=int, default=0, help="Port used to expose the service on each node in a cluster.")
@_tcp
async def nodeport(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "service")
    if not params["tcp"]:
        raise CliError("at least one tcp port specifier must be provided")
    await finish(env, _make_service(name, "NodePort", params), params)


@declare("loadbalancer", usage="NAME [--tcp=port:targetPort]", help="Create a LoadBalancer service.", group=service)
@generator_options
@_tcp
async def loadbalancer(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "service")
    if not params["tcp"]:
        raise CliError("at least one tcp port specifier must be provided")
    await finish(env, _make_service(name, "LoadBalancer", params), params)


@declare(
    "externalname", usage="NAME --external-name external.name", help="Create an ExternalName service.", group=service
)
@generator_options
@option("--external-name", help="External name of service.")
@_tcp
async def externalname(env: Env, args: tuple[str, ...], **params: Any) -> None:
    required(params["external_name"], "external-name")
    name = one_name(args, "service")
    obj = _make_service(name, "ExternalName", params, externalName=params["external_name"])
    await finish(env, obj, params)
