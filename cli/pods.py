"""From what a user named to the pods behind it: `deploy/web`, `svc/web`, `job/x`; and which container is meant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cli.env import Env
from cli.errors import CliError, Object
from cli.objects import annotations_of, dig, label_selector_text, name_of, selector_text
from cli.resources import Target, fetch_one, resolve

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


async def pod_for(env: Env, word: str, *, timeout: float = 60.0, announce: bool = False) -> Object:
    """One pod for `NAME` or `TYPE/NAME`; for an owner, its readiest pod, waited for up to `timeout` seconds."""
    target = (
        await resolve(env, (word,), default_type="pods", need_name=True)
        if "/" in word
        else await resolve(env, ("pods", word))
    )[0]
    found = await fetch_one(env, target)
    if target.mapping.kind == "Pod":
        return found.object or {}
    try:
        async with asyncio.timeout(timeout or None):
            while True:
                pods = await pods_of(env, found)
                if pods:
                    break
                await asyncio.sleep(0.5)
    except TimeoutError as problem:
        raise CliError("timed out waiting for the condition") from problem
    if announce and len(pods) > 1:
        env.err(f"Found {len(pods)} pods, using pod/{name_of(pods[0])}")
    return pods[0]


async def pods_of(env: Env, target: Target) -> list[Object]:
    """The pods an object selects, the most useful first: running, then ready, then longest ready."""
    if target.mapping.kind == "Pod":
        return [target.object or {}]
    labels = selector_of(target)
    answer = await env.client.get(f"/api/v1/namespaces/{target.namespace}/pods", query={"labelSelector": labels})
    pods: list[Object] = answer.get("items") or []
    return sorted(pods, key=_rank)


def selector_of(target: Target) -> str:
    """The label selector of a workload or service as text. Raises `CliError` for kinds without pods."""
    spec = (target.object or {}).get("spec") or {}
    selector = spec.get("selector")
    if target.mapping.kind in ("Service", "ReplicationController"):
        if not selector:
            raise CliError(f"invalid service '{target.name}': Service is defined without a selector")
        return selector_text(selector)
    if isinstance(selector, dict) and selector.keys() & {"matchLabels", "matchExpressions"}:
        return label_selector_text(selector)
    raise CliError(f"cannot attach to *v1.{target.mapping.kind}: selector for it is not implemented")


def _rank(pod: Object) -> tuple[int, int, int, str]:
    phase = {"Running": 0, "Pending": 1}.get(dig(pod, "status", "phase", default=""), 2)
    ready = 0 if condition(pod, "Ready") == "True" else 1
    restarts = max((s.get("restartCount", 0) for s in dig(pod, "status", "containerStatuses", default=[])), default=0)
    gone = 1 if dig(pod, "metadata", "deletionTimestamp") else 0
    return (gone * 10 + phase, ready, restarts, str(dig(pod, "metadata", "creationTimestamp", default="")))


def condition(obj: Object, kind: str) -> str:
    for one in dig(obj, "status", "conditions", default=[]):
        if one.get("type") == kind:
            return str(one.get("status"))
    return ""


def all_containers(pod: Object) -> list[Object]:
    spec = pod.get("spec") or {}
    return [one for key in ("containers", "initContainers", "ephemeralContainers") for one in spec.get(key) or []]


def container_names(pod: Object) -> list[str]:
    return [one["name"] for one in all_containers(pod)]


def choose_container(env: Env, pod: Object, wanted: str, *, quiet: bool = False) -> str:
    """The container meant, telling the user when it was guessed among several."""
    names = container_names(pod)
    if wanted:
        if wanted not in names:
            raise CliError(f"container {wanted} not found in pod {name_of(pod)}")
        return wanted
    marked = annotations_of(pod).get(DEFAULT_CONTAINER)
    if marked:
        if marked in names:
            return marked
        env.err(f'Default container name "{marked}" not found in pod {name_of(pod)}')
    spec = pod.get("spec") or {}
    first: str = dig(spec, "containers", 0, "name", default="")
    if len(names) > 1 and not quiet:
        env.err(f'Defaulted container "{first}" out of: {describe_containers(spec)}')
    return first


def describe_containers(spec: Object) -> str:
    shown = [one["name"] for one in spec.get("containers") or []]
    shown += [f"{one['name']} (ephem)" for one in spec.get("ephemeralContainers") or []]
    shown += [f"{one['name']} (init)" for one in spec.get("initContainers") or []]
    return ", ".join(shown)


async def matching_pods(env: Env, selector: str, namespace: str) -> Sequence[Object]:
    answer = await env.client.get(f"/api/v1/namespaces/{namespace}/pods", query={"labelSelector": selector})
    return list(answer.get("items") or [])
