"""Taking nodes out of service: cordon, and the pods that a drain has to move (and those it must leave)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from cli.env import Env
from cli.errors import ApiError, CliError, Object
from cli.objects import annotations_of, dig, name_of, namespace_of, owner_of
from cli.resources import Target
from cli.writing import Writer

MIRROR = "kubernetes.io/config.mirror"


async def set_unschedulable(writer: Writer, target: Target, wanted: bool) -> None:
    """Cordons or uncordons, and says what was done: `cordoned`, `already uncordoned`."""
    word = "cordoned" if wanted else "uncordoned"
    live = target.object or {}
    if bool(dig(live, "spec", "unschedulable")) == wanted:
        writer.report(target.mapping, live, f"already {word}")
        return
    if not writer.client_only:
        live = await writer.patch(target, {"spec": {"unschedulable": wanted or None}}, kind="strategic")
    writer.report(target.mapping, live, word)


@dataclass
class DrainRules:
    force: bool = False
    ignore_daemon_sets: bool = False
    delete_emptydir_data: bool = False
    skip_wait_for_delete_timeout: int = 0


@dataclass
class Choice:
    """What a drain would do with a node's pods."""

    evict: list[Object]
    warnings: list[str]
    errors: list[str]


async def choose_pods(env: Env, pods: list[Object], rules: DrainRules) -> Choice:
    """Sorts the pods as kubectl's drain filters do; errors name the flag that would allow each group."""
    evict: list[Object] = []
    warnings: dict[str, list[str]] = {}
    errors: dict[str, list[str]] = {}
    for pod in pods:
        shown = f"{namespace_of(pod)}/{name_of(pod)}"
        finished = dig(pod, "status", "phase") in ("Succeeded", "Failed")
        owner = owner_of(pod)
        if MIRROR in annotations_of(pod):
            continue
        if _skipped(pod, rules):
            continue
        if owner and owner.get("kind") == "DaemonSet" and not finished:
            if not await _exists(env, f"/apis/apps/v1/namespaces/{namespace_of(pod)}/daemonsets/{owner['name']}"):
                if not rules.force:
                    errors.setdefault(f'daemonsets.apps "{owner["name"]}" not found', []).append(shown)
                    continue
            elif rules.ignore_daemon_sets:
                warnings.setdefault("ignoring DaemonSet-managed Pods", []).append(shown)
                continue
            else:
                errors.setdefault(
                    "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)", []
                ).append(shown)
                continue
        local = any("emptyDir" in volume for volume in dig(pod, "spec", "volumes", default=[]))
        if local and not finished and not rules.delete_emptydir_data:
            errors.setdefault(
                "cannot delete Pods with local storage (use --delete-emptydir-data to override)", []
            ).append(shown)
            continue
        if owner is None and not finished:
            if not rules.force:
                errors.setdefault("cannot delete Pods that declare no controller (use --force to override)", []).append(
                    shown
                )
                continue
            warnings.setdefault("deleting Pods that declare no controller", []).append(shown)
        evict.append(pod)
    return Choice(evict, _grouped(warnings), _grouped(errors))


def _skipped(pod: Object, rules: DrainRules) -> bool:
    """A pod that has been going for longer than the user wants to wait is left alone."""
    deleted = dig(pod, "metadata", "deletionTimestamp")
    if not deleted or not rules.skip_wait_for_delete_timeout:
        return False
    from cli.human import now, parse_time

    return (now() - parse_time(deleted)).total_seconds() > rules.skip_wait_for_delete_timeout


def _grouped(messages: dict[str, list[str]]) -> list[str]:
    return [f"{why}: {', '.join(pods)}" for why, pods in messages.items()]


async def _exists(env: Env, path: str) -> bool:
    try:
        await env.client.get(path)
    except ApiError as problem:
        if problem.is_not_found:
            return False
        raise
    return True


async def remove(env: Env, pod: Object, *, evict: bool, grace: int, deadline: float, dry_run: str) -> None:
    """Evicts (or deletes) one pod, retrying while a disruption budget forbids it, and waits until it is gone.

    `deadline` is in `time.monotonic` seconds. Raises `CliError` when it passes.
    """
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}"
    options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if grace >= 0:
        options["gracePeriodSeconds"] = grace
    if dry_run == "server":
        options["dryRun"] = ["All"]
    body: Object = options
    method, target = "DELETE", path
    if evict:
        meta = {"name": name_of(pod), "namespace": namespace_of(pod)}
        body = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": meta, "deleteOptions": options}
        method, target = "POST", f"{path}/eviction"
    uid = dig(pod, "metadata", "uid")
    while True:
        env.out(f"{'evicting' if evict else 'deleting'} pod {namespace_of(pod)}/{name_of(pod)}")
        try:
            await env.client.request(method, target, body=body)
            break
        except ApiError as problem:
            if problem.is_not_found:
                return
            if problem.code != 429:
                raise CliError(
                    f'error when evicting pods/"{name_of(pod)}" -n "{namespace_of(pod)}": {problem.message}'
                ) from problem
            _check(deadline, pod)
            env.err(
                f'error when evicting pods/"{name_of(pod)}" -n "{namespace_of(pod)}" (will retry after 5s): '
                f"{problem.message}"
            )
            await asyncio.sleep(5)
    if dry_run:
        return
    while True:
        try:
            live = await env.client.get(path)
        except ApiError as problem:
            if problem.is_not_found:
                break
            raise
        if dig(live, "metadata", "uid") != uid:
            break
        _check(deadline, pod)
        await asyncio.sleep(0.5)
    env.out(f"pod/{name_of(pod)} {'evicted' if evict else 'deleted'}")


def _check(deadline: float, pod: Object) -> None:
    if time.monotonic() > deadline:
        raise CliError(
            f'error when waiting for pod "{name_of(pod)}" in namespace "{namespace_of(pod)}" to terminate: '
            "global timeout reached"
        )
