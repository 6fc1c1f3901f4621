"""`debug`: a container with tools in a running pod, in a copy of a pod, or on a node."""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path
from typing import Any

from cli import debug_profiles as profiles
from cli.commands.attach import attach_to
from cli.env import Env
from cli.errors import ApiError, CliError, Object, UsageError
from cli.framework import command as declare
from cli.framework import flag, option
from cli.generators import prune, split_list
from cli.manifests import load_yaml
from cli.objects import clone, dig, name_of, namespace_of
from cli.pods import container_names
from cli.resources import fetch_one, resolve

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@declare(
    "debug",
    usage="(POD | TYPE[[.VERSION].GROUP]/NAME) [ -- COMMAND [args...] ]",
    help="""
    Debug cluster resources using interactive debugging containers: an ephemeral container in a running pod, a copy of
    a pod with something changed (--copy-to), or a pod in a node's namespaces with its files at /host.
    """,
    examples="""
    # Create an interactive debugging session in pod mypod and immediately attach to it
    kubectl debug mypod -it --image=busybox

    # Create a copy of mypod changing the command of mycontainer
    kubectl debug mypod -it --copy-to=my-debugger --container=mycontainer -- sh

    # Create a copy of mypod changing all container images to busybox
    kubectl debug mypod --copy-to=my-debugger --set-image=*=busybox

    # Create an interactive debugging session on a node
    kubectl debug node/mynode -it --image=busybox
    """,
)
@flag("--arguments-only", help="If specified, everything after -- becomes the container's args, not its command.")
@flag("--attach", default=False, help="If true, wait for the container to start running, and then attach to it.")
@option("-c", "--container", help="Container name to use for debug container.")
@option("--copy-to", help="Create a copy of the target Pod with this name.")
@option("--custom", help="Path to a JSON or YAML file with a partial container spec, laid over the profile's.")
@option("--env", "env_vars", multiple=True, help="Environment variables to set in the container.")
@option("-f", "--filename", multiple=True, help="identifying the resource to debug")
@option("--image", help="Container image to use for debug container.")
@option("--image-pull-policy", help="The image pull policy for the container.")
@flag("--keep-annotations", help="If true, keep the original pod annotations (with --copy-to).")
@flag("--keep-init-containers", default=True, help="Run the init containers for the pod (with --copy-to).")
@flag("--keep-labels", help="If true, keep the original pod labels (with --copy-to).")
@flag("--keep-liveness", help="If true, keep the original pod liveness probes (with --copy-to).")
@flag("--keep-readiness", help="If true, keep the original pod readiness probes (with --copy-to).")
@flag("--keep-startup", help="If true, keep the original startup probes (with --copy-to).")
@option("--profile", default="general", help='One of "general", "baseline", "restricted", "netadmin" or "sysadmin".')
@flag("-q", "--quiet", help="If true, suppress informational messages.")
@flag("--replace", help="When used with '--copy-to', delete the original Pod.")
@flag("--same-node", help="When used with '--copy-to', schedule the copy of target Pod on the same node.")
@option("--set-image", multiple=True, help="When used with '--copy-to', name=image pairs for changing images.")
@flag("--share-processes", default=True, help="When used with '--copy-to', share the process namespace in the copy.")
@flag("-i", "--stdin", help="Keep stdin open on the container(s) in the pod, even if nothing is attached.")
@option("--target", help="When using an ephemeral container, target processes in this container name.")
@flag("-t", "--tty", help="Allocate a TTY for the debugging container.")
async def command(env: Env, args: tuple[str, ...], after_dash: list[str] | None, **params: Any) -> None:
    words = after_dash or []
    _check(params, words)
    if not args and not params["filename"]:
        raise UsageError("NAME or --filename is required for debug")
    named = params["filename"] or any("/" in arg for arg in args)
    words_of = args if named else ("pods", *args)
    targets = await resolve(
        env, words_of, filenames=params["filename"], default_type="pods", need_name=not params["filename"]
    )
    for target in targets:
        found = await fetch_one(env, target)
        live = found.object or {}
        if target.mapping.kind == "Node":
            pod, container = await _node(env, live, params, words)
        elif target.mapping.kind != "Pod":
            raise CliError(f'"{target.mapping.kind}" not supported by debug')
        elif params["copy_to"]:
            pod, container = await _copy(env, live, params, words)
        else:
            pod, container = await _ephemeral(env, live, params, words)
        if (params["attach"] or params["stdin"]) and container:
            await _attach(env, pod, container, params)


def _check(params: dict[str, Any], words: list[str]) -> None:
    if params["copy_to"]:
        if not params["image"] and not params["set_image"] and not words:
            raise CliError("you must specify --image, --set-image or command arguments.")
        if words and not params["image"] and not params["container"]:
            raise CliError("you must specify an existing container or a new image when specifying args.")
    else:
        if params["set_image"]:
            raise CliError("--set-image may only be used with --copy-to.")
        if params["replace"]:
            raise CliError("--replace may only be used with --copy-to.")
        if params["same_node"]:
            raise CliError("--same-node may only be used with --copy-to.")
        if not params["image"]:
            raise CliError("you must specify --image when not using --copy-to.")
    if params["target"] and params["copy_to"]:
        raise CliError("--target is incompatible with --copy-to. Use --share-processes instead.")
    if params["tty"] and not params["stdin"]:
        raise CliError("-i/--stdin is required for containers with -t/--tty=true")
    if params["profile"] not in profiles.PROFILES:
        raise CliError(f"unknown profile: {params['profile']}")


def _container(name: str, params: dict[str, Any], words: list[str]) -> Object:
    variables = []
    for text in params["env_vars"]:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CliError(f"invalid env: {text}")
        variables.append({"name": key, "value": value})
    return prune(
        {
            "name": name,
            "image": params["image"],
            "imagePullPolicy": params["image_pull_policy"],
            "env": variables,
            "args" if params["arguments_only"] else "command": list(words),
            "stdin": params["stdin"] or None,
            "tty": params["tty"] or None,
            "terminationMessagePolicy": "File",
        }
    )


def _fresh_name(env: Env, pod: Object, params: dict[str, Any]) -> str:
    if params["container"]:
        return str(params["container"])
    taken = container_names(pod)
    while True:
        name = f"debugger-{_suffix()}"
        if name not in taken:
            break
    if not params["quiet"]:
        env.err(f"Defaulting debug container name to {name}.")
    return name


def _suffix() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


def _custom(container: Object, params: dict[str, Any]) -> None:
    """Lays --custom over the container by strategic merge. Its name, image and command are not its to change."""
    if not params["custom"]:
        return
    from api.patch import strategic_merge
    from api.types.core_v1 import Container

    path = Path(params["custom"])
    if not path.exists():
        raise CliError(f"error reading {path}: open {path}: no such file or directory")
    partial: Object = next(load_yaml(path.read_text(), str(path)), {})
    refused = {"name", "image", "command", "lifecycle", "volumeDevices"} & partial.keys()
    if refused:
        raise CliError(f"{sorted(refused)[0]} is not allowed in the custom profile")
    merged = strategic_merge(dict(container), partial, Container)
    container.clear()
    container.update(merged)


async def _ephemeral(env: Env, pod: Object, params: dict[str, Any], words: list[str]) -> tuple[Object, str]:
    if params["target"] and not params["quiet"]:
        env.err(
            f'Targeting container "{params["target"]}". If you don\'t see processes from this container it may be '
            "because the container runtime doesn't support this feature."
        )
    container = _container(_fresh_name(env, pod, params), params, words)
    if params["target"]:
        container["targetContainerName"] = params["target"]
    profiles.apply(params["profile"], profiles.EPHEMERAL, {}, container)
    _custom(container, params)
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}/ephemeralcontainers"
    try:
        changed = await env.client.request(
            "PATCH",
            path,
            body=[{"op": "add", "path": "/spec/ephemeralContainers/-", "value": container}]
            if dig(pod, "spec", "ephemeralContainers")
            else [{"op": "add", "path": "/spec/ephemeralContainers", "value": [container]}],
            content_type="application/json-patch+json",
        )
    except ApiError as problem:
        if problem.is_not_found and not problem.details.get("name"):
            raise CliError(
                f'ephemeral containers are disabled for this cluster (error from server: "{problem.message}").'
            ) from problem
        raise
    return changed, container["name"]


async def _copy(env: Env, pod: Object, params: dict[str, Any], words: list[str]) -> tuple[Object, str]:
    made, name = _copied(env, pod, params, words)
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods"
    if params["replace"]:
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        await env.client.request("DELETE", f"{path}/{name_of(pod)}", body=body)
    return await env.client.request("POST", path, body=made), name


def _copied(env: Env, pod: Object, params: dict[str, Any], words: list[str]) -> tuple[Object, str]:
    metadata: Object = {"name": params["copy_to"], "namespace": namespace_of(pod)}
    for section in ("labels", "annotations"):
        if params[f"keep_{section}"] and dig(pod, "metadata", section):
            metadata[section] = pod["metadata"][section]
    spec = clone(pod["spec"])
    spec.pop("ephemeralContainers", None)
    if not params["same_node"]:
        spec.pop("nodeName", None)
    if not params["keep_init_containers"]:
        spec.pop("initContainers", None)
    made: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    profiles.without_probes(
        made, liveness=params["keep_liveness"], readiness=params["keep_readiness"], startup=params["keep_startup"]
    )
    images = dict(text.partition("=")[::2] for text in split_list(params["set_image"]))
    for container in spec["containers"]:
        container["image"] = images.get(container["name"]) or images.get("*") or container["image"]
    name = _target_container(env, made, params, words)
    if name:
        chosen = next(one for one in spec["containers"] if one["name"] == name)
        profiles.apply(params["profile"], profiles.COPY, made, chosen)
        _custom(chosen, params)
    if params["share_processes"] and name:
        spec["shareProcessNamespace"] = True
    elif not params["share_processes"]:
        spec.pop("shareProcessNamespace", None)
    return made, name


def _target_container(env: Env, made: Object, params: dict[str, Any], words: list[str]) -> str:
    """The container that debugs: an existing one that is changed, or one more."""
    containers: list[Object] = made["spec"]["containers"]
    if params["container"]:
        found = next((one for one in containers if one["name"] == params["container"]), None)
        if found is not None:
            if params["image"]:
                found["image"] = params["image"]
            if words:
                key = "args" if params["arguments_only"] else "command"
                found.pop("args", None)
                found[key] = list(words)
            if params["stdin"]:
                found["stdin"] = True
            if params["tty"]:
                found["tty"] = True
            return str(params["container"])
    if not params["image"]:
        return ""
    containers.append(_container(_fresh_name(env, made, params), params, words))
    return str(containers[-1]["name"])


async def _node(env: Env, node: Object, params: dict[str, Any], words: list[str]) -> tuple[Object, str]:
    name = f"node-debugger-{name_of(node)}-{_suffix()}"
    container = _container(params["container"] or "debugger", params, words)
    if not params["quiet"]:
        env.err(f"Creating debugging pod {name} with container {container['name']} on node {name_of(node)}.")
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-debug"}},
        "spec": {
            "containers": [container],
            "nodeName": name_of(node),
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
        },
    }
    profiles.apply(params["profile"], profiles.NODE, pod, container)
    _custom(container, params)
    made = await env.client.request("POST", f"/api/v1/namespaces/{env.namespace}/pods", body=pod)
    return made, container["name"]


async def _attach(env: Env, pod: Object, container: str, params: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}"
    told = ""
    while True:
        live = await env.client.get(path)
        state = _state(live, container)
        if "running" in state or "terminated" in state:
            break
        waiting = dig(state, "waiting", "message", default="")
        if waiting and waiting != told:
            env.warn(f"container {container}: {waiting}")
            told = waiting
        await asyncio.sleep(0.2)
    if "running" in state:
        try:
            await attach_to(env, live, container, stdin=params["stdin"], tty=params["tty"], quiet=params["quiet"])
            return
        except (ApiError, CliError) as problem:
            env.err(f"warning: couldn't attach to pod/{name_of(pod)}, falling back to streaming logs: {problem}")
    data = await env.client.raw("GET", f"{path}/log", query={"container": container})
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _state(pod: Object, container: str) -> Object:
    for key in ("containerStatuses", "ephemeralContainerStatuses", "initContainerStatuses"):
        for one in dig(pod, "status", key, default=[]):
            if one.get("name") == container:
                return dict(one.get("state") or {})
    return {}
