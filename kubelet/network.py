"""What a pod finds about names: its hostname, /etc/hosts and resolver configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from api.types.core_v1 import Pod
from kubelet import podutil
from kubelet.config import Config
from kubelet.cri import DNSConfig
from kubelet.environment import ConfigError

MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARACTERS = 3, 32, 2048

_HOSTS_HEADER = "# Kubernetes-managed hosts file.\n"
_HOSTS_HEADER_HOST_NETWORK = "# Kubernetes-managed hosts file (host network).\n"
_LOCALHOST = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


def hostname_and_domain(pod: Pod, cluster_domain: str) -> tuple[str, str]:
    """The pod's short hostname and its domain ("" without `subdomain`)."""
    if pod.spec.hostname_override:
        return pod.spec.hostname_override, ""
    hostname = (pod.spec.hostname or podutil.name(pod))[:63].rstrip("-.")
    domain = ""
    if pod.spec.subdomain:
        domain = f"{pod.spec.subdomain}.{podutil.namespace(pod)}.svc.{cluster_domain}"
    return hostname, domain


def node_hostname(pod: Pod, config: Config) -> str:
    """The hostname that the kernel is told (UTS). Raises ConfigError if an FQDN that was asked for is too long."""
    if podutil.is_host_network(pod) and not pod.spec.hostname_override:
        return config.node_name
    hostname, domain = hostname_and_domain(pod, config.cluster_domain)
    if not (pod.spec.set_hostname_as_fqdn and domain):
        return hostname
    full = f"{hostname}.{domain}"
    if len(full) > 64:
        raise ConfigError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
            f"(64 characters is the max, {len(full)} characters requested)"
        )
    return full


def hosts_file(pod: Pod, ips: Sequence[str], config: Config, node_hosts: Path = Path("/etc/hosts")) -> str:
    """Contents of the pod's /etc/hosts."""
    if podutil.is_host_network(pod):
        content = _HOSTS_HEADER_HOST_NETWORK + (node_hosts.read_text() if node_hosts.exists() else _LOCALHOST)
    else:
        hostname, domain = hostname_and_domain(pod, config.cluster_domain)
        names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
        content = _HOSTS_HEADER + _LOCALHOST + "".join(f"{ip}\t{names}\n" for ip in ips)
    if pod.spec.host_aliases:
        content += "\n# Entries added by HostAliases.\n"
        content += "".join("\t".join([a.ip, *(a.hostnames or ())]) + "\n" for a in pod.spec.host_aliases)
    return content


def parse_resolv_conf(text: str) -> DNSConfig:
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        match words[:1]:
            case ["nameserver"] if len(words) > 1:
                servers.append(words[1])
            case ["search" | "domain"]:
                searches = [w.rstrip(".") if w != "." else w for w in words[1:]]
            case ["options"]:
                options = words[1:]
    return DNSConfig(tuple(servers), tuple(searches), tuple(options))


def _node_dns(config: Config) -> DNSConfig:
    if not config.resolv_conf:
        return DNSConfig()
    try:
        return parse_resolv_conf(Path(config.resolv_conf).read_text())
    except OSError:
        return DNSConfig()


def dns_config(pod: Pod, config: Config) -> DNSConfig:
    """The resolver configuration by the pod's dnsPolicy and dnsConfig."""
    policy = pod.spec.dns_policy or "ClusterFirst"
    node = _node_dns(config)
    cluster_first = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not podutil.is_host_network(pod)
    )
    if policy == "None":
        base = DNSConfig()
    elif cluster_first and config.cluster_dns:
        domain, namespace = config.cluster_domain, podutil.namespace(pod)
        cluster = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
        base = DNSConfig(config.cluster_dns, tuple(dict.fromkeys(cluster + node.searches)), ("ndots:5",))
    else:
        base = node
    extra = pod.spec.dns_config
    if extra:
        options = {option.partition(":")[0]: option for option in base.options}
        for option in extra.options or ():
            if option.name:
                options[option.name] = option.name if option.value is None else f"{option.name}:{option.value}"
        base = DNSConfig(
            tuple(dict.fromkeys((*base.servers, *(extra.nameservers or ())))),
            tuple(dict.fromkeys((*base.searches, *(extra.searches or ())))),
            tuple(options.values()),
        )
    return DNSConfig(base.servers[:MAX_NAMESERVERS], _fit(base.searches), base.options)


def _fit(searches: tuple[str, ...]) -> tuple[str, ...]:
    kept = searches[:MAX_SEARCHES]
    while len(" ".join(kept)) > MAX_SEARCH_CHARACTERS:
        kept = kept[:-1]
    return kept
