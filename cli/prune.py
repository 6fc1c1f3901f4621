"""`apply --prune`: removes what an earlier apply made and the manifests no longer have."""

from __future__ import annotations

from cli.discovery import Mapping
from cli.env import Env
from cli.errors import CliError, Object
from cli.objects import LAST_APPLIED, annotations_of, dig, name_of, namespace_of
from cli.resources import Target, pages
from cli.writing import Writer

# Upstream's list; what is not in it is pruned only if --prune-allowlist names it.
DEFAULT = (
    *("core/v1/ConfigMap", "core/v1/Endpoints", "core/v1/Namespace", "core/v1/PersistentVolumeClaim"),
    *("core/v1/PersistentVolume", "core/v1/Pod", "core/v1/ReplicationController", "core/v1/Secret", "core/v1/Service"),
    *("batch/v1/Job", "batch/v1/CronJob", "networking.k8s.io/v1/Ingress", "apps/v1/DaemonSet", "apps/v1/Deployment"),
    *("apps/v1/ReplicaSet", "apps/v1/StatefulSet"),
)


def check(*, selector: str, select_all: bool) -> None:
    if not selector and not select_all:
        raise CliError(
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all "
            "flag. If you did not mean to prune all resources, specify a label selector"
        )


async def prune(
    env: Env, writer: Writer, applied: list[tuple[Target, Object]], *, selector: str, allowed: list[str], cascade: str
) -> None:
    """Deletes objects with a last-applied annotation that were not among those applied just now.

    Namespaced kinds are looked for only in namespaces that the manifests touched.
    """
    kept = {str(dig(obj, "metadata", "uid", default="")) for _, obj in applied}
    namespaces = sorted({target.namespace for target, _ in applied if target.namespace})
    if env.namespace_given and not allowed:
        env.warn(
            "Deprecated: kubectl apply will no longer prune non-namespaced resources by default when used with the "
            "--namespace flag in a future release. To preserve the current behaviour, list the resources you want to "
            "target explicitly in the --prune-allowlist flag."
        )
    mappings = [await _mapping(env, text) for text in allowed or DEFAULT]
    # Whatever holds other things goes after what it holds.
    for one in sorted(mappings, key=lambda mapping: not mapping.namespaced):
        for namespace in namespaces if one.namespaced else [""]:
            await _prune_kind(env, writer, Target(one, namespace), selector, kept, cascade)


async def _mapping(env: Env, text: str) -> Mapping:
    parts = text.split("/")
    if len(parts) != 3:
        raise CliError(f"invalid GroupVersionKind format: {text}, please follow <group/version/kind>")
    group, version, kind = parts
    api_version = version if group == "core" else f"{group}/{version}"
    found = await env.discovery.find_kind(api_version, kind)
    if found is None:
        raise CliError(f'no matches for kind "{kind}" in version "{api_version}"')
    return found


async def _prune_kind(env: Env, writer: Writer, target: Target, selector: str, kept: set[str], cascade: str) -> None:
    gone: list[Object] = []
    async for page in pages(env, target, labels=selector):
        for obj in page.get("items") or []:
            if LAST_APPLIED in annotations_of(obj) and dig(obj, "metadata", "uid") not in kept:
                gone.append(obj)
    for obj in gone:
        if dig(obj, "metadata", "deletionTimestamp"):
            continue
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": cascade}
        if writer.dry_run == "server":
            body["dryRun"] = ["All"]
        if not writer.client_only:
            path = target.mapping.path(namespace_of(obj), name_of(obj))
            await env.client.request("DELETE", path, body=body)
        obj.setdefault("apiVersion", target.mapping.api_version)
        obj.setdefault("kind", target.mapping.kind)
        writer.report(target.mapping, obj, "pruned")
