"""A kustomization and everything below it, as a list of objects."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

from cli.errors import CliError, Object
from cli.kustomize import generate, patch, transform
from cli.kustomize.files import Kustomization, load, objects, refuse_remote
from cli.kustomize.references import Renamed
from cli.kustomize.resource import KustomizeError, Resource

# What others need comes first, webhooks that could refuse it last: kustomize's `legacy` order.
_FIRST = (
    *("Namespace", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "ServiceAccount", "PodSecurityPolicy"),
    *("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret", "Endpoints", "Service"),
    *("LimitRange", "PriorityClass", "PersistentVolume", "PersistentVolumeClaim", "Deployment", "StatefulSet"),
    *("CronJob", "PodDisruptionBudget"),
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def build(folder: str | Path, warn: Callable[[str], None]) -> list[Object]:
    """The objects of a kustomization. `warn` gets what is deprecated. Raises `KustomizeError`."""
    top = load(folder)
    resources: list[Resource] = []
    _accumulate(top, resources, warn, ())
    before = Renamed.remember(resources)
    generate.hash_names(resources)
    before.follow(resources)
    order = str((top.content.get("sortOptions") or {}).get("order") or "legacy")
    if order not in ("legacy", "fifo"):
        raise KustomizeError(f"the field sortOptions.order must be one of [fifo, legacy]; got {order}")
    if order == "legacy":
        resources.sort(key=_rank)
    return [one.obj for one in resources]


def _rank(one: Resource) -> tuple[int, str, str, str]:
    place = 0
    if one.kind in _FIRST:
        place = _FIRST.index(one.kind) - len(_FIRST)
    elif one.kind in _LAST:
        place = _LAST.index(one.kind) + 1
    # What is absent sorts last.
    return place, f"{one.group or '~G'}_{one.version}_{one.kind}", one.namespace or "~X", one.name


def _accumulate(
    where: Kustomization, resources: list[Resource], warn: Callable[[str], None], above: tuple[Path, ...]
) -> None:
    """Adds a kustomization's own resources to `resources`; a component works on those that are there already."""
    if where.root in above:
        raise KustomizeError(f"cycle detected: candidate root '{where.root}' contains visited root '{above[0]}'")
    for text in where.warnings:
        warn(text)
    component = where.text("kind") == "Component"
    mine = resources if component else []
    for name in [*where.rows("resources"), *where.rows("bases")]:
        _resource(where, str(name), mine, warn, above)
    for name in where.rows("components"):
        inner = load(where.root / str(name))
        if inner.text("kind") != "Component":
            raise KustomizeError(f"expected kind 'Component' for path '{name}' but got 'Kustomization'")
        _accumulate(inner, mine, warn, (*above, where.root))
    generate.run(where, mine)
    patch.run(where, mine)
    transform.apply(where, mine)
    if not component:
        for one in mine:
            _add(one, resources)


def _resource(
    where: Kustomization, name: str, mine: list[Resource], warn: Callable[[str], None], above: tuple[Path, ...]
) -> None:
    refuse_remote(name)
    path = where.root / name
    if path.is_dir():
        try:
            _accumulate(load(path), mine, warn, (*above, where.root))
        except KustomizeError as problem:
            raise KustomizeError(
                f"accumulating resources: accumulation err='accumulating resources from '{name}': '{path.resolve()}' "
                f"must resolve to a file': recursed accumulation of path '{path.resolve()}': {problem}"
            ) from problem
        return
    try:
        for obj in objects(where, name):
            _add(Resource(copy.deepcopy(obj)), mine)
    except CliError as problem:
        second = (
            f"'{path.resolve()}': file is not directory"
            if path.exists()
            else f"not a valid directory: evalsymlink failure on '{path.resolve()}' : lstat {path.resolve()}: no such "
            "file or directory"
        )
        raise KustomizeError(
            f"accumulating resources: accumulation err='accumulating resources from '{name}': {problem}': must build "
            f"at directory: {second}"
        ) from problem


def _add(one: Resource, resources: list[Resource]) -> None:
    key = (one.group, one.kind, one.name, one.namespace)
    if any((other.group, other.kind, other.name, other.namespace) == key for other in resources):
        raise KustomizeError(f"may not add resource with an already registered id: {one.shown()}")
    resources.append(one)
