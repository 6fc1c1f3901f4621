"""Services: which addresses and ports one needs, taken before it is stored and given back when it no longer needs them.

Source: upstream's pkg/registry/core/service (strategy and storage).
"""

from __future__ import annotations

import logging

from api import errors
from api.errors import FieldError, Path
from api.types import core_v1, discovery_v1
from apiserver.allocators import Full, OutOfRange, Taken, certainly_failed
from apiserver.allocators.ports import PortAllocator, ports_of
from apiserver.allocators.ranges import Ranges
from apiserver.defaults import core as defaults
from apiserver.defaults.others import default_endpoint_slice
from apiserver.printers import cluster as rows
from apiserver.resources.base import BuiltIn
from apiserver.store import Unavailable
from apiserver.strategy import Context, Strategy
from apiserver.validation import endpoints as endpoint_rules
from apiserver.validation import names
from apiserver.validation import services as rules
from apiserver.validation.common import semantic_equal
from apiserver.validation.warnings import service_warnings

HEADLESS = "None"
_log = logging.getLogger(__name__)
_SPEC = Path("spec")


def needs_cluster_ip(service: core_v1.Service) -> bool:
    return service.spec.type in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_ports(service: core_v1.Service) -> bool:
    spec = service.spec
    return spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    )


def needs_health_check_port(service: core_v1.Service) -> bool:
    return service.spec.type == "LoadBalancer" and service.spec.external_traffic_policy == "Local"


def is_headless(service: core_v1.Service) -> bool:
    return bool(service.spec.cluster_ips) and service.spec.cluster_ips[0] == HEADLESS  # type: ignore[index]


class ServiceStrategy(BuiltIn):
    """One address family, as the cluster's Service range has it."""

    def __init__(self, addresses: Ranges, ports: PortAllocator) -> None:
        super().__init__(
            core_v1.Service,
            defaults=defaults.default_service,
            columns=rows.SERVICE,
            cells=rows.service_cells,
            name=names.dns1035_label,
            create=rules.validate_service,
            update=rules.validate_service_update,
            status=rules.validate_service_status_update,
            create_on_update=True,
            fields={
                "spec.clusterIP": lambda service: service.spec.cluster_ip or "",
                "spec.type": lambda service: service.spec.type or "",
            },
        )
        self.addresses = addresses
        self.ports = ports

    # -- preparation ----------------------------------------------------------------------------------------------

    def prepare_create(self, ctx: Context, obj: core_v1.Service) -> None:
        obj.status = core_v1.ServiceStatus()
        if obj.spec.cluster_ip and not obj.spec.cluster_ips:
            obj.spec.cluster_ips = [obj.spec.cluster_ip]

    def prepare_update(self, ctx: Context, new: core_v1.Service, old: core_v1.Service) -> None:
        new.status = old.status
        _normalize_cluster_ips(new.spec, old.spec)
        _keep_allocated(new, old)
        _drop_type_dependent(new, old)

    def warnings(self, ctx: Context, obj: core_v1.Service, old: core_v1.Service | None) -> list[str]:
        return service_warnings(obj)

    # -- allocation -----------------------------------------------------------------------------------------------

    async def before_create(self, ctx: Context, obj: core_v1.Service) -> None:
        self._set_families(obj, None)
        await self._allocate(ctx, obj, None)

    async def after_create_failed(self, ctx: Context, obj: core_v1.Service) -> None:
        if not ctx.dry_run and certainly_failed():
            await self._release(ctx, obj, None)

    async def before_update(self, ctx: Context, new: core_v1.Service, old: core_v1.Service) -> None:
        self._set_families(new, old)
        await self._allocate(ctx, new, old)

    async def after_update_failed(self, ctx: Context, new: core_v1.Service, old: core_v1.Service) -> None:
        if not ctx.dry_run and certainly_failed():
            await self._release(ctx, new, old)

    async def after_update(self, ctx: Context, new: core_v1.Service, old: core_v1.Service) -> None:
        await self._release(ctx, old, new)

    async def after_delete(self, ctx: Context, obj: core_v1.Service) -> None:
        await self._release(ctx, obj, None)

    def _set_families(self, service: core_v1.Service, old: core_v1.Service | None) -> None:
        spec = service.spec
        if not needs_cluster_ip(service):
            if old is not None and needs_cluster_ip(old):
                spec.ip_families = spec.ip_family_policy = None
            return
        found: list[FieldError] = []
        for index, family in enumerate(spec.ip_families or ()):
            if family != self.addresses.family and not (is_headless(service) and not spec.selector):
                path = _SPEC.child("ipFamilies").index(index)
                found.append(FieldError.invalid(path, family, "not configured on this cluster"))
        if is_headless(service) and not spec.selector:
            # Its endpoints are the user's business, of whatever family.
            if spec.ip_family_policy is None:
                families = spec.ip_families or ()
                spec.ip_family_policy = "SingleStack" if len(families) == 1 else "RequireDualStack"
            if not spec.ip_families:
                other = "IPv6" if self.addresses.family == "IPv4" else "IPv4"
                spec.ip_families = [self.addresses.family]
                if spec.ip_family_policy != "SingleStack":
                    spec.ip_families.append(other)
        else:
            if spec.ip_family_policy is None:
                spec.ip_family_policy = "SingleStack"
            if spec.ip_family_policy == "RequireDualStack":
                path = _SPEC.child("ipFamilyPolicy")
                detail = "this cluster is not configured for dual-stack services"
                found.append(FieldError.invalid(path, spec.ip_family_policy, detail))
            if not spec.ip_families:
                spec.ip_families = [self.addresses.family]
        if found:
            raise errors.invalid("Service", service.metadata.name or "", found)

    async def _allocate(self, ctx: Context, service: core_v1.Service, old: core_v1.Service | None) -> None:
        """Take what this state of the service needs beyond what the old one has; all of it or nothing."""
        before = _Holdings.of(old)
        taken = _Holdings()
        try:
            if needs_cluster_ip(service) and not is_headless(service):
                await self._allocate_address(ctx, service, before, taken)
            await self._allocate_ports(ctx, service, before, taken)
        except BaseException:
            if not ctx.dry_run:
                await self._give_back(ctx, service, taken)
            raise

    async def _allocate_address(
        self, ctx: Context, service: core_v1.Service, before: _Holdings, taken: _Holdings
    ) -> None:
        spec = service.spec
        asked = spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])
        if not asked:
            try:
                address = await self.addresses.take_any(ctx.registry, service, dry_run=ctx.dry_run)
            except Full as full:
                raise errors.internal(f"failed to allocate a serviceIP: {full}") from None
            taken.addresses.add(address)
            asked = [address]
        for address in asked:
            if address in before.addresses or address in taken.addresses:
                continue
            try:
                await self.addresses.take(ctx.registry, address, service, dry_run=ctx.dry_run)
            except (Taken, OutOfRange) as problem:
                detail = f"failed to allocate IP {address}: {problem}"
                cause = FieldError.invalid(_SPEC.child("clusterIPs"), spec.cluster_ips, detail)
                raise errors.invalid("Service", service.metadata.name or "", [cause]) from None
            taken.addresses.add(address)
        spec.cluster_ips = asked
        spec.cluster_ip = asked[0]

    async def _allocate_ports(
        self, ctx: Context, service: core_v1.Service, before: _Holdings, taken: _Holdings
    ) -> None:
        spec = service.spec
        name = service.metadata.name or ""
        have = before.ports | taken.ports
        # The same port for TCP and UDP may share its node port.
        by_port = {p.port: p.node_port for p in reversed(spec.ports or ()) if p.node_port}
        for index, port in enumerate(spec.ports or ()):
            if not port.node_port and not needs_node_ports(service):
                continue
            wanted = port.node_port or by_port.get(port.port, 0)
            if wanted and not _clashes(spec.ports or [], index, wanted):
                port.node_port = wanted
                if wanted not in have:
                    try:
                        await self.ports.take(ctx.registry, wanted, service, dry_run=ctx.dry_run)
                    except (Taken, OutOfRange) as problem:
                        path = _SPEC.child("ports").index(index).child("nodePort")
                        raise errors.invalid(
                            "Service", name, [FieldError.invalid(path, wanted, str(problem))]
                        ) from None
            else:
                try:
                    port.node_port = await self.ports.take_any(ctx.registry, service, dry_run=ctx.dry_run)
                except Full as full:
                    raise errors.internal(f"failed to allocate a nodePort: {full}") from None
                by_port.setdefault(port.port, port.node_port)
            if port.node_port not in have:
                taken.ports.add(port.node_port)
                have.add(port.node_port)
        if not needs_health_check_port(service):
            return
        try:
            if not spec.health_check_node_port:
                spec.health_check_node_port = await self.ports.take_any(ctx.registry, service, dry_run=ctx.dry_run)
                taken.ports.add(spec.health_check_node_port)
            elif spec.health_check_node_port not in have:
                await self.ports.take(ctx.registry, spec.health_check_node_port, service, dry_run=ctx.dry_run)
                taken.ports.add(spec.health_check_node_port)
        except (Taken, OutOfRange) as problem:
            port_number = spec.health_check_node_port
            raise errors.internal(
                f"failed to allocate requested HealthCheck NodePort {port_number}: {problem}"
            ) from None
        except Full as full:
            raise errors.internal(f"failed to allocate a HealthCheck NodePort: {full}") from None

    async def _release(self, ctx: Context, service: core_v1.Service, other: core_v1.Service | None) -> None:
        """Give back what this state has and the other does not."""
        mine, theirs = _Holdings.of(service), _Holdings.of(other)
        await self._give_back(ctx, service, _Holdings(mine.addresses - theirs.addresses, mine.ports - theirs.ports))

    async def _give_back(self, ctx: Context, service: core_v1.Service, holdings: _Holdings) -> None:
        try:
            for address in holdings.addresses:
                await self.addresses.give_back(ctx.registry, address, service)
            for port in holdings.ports:
                await self.ports.give_back(ctx.registry, port, service)
        except (errors.StatusError, Unavailable) as problem:
            # The write itself stands; the repair gives back what is left.
            meta = service.metadata
            _log.warning("giving back what %s/%s had: %s", meta.namespace, meta.name, problem)


class _Holdings:
    """The addresses and ports that a state of a service has."""

    def __init__(self, addresses: set[str] | None = None, ports: set[int] | None = None) -> None:
        self.addresses = addresses if addresses is not None else set()
        self.ports = ports if ports is not None else set()

    @classmethod
    def of(cls, service: core_v1.Service | None) -> _Holdings:
        if service is None:
            return cls()
        addresses = {ip for ip in service.spec.cluster_ips or () if ip != HEADLESS}
        return cls(addresses, ports_of(service))


def _clashes(ports: list[core_v1.ServicePort], index: int, node_port: int) -> bool:
    """Whether an earlier port of the same protocol already uses this node port."""
    return any(p.node_port == node_port and p.protocol == ports[index].protocol for p in ports[:index])


def _normalize_cluster_ips(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> None:
    """Clients that know only clusterIP, or patch only one of the two fields, mean both (NormalizeClusterIPs)."""
    if new.cluster_ip and not new.cluster_ips and new.cluster_ip != old.cluster_ip:
        new.cluster_ips = [new.cluster_ip]
        return
    same_list = (new.cluster_ips or []) == (old.cluster_ips or [])
    if new.cluster_ip != old.cluster_ip and same_list:
        new.cluster_ips = [new.cluster_ip] if new.cluster_ip else None
    elif new.cluster_ip == old.cluster_ip and not new.cluster_ips and new.cluster_ip:
        # An older client that does not know the list.
        new.cluster_ips = old.cluster_ips


def _keep_allocated(new: core_v1.Service, old: core_v1.Service) -> None:
    """What the server chose stays, if the update leaves it open (patchAllocatedValues)."""
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        if not new.spec.cluster_ip:
            new.spec.cluster_ip = old.spec.cluster_ip
        if not new.spec.cluster_ips and new.spec.cluster_ip == old.spec.cluster_ip:
            new.spec.cluster_ips = old.spec.cluster_ips
        if not new.spec.ip_families:
            new.spec.ip_families = old.spec.ip_families
        if new.spec.ip_family_policy is None:
            new.spec.ip_family_policy = old.spec.ip_family_policy
    if needs_node_ports(old) and needs_node_ports(new):
        before = {(p.protocol, p.port): p.node_port for p in old.spec.ports or ()}
        used = {p.node_port for p in new.spec.ports or () if p.node_port}
        for port in new.spec.ports or ():
            if not port.node_port:
                candidate = before.get((port.protocol, port.port))
                if candidate and candidate not in used:
                    port.node_port = candidate
                    used.add(candidate)
    if needs_health_check_port(old) and needs_health_check_port(new) and not new.spec.health_check_node_port:
        new.spec.health_check_node_port = old.spec.health_check_node_port


def _drop_type_dependent(new: core_v1.Service, old: core_v1.Service) -> None:
    """What the old type had and the new one may not have goes, unless the user changed it (dropTypeDependentFields)."""
    spec, before = new.spec, old.spec
    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        if spec.cluster_ip == before.cluster_ip and (spec.cluster_ips or []) == (before.cluster_ips or []):
            spec.cluster_ip = None
            spec.cluster_ips = None
        if semantic_equal(spec.ip_families, before.ip_families):
            spec.ip_families = None
        if spec.ip_family_policy == before.ip_family_policy:
            spec.ip_family_policy = None
    had_ports = before.type in ("NodePort", "LoadBalancer")
    if had_ports and spec.type not in ("NodePort", "LoadBalancer"):
        ports_before = [p.node_port for p in before.ports or ()]
        if [p.node_port for p in spec.ports or ()] == ports_before or all(
            not p.node_port or p.node_port in ports_before for p in spec.ports or ()
        ):
            for port in spec.ports or ():
                port.node_port = None
    no_health_check = needs_health_check_port(old) and not needs_health_check_port(new)
    if no_health_check and spec.health_check_node_port == before.health_check_node_port:
        spec.health_check_node_port = None
    if before.type == "LoadBalancer" and spec.type != "LoadBalancer":
        if spec.allocate_load_balancer_node_ports == before.allocate_load_balancer_node_ports:
            spec.allocate_load_balancer_node_ports = None
        if spec.load_balancer_class == before.load_balancer_class:
            spec.load_balancer_class = None
    internal = defaults.externally_accessible(before) and not defaults.externally_accessible(spec)
    if internal and spec.external_traffic_policy == before.external_traffic_policy:
        spec.external_traffic_policy = None
    no_address = needs_cluster_ip(old) and not needs_cluster_ip(new)
    if no_address and spec.internal_traffic_policy == before.internal_traffic_policy:
        spec.internal_traffic_policy = None


class EndpointSliceStrategy(BuiltIn):
    """Its generation counts every change but that of annotations and the like."""

    def __init__(self) -> None:
        super().__init__(
            discovery_v1.EndpointSlice,
            defaults=default_endpoint_slice,
            columns=rows.ENDPOINT_SLICE,
            cells=rows.endpoint_slice_cells,
            create=endpoint_rules.validate_endpoint_slice,
            update=endpoint_rules.validate_endpoint_slice_update,
            generation_of=("address_type", "endpoints", "ports"),
        )

    def count_generation(self, new: discovery_v1.EndpointSlice, old: discovery_v1.EndpointSlice) -> None:
        super().count_generation(new, old)
        unchanged = new.metadata.generation == old.metadata.generation
        if unchanged and (new.metadata.labels or {}) != (old.metadata.labels or {}):
            new.metadata.generation = (old.metadata.generation or 0) + 1


def strategies(addresses: Ranges, ports: PortAllocator) -> list[Strategy]:
    return [
        ServiceStrategy(addresses, ports),
        BuiltIn(
            core_v1.Endpoints,
            defaults=defaults.default_endpoints,
            columns=rows.ENDPOINTS,
            cells=rows.endpoints_cells,
            create=endpoint_rules.validate_endpoints,
            update=lambda new, old: endpoint_rules.validate_endpoints(new),
            create_on_update=True,
            deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ),
        EndpointSliceStrategy(),
    ]
