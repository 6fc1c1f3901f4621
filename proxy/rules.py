"""Services as nftables: the fixed frame of table `ip pykube`, the part of each Service, and the change between two.

Invariants:
- A Service's traffic is found by one map lookup, whatever the number of Services; the chain it leads to picks an
  endpoint by one more lookup. Updating a Service costs the size of that Service, never that of the cluster.
- Everything is applied in transactions: a packet sees the old rules or the new ones, never half of them.
- A packet to a cluster address that nothing serves is rejected on this node; none leaves through the uplink.

The structure follows kube-proxy's nftables mode (KEP-3866): verdict maps from address and port to a chain for each
service port, a chain for each endpoint, and a mark for packets whose source must become this node's.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.services import Endpoint, ServicePort

TABLE = "ip pykube"
MASQUERADE_MARK = "0x4000"


@dataclass(frozen=True, slots=True)
class Network:
    """The address ranges that make up the cluster, as CIDRs."""

    cluster_cidr: str
    service_cidr: str


@dataclass(slots=True)
class Fragment:
    """What one Service contributes to the table."""

    #: chain name -> its rules, in order
    chains: dict[str, list[str]] = field(default_factory=dict)
    #: affinity set name -> seconds an entry lives
    sets: dict[str, int] = field(default_factory=dict)
    #: (map or set name, element key) -> verdict, "" for elements of sets
    elements: dict[tuple[str, str], str] = field(default_factory=dict)


def base(network: Network) -> str:
    """A script that replaces the whole table by one with no Services in it."""
    return f"""\
table {TABLE}
delete table {TABLE}
table {TABLE} {{
  comment "Service routing and pod masquerading by pykube's proxy";

  set nodes {{ type ipv4_addr; comment "addresses of the cluster's nodes: pods reach them with their own address"; }}
  map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map service-node-ports {{ type inet_proto . inet_service : verdict; }}
  map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map no-endpoint-node-ports {{ type inet_proto . inet_service : verdict; }}

  chain masquerade-mark {{ meta mark set meta mark or {MASQUERADE_MARK}; }}
  chain reject-chain {{ reject; }}

  chain services {{
    ip daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-node-ports
  }}
  chain no-endpoints {{
    ip daddr . meta l4proto . th dport vmap @no-endpoint-services
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-node-ports
  }}

  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat;
    meta mark & {MASQUERADE_MARK} != 0 meta mark set meta mark xor {MASQUERADE_MARK} masquerade fully-random
    ip saddr {network.cluster_cidr} ip daddr != {network.cluster_cidr} ip daddr != @nodes fib daddr type != local \
masquerade fully-random
  }}

  chain filter-input {{
    type filter hook input priority -110;
    ct state new jump no-endpoints
  }}
  chain filter-forward {{
    type filter hook forward priority -110;
    ct state invalid drop
    ct state new jump no-endpoints
    ip daddr {network.service_cidr} ct state new reject
  }}
  chain filter-output {{
    type filter hook output priority -90;
    ct state new jump no-endpoints
    ip daddr {network.service_cidr} ct state new reject
  }}
}}
"""


def render(port: ServicePort, network: Network) -> Fragment:
    """The part of one service port, for a table made by `base` for the same network."""
    fragment = Fragment()
    identity = _identity(port)
    for endpoint in sorted({*port.internal, *port.external, *port.cluster}):
        rules = [f"meta l4proto {port.protocol} dnat to {endpoint.ip}:{endpoint.port}"]
        if port.affinity_seconds:
            affinity = _affinity_set(identity, endpoint)
            fragment.sets[affinity] = port.affinity_seconds
            rules.insert(0, f"update @{affinity} {{ ip saddr }}")
        fragment.chains[_endpoint_chain(identity, endpoint)] = rules
        if endpoint.local:
            # A pod that meets itself would answer itself directly, and the reply would match no connection.
            rules.insert(0, f"ip saddr {endpoint.ip} jump masquerade-mark")
    _cluster_ip(fragment, port, identity, network)
    if port.has_external:
        _external(fragment, port, identity, network)
    return fragment


def _cluster_ip(fragment: Fragment, port: ServicePort, identity: str, network: Network) -> None:
    key = f"{port.cluster_ip} . {port.protocol} . {port.port}"
    if not port.internal:
        # With endpoints elsewhere that the policy keeps us from, silence is upstream's answer; without any, a refusal.
        fragment.elements["no-endpoint-services", key] = "drop" if port.cluster else "goto reject-chain"
        return
    chain = f"service-{identity}"
    # Who is outside of the pod network cannot answer a pod on another node by itself: the reply must come back here.
    outside = f"ip saddr != {network.cluster_cidr} jump masquerade-mark"
    fragment.chains[chain] = [outside, *_spread(port, identity, port.internal)]
    fragment.elements["service-ips", key] = f"goto {chain}"


def _external(fragment: Fragment, port: ServicePort, identity: str, network: Network) -> None:
    """Node port, external and load balancer addresses, as far as `externalTrafficPolicy` lets them reach."""
    addresses = [(ip, False) for ip in port.external_ips] + [(ip, True) for ip in port.load_balancer_ips]
    node_key = f"{port.protocol} . {port.node_port}"
    if not port.cluster:
        for ip, _ in addresses:
            key = f"{ip} . {port.protocol} . {port.port}"
            fragment.elements["no-endpoint-services", key] = "goto reject-chain"
        if port.node_port:
            fragment.elements["no-endpoint-node-ports", node_key] = "goto reject-chain"
        return

    cluster_chain, external_chain = f"cluster-{identity}", f"external-{identity}"
    fragment.chains[cluster_chain] = _spread(port, identity, port.cluster)
    if port.external_local:
        rules = [
            f"ip saddr {network.cluster_cidr} goto {cluster_chain}",
            "fib saddr type local jump masquerade-mark",
            f"fib saddr type local goto {cluster_chain}",
        ]
        # A node without an endpoint drops what comes from outside: the balancer in front is to try another node.
        rules += _spread(port, identity, port.external) if port.external else ["drop"]
    else:
        rules = ["jump masquerade-mark", f"goto {cluster_chain}"]
    fragment.chains[external_chain] = rules

    source_chain = f"sources-{identity}"
    if port.source_ranges and port.load_balancer_ips:
        ranges = ", ".join(port.source_ranges)
        fragment.chains[source_chain] = [f"ip saddr {{ {ranges} }} goto {external_chain}", "drop"]
    for ip, balanced in addresses:
        chain = source_chain if balanced and port.source_ranges else external_chain
        fragment.elements["service-ips", f"{ip} . {port.protocol} . {port.port}"] = f"goto {chain}"
    if port.node_port:
        fragment.elements["service-node-ports", node_key] = f"goto {external_chain}"


def _spread(port: ServicePort, identity: str, endpoints: tuple[Endpoint, ...]) -> list[str]:
    """Rules that send a new connection to the endpoint its client is bound to, else to one at random."""
    rules = []
    if port.affinity_seconds:
        rules = [f"ip saddr @{_affinity_set(identity, e)} goto {_endpoint_chain(identity, e)}" for e in endpoints]
    choices = ", ".join(f"{i} : goto {_endpoint_chain(identity, e)}" for i, e in enumerate(endpoints))
    return [*rules, f"numgen random mod {len(endpoints)} vmap {{ {choices} }}"]


def _identity(port: ServicePort) -> str:
    """A unique name within nftables' 128 characters that a person who reads the ruleset recognises."""
    digest = base64.b32encode(hashlib.sha256(port.key.encode()).digest())[:8].decode()
    return f"{digest}-{port.namespace}/{port.name}/{port.protocol}/{port.port_name}"[:90].rstrip("/")


def _endpoint_chain(identity: str, endpoint: Endpoint) -> str:
    return f"endpoint-{identity}-{endpoint.ip}/{endpoint.port}"


def _affinity_set(identity: str, endpoint: Endpoint) -> str:
    return f"affinity-{identity.partition('-')[0]}-{endpoint.ip}/{endpoint.port}"


def merge(fragments: Iterable[Fragment]) -> Fragment:
    """One fragment that holds all of `fragments`."""
    merged = Fragment()
    for fragment in fragments:
        merged.chains.update(fragment.chains)
        merged.sets.update(fragment.sets)
        merged.elements.update(fragment.elements)
    return merged


def transaction(old: Fragment, new: Fragment) -> str:
    """The `nft -f` script that turns what `old` put into the table into `new`; "" if they are the same.

    Order matters within it: elements go before the chains they lead to, chains are made before they are filled.
    """
    lines: list[str] = []
    for (owner, key), verdict in old.elements.items():
        if new.elements.get((owner, key)) != verdict:
            lines.append(f"delete element {TABLE} {owner} {{ {key} }}")
    for name, seconds in new.sets.items():
        if old.sets.get(name) != seconds:
            if name in old.sets:
                # A set's timeout can't be changed: its users are emptied so that it can be made anew.
                lines += [f"flush chain {TABLE} {c}" for c, rules in old.chains.items() if _uses(rules, name)]
                lines.append(f"delete set {TABLE} {name}")
            lines.append(f"add set {TABLE} {name} {{ type ipv4_addr; flags dynamic, timeout; timeout {seconds}s; }}")
    retimed = {name for name, seconds in new.sets.items() if name in old.sets and old.sets[name] != seconds}
    changed = {
        name: rules
        for name, rules in new.chains.items()
        if old.chains.get(name) != rules or any(_uses(rules, r) for r in retimed)
    }
    lines += [f"add chain {TABLE} {name}" for name in changed if name not in old.chains]
    lines += [f"flush chain {TABLE} {name}" for name in changed if name in old.chains]
    lines += [f"add rule {TABLE} {name} {rule}" for name, rules in changed.items() for rule in rules]
    gone = [name for name in old.chains if name not in new.chains]
    lines += [f"flush chain {TABLE} {name}" for name in gone]
    lines += [f"delete chain {TABLE} {name}" for name in gone]
    lines += [f"delete set {TABLE} {name}" for name in old.sets if name not in new.sets]
    for (owner, key), verdict in new.elements.items():
        if old.elements.get((owner, key)) != verdict:
            lines.append(f"add element {TABLE} {owner} {{ {key}{' : ' + verdict if verdict else ''} }}")
    return "\n".join(lines) + "\n" if lines else ""


def _uses(rules: list[str], set_name: str) -> bool:
    return any(f"@{set_name} " in rule for rule in rules)
