"""The command line of the server: upstream's names."""

from __future__ import annotations

import click

from component.options import BOOL, option

OPTIONS: list[click.Option] = [
    option("--etcd-servers", required=True, help="etcd endpoints (http://host:2379), comma-separated"),
    option("--etcd-cafile", default="", help="CA of etcd's server certificate"),
    option("--etcd-certfile", default="", help="client certificate for etcd"),
    option("--etcd-keyfile", default="", help="key of the client certificate for etcd"),
    option("--etcd-compaction-interval", default=300.0, type=float, help="seconds between compactions; 0: never"),
    option("--bind-address", default="0.0.0.0", help="address to listen on"),
    option("--secure-port", default=6443, type=int, help="port of the REST face"),
    option("--grpc-port", default=6444, type=int, help="port of the gRPC face"),
    option("--advertise-address", default="", help="where others reach this server; found out if empty"),
    option("--pod-routes", default=False, type=BOOL, help="keep routes to the nodes' pods; needs CAP_NET_ADMIN"),
    option("--cluster-cidr", default="10.244.0.0/16", help="range of the cluster's pods, for --pod-routes"),
    option("--tls-cert-file", required=True, help="server certificate"),
    option("--tls-private-key-file", required=True, help="key of the server certificate"),
    option("--client-ca-file", required=True, help="CA of client certificates"),
    option("--kubelet-client-certificate", default="", help="client certificate for kubelets"),
    option("--kubelet-client-key", default="", help="key of the client certificate for kubelets"),
    option("--proxy-client-cert-file", default="", help="client certificate for aggregated API servers"),
    option("--proxy-client-key-file", default="", help="key of the client certificate for aggregated API servers"),
    option("--requestheader-client-ca-file", default="", help="CA of that certificate, for those servers to trust"),
    option("--service-account-key-file", default="", help="keys that verify service account tokens, comma-separated"),
    option("--service-account-signing-key-file", default="", help="key that signs service account tokens"),
    option(
        "--service-account-issuer",
        default="https://kubernetes.default.svc.cluster.local",
        help="issuer of service account tokens",
    ),
    option("--api-audiences", default="", help="audiences of tokens for this server; default: the issuer"),
    option("--service-cluster-ip-range", default="10.96.0.0/16", help="range of Service addresses"),
    option("--service-node-port-range", default="30000-32767", help="range of node ports"),
    option("--authorization-mode", default="Node,RBAC", help="authorizers in order"),
    option("--token-auth-file", default="", help="CSV file of static tokens"),
    option("--encryption-provider-config", default="", help="file that says how resources are encrypted in etcd"),
    option("--max-requests-inflight", default=400, type=int, help="reads under way at a time; 0: no limit"),
    option("--max-mutating-requests-inflight", default=200, type=int, help="writes under way at a time; 0: no limit"),
    option("--audit-policy-file", default="", help="file that says which requests the audit log records, and how"),
    option("--audit-log-path", default="", help="file of the audit log; - for standard output"),
    option("--audit-log-maxsize", default=100, type=int, help="megabytes of the file until a new one is begun"),
    option("--audit-log-maxbackup", default=0, type=int, help="old files that are kept; 0: all"),
    option("--audit-log-maxage", default=0, type=int, help="days for which old files are kept; 0: for ever"),
    option("--shutdown-delay-duration", default=0.0, type=float, help="seconds /readyz fails before connections end"),
]
