"""The cluster's own objects: nodes, namespaces, service accounts, events, leases, component statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.errors import FieldError
from api.resources import find
from api.types import coordination_v1, core_v1
from apiserver.defaults import core as defaults
from apiserver.printers import cluster as rows
from apiserver.printers import others
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import core as rules
from apiserver.validation import names
from apiserver.validation.nodes import validate_node, validate_node_update


class NodeStrategy(BuiltIn):
    """A kubelet registers its node together with its status, so creation keeps it."""

    def __init__(self) -> None:
        super().__init__(
            core_v1.Node,
            defaults=defaults.default_node,
            columns=rows.NODE,
            cells=rows.node_cells,
            create=validate_node,
            update=validate_node_update,
            status=validate_node_update,
            fields={"spec.unschedulable": lambda node: "true" if node.spec.unschedulable else "false"},
        )

    def prepare_create(self, ctx: Context, obj: core_v1.Node) -> None:
        return


class NamespaceStrategy(BuiltIn):
    """The finalizer `kubernetes` holds a namespace until its content is gone; only `finalize` removes it."""

    def __init__(self) -> None:
        super().__init__(
            core_v1.Namespace,
            defaults=defaults.default_namespace,
            columns=rows.NAMESPACE,
            cells=rows.namespace_cells,
            name=names.dns1123_label,
            create=rules.validate_namespace,
            update=rules.validate_namespace_update,
            status=rules.validate_namespace_status_update,
            fields={"status.phase": lambda namespace: namespace.status.phase or "", "name": _name},
        )

    def prepare_create(self, ctx: Context, obj: core_v1.Namespace) -> None:
        obj.status = core_v1.NamespaceStatus(phase="Active")
        if "kubernetes" not in (obj.spec.finalizers or ()):
            obj.spec.finalizers = [*(obj.spec.finalizers or ()), "kubernetes"]
        # The label that names the namespace, once generateName has become a name.
        obj.metadata.labels = {**(obj.metadata.labels or {}), "kubernetes.io/metadata.name": obj.metadata.name or ""}

    def prepare_update(self, ctx: Context, new: core_v1.Namespace, old: core_v1.Namespace) -> None:
        new.spec.finalizers = old.spec.finalizers
        new.status = old.status

    def prepare_finalize(self, ctx: Context, new: core_v1.Namespace, old: core_v1.Namespace) -> None:
        """`finalize` changes spec.finalizers and nothing of the status."""
        new.status = old.status

    def validate_finalize(self, ctx: Context, new: core_v1.Namespace, old: core_v1.Namespace) -> list[FieldError]:
        return rules.validate_namespace_finalize(new, old)


def _name(obj: Any) -> str:
    return obj.metadata.name or ""


class ServiceAccountStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            core_v1.ServiceAccount,
            columns=rows.SERVICE_ACCOUNT,
            cells=rows.service_account_cells,
        )

    def prepare_create(self, ctx: Context, obj: core_v1.ServiceAccount) -> None:
        _only_names(obj)

    def prepare_update(self, ctx: Context, new: core_v1.ServiceAccount, old: core_v1.ServiceAccount) -> None:
        _only_names(new)


def _only_names(account: core_v1.ServiceAccount) -> None:
    if account.secrets:
        account.secrets = [core_v1.ObjectReference(name=secret.name) for secret in account.secrets]


_REFERENCE = {
    "kind": "kind", "namespace": "namespace", "name": "name", "uid": "uid", "apiVersion": "api_version",
    "resourceVersion": "resource_version", "fieldPath": "field_path",
}  # fmt: skip


class EventStrategy(BuiltIn):
    """Both groups' events are stored as core/v1 events, so this serves both."""

    def __init__(self, group: str) -> None:
        resource = find(group, "v1", "events")
        assert resource is not None
        super().__init__(
            resource,
            columns=rows.EVENT,
            cells=rows.event_cells,
            create_on_update=True,
        )
        self._new_api = bool(group)
        self.selectable_fields = (
            *(f"{prefix}.{field}" for prefix in ("involvedObject", "regarding") for field in _REFERENCE),
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        )

    def field_values(self, obj: core_v1.Event) -> Mapping[str, str]:
        """Each field by its name in both groups, as both are served from here."""
        involved = obj.involved_object
        controller = obj.reporting_component or ""
        values = {
            "reason": obj.reason or "",
            "reportingComponent": controller,
            "reportingController": controller,
            "source": obj.source.component or controller,
            "type": obj.type or "",
        }
        for field, attribute in _REFERENCE.items():
            values[f"involvedObject.{field}"] = values[f"regarding.{field}"] = getattr(involved, attribute) or ""
        return values

    def prepare_create(self, ctx: Context, obj: core_v1.Event) -> None:
        return

    def validate_create(self, ctx: Context, obj: core_v1.Event) -> list[FieldError]:
        return rules.validate_event(obj, new_api=self._new_api)

    def validate_update(self, ctx: Context, new: core_v1.Event, old: core_v1.Event) -> list[FieldError]:
        return rules.validate_event_update(new, old, new_api=self._new_api)


def strategies() -> list[Strategy]:
    return [
        NodeStrategy(),
        NamespaceStrategy(),
        ServiceAccountStrategy(),
        EventStrategy(""),
        EventStrategy("events.k8s.io"),
        BuiltIn(
            coordination_v1.Lease,
            columns=others.LEASE,
            cells=others.lease_cells,
            create=rules.validate_lease,
            update=lambda new, old: rules.validate_lease(new),
            create_on_update=True,
            unconditional_update=False,
        ),
        BuiltIn(
            core_v1.ComponentStatus,
            columns=rows.COMPONENT_STATUS,
            cells=rows.component_status_cells,
            deprecation="v1 ComponentStatus is deprecated in v1.19+",
        ),
    ]
