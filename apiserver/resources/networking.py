"""networking.k8s.io: ingresses, their classes, network policies, and the ranges and addresses of Services."""

from __future__ import annotations

from api.types import networking_v1
from apiserver.defaults import others as defaults
from apiserver.printers import others as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import networking as rules

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class IngressStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            networking_v1.Ingress,
            columns=rows.INGRESS,
            cells=rows.ingress_cells,
            create=rules.validate_ingress,
            update=rules.validate_ingress_update,
            status=rules.validate_ingress_status_update,
            generation_of=("spec",),
        )

    def warnings(self, ctx: Context, obj: networking_v1.Ingress, old: networking_v1.Ingress | None) -> list[str]:
        if old is None and _CLASS_ANNOTATION in (obj.metadata.annotations or {}):
            return [f"annotation \"{_CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"]
        return []


def strategies() -> list[Strategy]:
    return [
        IngressStrategy(),
        BuiltIn(
            networking_v1.IngressClass,
            defaults=defaults.default_ingress_class,
            columns=rows.INGRESS_CLASS,
            cells=rows.ingress_class_cells,
            create=rules.validate_ingress_class,
            update=rules.validate_ingress_class_update,
            generation_of=("spec",),
        ),
        BuiltIn(
            networking_v1.NetworkPolicy,
            defaults=defaults.default_network_policy,
            columns=rows.NETWORK_POLICY,
            cells=rows.network_policy_cells,
            create=rules.validate_network_policy,
            update=lambda new, old: rules.validate_network_policy(new),
            generation_of=("spec",),
        ),
        BuiltIn(
            networking_v1.IPAddress,
            columns=rows.IP_ADDRESS,
            cells=rows.ip_address_cells,
            name=rules.ip_address_name,
            create=rules.validate_ip_address,
            update=rules.validate_ip_address_update,
            fields={
                "spec.parentRef.resource": lambda address: address.spec.parent_ref.resource,
                "spec.parentRef.name": lambda address: address.spec.parent_ref.name,
                "spec.parentRef.namespace": lambda address: address.spec.parent_ref.namespace or "",
                "spec.parentRef.group": lambda address: address.spec.parent_ref.group or "",
            },
        ),
        BuiltIn(
            networking_v1.ServiceCIDR,
            columns=rows.SERVICE_CIDR,
            cells=rows.service_cidr_cells,
            create=rules.validate_service_cidr,
            update=rules.validate_service_cidr_update,
        ),
    ]
