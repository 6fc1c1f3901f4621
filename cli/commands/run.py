"""`run`: one pod from an image; attached to it if asked."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from cli.commands.attach import attach_to
from cli.env import Env
from cli.errors import ApiError, CliError, Object, SilentExit, UsageError
from cli.framework import command as declare
from cli.framework import flag, option
from cli.generators import split_pairs
from cli.human import parse_duration
from cli.objects import dig, name_of, namespace_of
from cli.strategic import _overlay
from cli.writing import create_generated, dry_run_option, output_option


@declare(
    "run",
    usage='NAME --image=image [--env="key=value"] [--port=port] [--dry-run=server|client] [--overrides=inline-json] '
    "[--command] -- [COMMAND] [args...]",
    help="Create and run a particular image in a pod.",
    examples="""
    # Start a nginx pod
    kubectl run nginx --image=nginx

    # Start a pod and let the container expose port 5701
    kubectl run hazelcast --image=hazelcast/hazelcast --port=5701

    # Start a busybox pod and keep it in the foreground, don't restart it if it exits
    kubectl run -i -t busybox --image=busybox --restart=Never

    # Run a command and remove the pod when it is done
    kubectl run -it --rm --restart=Never box --image=busybox -- sh
    """,
)
@option("--annotations", multiple=True, help="Annotations to apply to the pod.")
@flag("--attach", help="If true, wait for the Pod to start running, and then attach to the Pod.")
@flag("--command", "as_command", help="If true and extra arguments are present, use them as the 'command' field.")
@dry_run_option
@option("--env", "env_vars", multiple=True, help="Environment variables to set in the container.")
@flag("--expose", help="If true, create a ClusterIP service associated with the pod.  Requires `--port`.")
@option("--field-manager", default="kubectl-run", help="Name of the manager used to track field ownership.")
@option("--image", help="The image for the container to run.")
@option("--image-pull-policy", help="The image pull policy for the container.")
@option("-l", "--labels", help="Comma separated labels to apply to the pod.")
@flag("--leave-stdin-open", help="Leave stdin open after the first attach completes.")
@output_option
@option(
    "--override-type", default="merge", help="The method used to override the generated object: merge or strategic."
)
@option("--overrides", help="An inline JSON override for the generated object.")
@option("--pod-running-timeout", default="1m0s", help="The length of time to wait until the pod is running.")
@option("--port", help="The port that this container exposes.")
@flag("--privileged", help="If true, run the container in privileged mode.")
@flag("-q", "--quiet", help="If true, suppress prompt messages.")
@option(
    "--restart", default="Always", help="The restart policy for this Pod.  Legal values [Always, OnFailure, Never]."
)
@flag("--rm", help="If true, delete the pod after it exits.  Only valid when attaching to the container.")
@flag("--save-config", help="If true, the configuration of current object will be saved in its annotation.")
@flag("-i", "--stdin", help="Keep stdin open on the container in the pod, even if nothing is attached.")
@flag("-t", "--tty", help="Allocate a TTY for the container in the pod.")
async def command(env: Env, args: tuple[str, ...], after_dash: list[str] | None, **params: Any) -> None:
    if len(args) != 1:
        raise UsageError("NAME is required for run" if not args else f"unexpected arguments: [{' '.join(args[1:])}]")
    if not params["image"]:
        raise CliError('required flag(s) "image" not set')
    if any(char.isspace() for char in params["image"]):
        raise CliError(f'Invalid image name "{params["image"]}": invalid reference format')
    attach = params["attach"] or params["stdin"]
    if params["tty"] and not params["stdin"]:
        raise CliError("-i/--stdin is required for containers with -t/--tty=true")
    if params["rm"] and not attach:
        raise UsageError("--rm should only be used for attached containers")
    if params["restart"] not in ("Always", "OnFailure", "Never"):
        raise UsageError(f"invalid restart policy: {params['restart']}")
    if params["expose"] and not params["port"]:
        raise CliError("--port must be set when exposing a service")
    pod = _pod(args[0], after_dash or [], params)
    made = (
        await create_generated(
            env,
            pod,
            dry_run=params["dry_run"],
            output=params["output"],
            manager=params["field_manager"],
            save_config=params["save_config"],
            # An attached run prints the container's output and nothing else.
            done="created",
        )
        if not (attach and not params["dry_run"])
        else await _create_silently(env, pod, params["field_manager"])
    )
    if params["expose"]:
        await create_generated(
            env,
            _service(made, params["port"]),
            dry_run=params["dry_run"],
            output=params["output"],
            manager=params["field_manager"],
        )
    if attach and not params["dry_run"]:
        await _attached(env, made, params)


async def _create_silently(env: Env, pod: Object, manager: str) -> Object:
    pod["metadata"]["namespace"] = env.namespace
    path = f"/api/v1/namespaces/{env.namespace}/pods"
    return await env.client.request("POST", path, body=pod, query={"fieldManager": manager})


def _pod(name: str, words: list[str], params: dict[str, Any]) -> Object:
    container: Object = {"name": name, "image": params["image"], "resources": {}}
    if words:
        container["command" if params["as_command"] else "args"] = words
    if params["image_pull_policy"]:
        container["imagePullPolicy"] = params["image_pull_policy"]
    if params["env_vars"]:
        container["env"] = [_variable(text) for text in params["env_vars"]]
    if params["port"]:
        if not params["port"].isdigit():
            raise CliError(f'strconv.ParseInt: parsing "{params["port"]}": invalid syntax')
        container["ports"] = [{"containerPort": int(params["port"])}]
    if params["privileged"]:
        container["securityContext"] = {"privileged": True}
    if params["stdin"]:
        container["stdin"] = True
        container["stdinOnce"] = not params["leave_stdin_open"]
    if params["tty"]:
        container["tty"] = True
    labels = split_pairs((params["labels"],)) if params["labels"] else {"run": name}
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": params["restart"]},
        "status": {},
    }
    if params["annotations"]:
        pod["metadata"]["annotations"] = split_pairs(params["annotations"])
    if params["overrides"]:
        pod = _override(pod, params["overrides"], params["override_type"])
    return pod


def _variable(text: str) -> Object:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CliError(f"invalid env: {text}")
    return {"name": key, "value": value}


def _override(pod: Object, text: str, kind: str) -> Object:
    try:
        patch = json.loads(text)
    except ValueError as problem:
        raise CliError(f"--overrides is not valid JSON: {problem}") from problem
    if kind == "strategic":
        from api.patch import strategic_merge
        from api.types.core_v1 import Pod

        merged: Object = strategic_merge(pod, patch, Pod)
        return merged
    return _overlay(pod, patch)


def _service(pod: Object, port: str) -> Object:
    name = name_of(pod)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": dig(pod, "metadata", "labels", default={}),
            "ports": [{"protocol": "TCP", "port": int(port), "targetPort": int(port)}],
        },
        "status": {"loadBalancer": {}},
    }


async def _attached(env: Env, pod: Object, params: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}"
    container = pod["spec"]["containers"][0]["name"]
    code = 0
    try:
        live = await _until(
            env, path, ("Running", "Succeeded", "Failed"), parse_duration(params["pod_running_timeout"])
        )
        if dig(live, "status", "phase") in ("Succeeded", "Failed"):
            await _print_log(env, path, container)
        else:
            try:
                await attach_to(env, live, container, stdin=params["stdin"], tty=params["tty"], quiet=params["quiet"])
            except (ApiError, CliError) as problem:
                env.err(f"warning: couldn't attach to pod/{name_of(pod)}, falling back to streaming logs: {problem}")
                await _print_log(env, path, container)
        if params["restart"] == "Never" or params["restart"] == "OnFailure":
            live = await _until(env, path, ("Succeeded", "Failed"), 60.0)
            if params["restart"] == "Never":
                code = _exit_code(live, container)
                if code:
                    reason = dig(_state(live, container), "terminated", "reason", default="")
                    env.err(f"pod {namespace_of(pod)}/{name_of(pod)} terminated ({reason})")
    finally:
        if params["rm"]:
            await env.client.request("DELETE", path, body={"kind": "DeleteOptions", "apiVersion": "v1"})
            sys.stdout.flush()
            if not params["quiet"]:
                env.out(f'pod "{name_of(pod)}" deleted from {namespace_of(pod)} namespace')
    if code:
        raise SilentExit(code)


async def _until(env: Env, path: str, phases: tuple[str, ...], limit: float) -> Object:
    """The pod once it is in one of the phases. Raises `CliError` after `limit` seconds."""
    try:
        async with asyncio.timeout(limit or None):
            while True:
                live = await env.client.get(path)
                if dig(live, "status", "phase") in phases:
                    return live
                await asyncio.sleep(0.2)
    except TimeoutError as problem:
        raise CliError("timed out waiting for the condition") from problem


async def _print_log(env: Env, path: str, container: str) -> None:
    data = await env.client.raw("GET", f"{path}/log", query={"container": container})
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _exit_code(pod: Object, container: str) -> int:
    return int(dig(_state(pod, container), "terminated", "exitCode", default=0))


def _state(pod: Object, container: str) -> Object:
    statuses = dig(pod, "status", "containerStatuses", default=[])
    state: Object = next((status.get("state") or {} for status in statuses if status.get("name") == container), {})
    return state
