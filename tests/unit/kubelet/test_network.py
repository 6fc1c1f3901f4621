"""Names in a pod: hostname, /etc/hosts, the resolver's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api import codec
from api.types.core_v1 import Pod
from kubelet import network
from kubelet.config import Config
from kubelet.environment import ConfigError


def pod(**spec: Any) -> Pod:
    return codec.from_dict(Pod, {"metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "spec": spec})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("# made by hand\nnameserver 9.9.9.9\nsearch corp.example.\noptions rotate timeout:1\n")
    return Config(node_name="n1", node_ip="192.168.0.9", cluster_dns=("10.96.0.10",), resolv_conf=str(resolv))


def test_cluster_first_searches_the_namespace_then_the_cluster_then_the_nodes(config: Config) -> None:
    dns = network.dns_config(pod(), config)
    assert dns.servers == ("10.96.0.10",)
    assert dns.searches == ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")
    assert dns.options == ("ndots:5",)


@pytest.mark.parametrize("spec", [{"dnsPolicy": "Default"}, {"hostNetwork": True, "dnsPolicy": "ClusterFirst"}])
def test_the_nodes_resolver(config: Config, spec: dict[str, Any]) -> None:
    dns = network.dns_config(pod(**spec), config)
    assert dns.servers == ("9.9.9.9",)
    assert dns.searches == ("corp.example",)
    assert dns.options == ("rotate", "timeout:1")


def test_host_network_may_ask_for_the_cluster(config: Config) -> None:
    dns = network.dns_config(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"), config)
    assert dns.servers == ("10.96.0.10",)


def test_own_settings_are_added_and_options_replaced(config: Config) -> None:
    own = {
        "nameservers": ["1.1.1.1", "10.96.0.10"],
        "searches": ["extra.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    dns = network.dns_config(pod(dnsConfig=own), config)
    assert dns.servers == ("10.96.0.10", "1.1.1.1")
    assert dns.searches[-1] == "extra.example"
    assert dns.options == ("ndots:2", "edns0")


def test_policy_none_has_only_what_the_pod_says(config: Config) -> None:
    dns = network.dns_config(pod(dnsPolicy="None", dnsConfig={"nameservers": ["1.1.1.1"]}), config)
    assert (dns.servers, dns.searches, dns.options) == (("1.1.1.1",), (), ())


def test_no_more_servers_and_searches_than_resolvers_read(config: Config) -> None:
    own = {"nameservers": [f"1.1.1.{i}" for i in range(9)], "searches": [f"s{i}.example" for i in range(40)]}
    dns = network.dns_config(pod(dnsPolicy="None", dnsConfig=own), config)
    assert len(dns.servers) == 3 and len(dns.searches) == 32


def test_hosts_name_the_pod_and_its_aliases(config: Config) -> None:
    spec = {"subdomain": "db", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a.example", "b.example"]}]}
    text = network.hosts_file(pod(**spec), ["10.0.0.7"], config)
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.7\tweb.db.shop.svc.cluster.local\tweb\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\ta.example\tb.example\n")


def test_hosts_on_the_nodes_network_are_the_nodes(config: Config, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 n1\n")
    text = network.hosts_file(pod(hostNetwork=True), ["192.168.0.9"], config, tmp_path / "hosts")
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 n1\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "web"),
        ({"hostname": "db-0"}, "db-0"),
        ({"hostNetwork": True}, "n1"),
        ({"subdomain": "db"}, "web"),
        ({"subdomain": "db", "setHostnameAsFQDN": True}, "web.db.shop.svc.cluster.local"),
        ({"hostnameOverride": "own.name"}, "own.name"),
    ],
)
def test_hostnames(config: Config, spec: dict[str, Any], expected: str) -> None:
    assert network.node_hostname(pod(**spec), config) == expected


def test_long_names_are_cut_to_what_the_kernel_takes(config: Config) -> None:
    long = pod()
    long.metadata.name = "a" * 62 + "-tail"
    assert network.node_hostname(long, config) == "a" * 62
    with pytest.raises(ConfigError, match="64 characters is the max, 71 characters requested"):
        network.node_hostname(pod(hostname="h" * 45, subdomain="db", setHostnameAsFQDN=True), config)
