"""Revisions of workloads: a Deployment's in its ReplicaSets, a StatefulSet's and DaemonSet's in ControllerRevisions."""

from __future__ import annotations

from dataclasses import dataclass

from cli.env import Env
from cli.errors import CliError, Object
from cli.objects import annotations_of, clone, dig, label_selector_text
from cli.resources import Target

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
HASH = "pod-template-hash"


@dataclass
class Revision:
    number: int
    cause: str
    template: Object
    object: Object


async def revisions(env: Env, target: Target) -> list[Revision]:
    """Oldest first. Raises `CliError` for kinds without history."""
    obj = target.object or {}
    if target.mapping.kind == "Deployment":
        found = [_of_replica_set(one) for one in await _owned(env, target, obj, "/apis/apps/v1", "replicasets")]
        return sorted((one for one in found if one.number), key=lambda one: one.number)
    if target.mapping.kind in ("StatefulSet", "DaemonSet"):
        owned = await _owned(env, target, obj, "/apis/apps/v1", "controllerrevisions")
        return sorted((_of_controller_revision(one) for one in owned), key=lambda one: one.number)
    raise CliError(f'no history viewer has been implemented for "{target.mapping.kind}"')


async def _owned(env: Env, target: Target, obj: Object, root: str, plural: str) -> list[Object]:
    query = {"labelSelector": label_selector_text(dig(obj, "spec", "selector", default={}))}
    answer = await env.client.get(f"{root}/namespaces/{target.namespace}/{plural}", query=query)
    uid = dig(obj, "metadata", "uid")
    return [
        one
        for one in answer.get("items") or []
        if any(ref.get("uid") == uid for ref in dig(one, "metadata", "ownerReferences", default=[]))
    ]


def _of_replica_set(obj: Object) -> Revision:
    template = clone(dig(obj, "spec", "template", default={}))
    (template.get("metadata") or {}).get("labels", {}).pop(HASH, None)
    number = annotations_of(obj).get(REVISION, "0")
    return Revision(int(number) if number.isdigit() else 0, annotations_of(obj).get(CHANGE_CAUSE, ""), template, obj)


def _of_controller_revision(obj: Object) -> Revision:
    template = dig(obj, "data", "spec", "template", default={})
    return Revision(int(obj.get("revision") or 0), annotations_of(obj).get(CHANGE_CAUSE, ""), template, obj)


def choose(found: list[Revision], wanted: int) -> Revision:
    """The wanted revision, or with 0 the one before the current."""
    if wanted:
        for one in found:
            if one.number == wanted:
                return one
        raise CliError(f"unable to find specified revision {wanted} in history")
    if len(found) < 2:
        raise CliError("no rollout history found")
    return found[-2]
