"""Puts the bootstrap policy into the cluster at start, and back what was taken from it.

Objects whose annotation `rbac.authorization.kubernetes.io/autoupdate` isn't "true" any more are left alone; to the
others missing rules, subjects, labels and annotations are added, and nothing is taken away. A binding that names
another role is replaced, as roleRef can't be changed. Source: upstream's "Auto-reconciliation".
"""

from __future__ import annotations

import logging
from typing import Any

from api import codec, errors
from api.types.core_v1 import Namespace
from api.types.meta_v1 import ObjectMeta
from api.types.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject
from apiserver.auth.bootstrap import bindings, controllers, roles
from apiserver.auth.bootstrap.notation import AUTOUPDATE
from apiserver.auth.rules import uncovered
from apiserver.registry import Registry

log = logging.getLogger(__name__)

_NAMESPACES = ("kube-system", "kube-public")


async def reconcile(registry: Registry) -> int:
    """Makes the cluster hold at least the bootstrap policy; the number of objects created or changed.

    Several servers may do so at once. Raises StatusError if the store can't be written.
    """
    for namespace in _NAMESPACES:
        if registry.cached(Namespace, namespace) is None:
            await _create(registry, Namespace(metadata=ObjectMeta(name=namespace)))
    changed = 0
    wanted: list[Any] = [
        *roles.cluster_roles(),
        *controllers.cluster_roles(),
        *roles.roles(),
        *bindings.cluster_role_bindings(),
        *bindings.role_bindings(),
    ]
    for obj in wanted:
        if await _reconcile(registry, obj):
            changed += 1
            log.info("reconciled %s %s", obj.kind, obj.metadata.name)
    return changed


async def _create(registry: Registry, obj: Any) -> bool:
    try:
        await registry.create(obj)
    except errors.StatusError as error:
        if not errors.is_already_exists(error):
            raise
        return False
    return True


async def _reconcile(registry: Registry, wanted: Any) -> bool:
    kind, meta = type(wanted), wanted.metadata
    existing = registry.cached(kind, meta.name, meta.namespace)
    if existing is None:
        return await _create(registry, wanted)
    if (existing.metadata.annotations or {}).get(AUTOUPDATE) != "true":
        return False
    if isinstance(existing, RoleBinding | ClusterRoleBinding) and existing.role_ref != wanted.role_ref:
        await registry.delete(kind, meta.name, namespace=meta.namespace, uid=existing.metadata.uid)
        return await _create(registry, wanted)
    if not _add_missing(codec.deepcopy(existing), wanted):
        return False

    def add(obj: Any) -> None:
        _add_missing(obj, wanted)

    await registry.mutate(kind, meta.name, add, namespace=meta.namespace)
    return True


def _add_missing(obj: Any, wanted: Any) -> bool:
    """Adds to `obj` what `wanted` has and it lacks; whether there was anything."""
    changed = _add_keys(obj.metadata, wanted.metadata)
    if isinstance(obj, Role | ClusterRole):
        # What an aggregated role holds is the aggregation controller's business.
        if isinstance(obj, ClusterRole) and wanted.aggregation_rule is not None:
            if obj.aggregation_rule != wanted.aggregation_rule:
                obj.aggregation_rule = wanted.aggregation_rule
                changed = True
            return changed
        held: list[PolicyRule] = obj.rules or []
        missing = [rule for rule in wanted.rules or [] if rule not in held and uncovered(held, [rule])]
        if missing:
            obj.rules = [*held, *missing]
        return changed or bool(missing)
    subjects: list[Subject] = obj.subjects or []
    absent = [subject for subject in wanted.subjects or [] if not any(_same(subject, known) for known in subjects)]
    if absent:
        obj.subjects = [*subjects, *absent]
    return changed or bool(absent)


def _same(one: Subject, other: Subject) -> bool:
    return (one.kind, one.name, one.namespace or "") == (other.kind, other.name, other.namespace or "")


def _add_keys(meta: ObjectMeta, wanted: ObjectMeta) -> bool:
    changed = False
    for attribute in ("labels", "annotations"):
        present: dict[str, str] = getattr(meta, attribute) or {}
        missing = {k: v for k, v in (getattr(wanted, attribute) or {}).items() if k not in present}
        if missing:
            setattr(meta, attribute, {**present, **missing})
            changed = True
    return changed
