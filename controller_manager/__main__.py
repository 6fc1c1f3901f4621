"""`python -m controller_manager`: several may run; a Lease elects the one that acts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from client.api import Api
from client.informer import Factory
from client.leader import LeaderElector
from client.transport import TLS
from component import BOOL, DURATION, Process, client_options, leader_options, main, option
from controller_manager.context import Context, Settings
from controller_manager.manager import Manager, chosen


def settings(process: Process) -> Settings:
    """The settings from the command line. Raises OSError if a file cannot be read."""
    options = process.options
    return Settings(
        cluster_cidr=options.cluster_cidr if options.allocate_node_cidrs else "",
        node_cidr_mask_size=options.node_cidr_mask_size,
        service_cidr=options.service_cluster_ip_range,
        root_ca=Path(options.root_ca_file or options.ca_file).read_text(),
        service_account_key_file=options.service_account_private_key_file,
        cluster_signing_cert_file=options.cluster_signing_cert_file,
        cluster_signing_key_file=options.cluster_signing_key_file,
        cluster_signing_duration=options.cluster_signing_duration,
        legacy_token_clean_up_period=options.legacy_service_account_token_clean_up_period,
        node_monitor_period=options.node_monitor_period,
        node_monitor_grace_period=options.node_monitor_grace_period,
        node_startup_grace_period=options.node_startup_grace_period,
        terminated_pod_gc_threshold=options.terminated_pod_gc_threshold,
        node_eviction_rate=options.node_eviction_rate,
        secondary_node_eviction_rate=options.secondary_node_eviction_rate,
        unhealthy_zone_threshold=options.unhealthy_zone_threshold,
        large_cluster_size_threshold=options.large_cluster_size_threshold,
        hpa_sync_period=options.horizontal_pod_autoscaler_sync_period,
        hpa_downscale_stabilization=options.horizontal_pod_autoscaler_downscale_stabilization,
        hpa_tolerance=options.horizontal_pod_autoscaler_tolerance,
        hpa_cpu_initialization_period=options.horizontal_pod_autoscaler_cpu_initialization_period,
        hpa_initial_readiness_delay=options.horizontal_pod_autoscaler_initial_readiness_delay,
        local_volume_root=options.local_volume_root,
        local_volume_image=options.local_volume_image,
        load_balancer_pool=options.load_balancer_pool,
    )


async def run(process: Process) -> None:
    options = process.options
    names = chosen([name.strip() for name in options.controllers.split(",")])
    tls = TLS(ca=options.ca_file, cert=options.cert_file, key=options.key_file)
    async with Api.connect(options.server, tls=tls) as api:
        context = Context(api, Factory(api, compact=True), settings(process))
        manager = Manager(context, names)
        elector = LeaderElector(
            api,
            "kube-controller-manager",
            lease_duration=options.leader_elect_lease_duration,
            renew_deadline=options.leader_elect_renew_deadline,
            retry_period=options.leader_elect_retry_period,
            recorder=context.recorder("kube-controller-manager"),
        )
        async with asyncio.TaskGroup() as tasks:
            # Caches are warm before this replica leads, so that taking over takes no time.
            tasks.create_task(context.informers.run(), name="informers")
            if options.leader_elect:
                await elector.run(manager.run)
            else:
                await manager.run()


def parameters() -> list[click.Option]:
    """Upstream's flags with upstream's defaults."""
    return [
        *client_options(),
        option("--controllers", default="*", help="controllers to run: * for all, name for one, -name for all but one"),
        *leader_options("kube-controller-manager"),
        option("--allocate-node-cidrs", default=True, type=BOOL, help="give nodes their range of pod addresses"),
        option("--cluster-cidr", default="10.244.0.0/16", help="range of the cluster's pods"),
        option("--node-cidr-mask-size", default=24, type=int, help="size of a node's part of it"),
        option("--service-cluster-ip-range", default="", help="range of services, never given to nodes"),
        option("--root-ca-file", default="", help="CA for the ConfigMap kube-root-ca.crt; by default --ca-file"),
        option("--service-account-private-key-file", default="", help="key that signs service account tokens"),
        option("--cluster-signing-cert-file", default="", help="certificate of the CA that signs CSRs"),
        option("--cluster-signing-key-file", default="", help="its key; without it no CSR is signed"),
        option("--cluster-signing-duration", default="8760h", type=DURATION, help="longest life of a certificate"),
        option(
            "--legacy-service-account-token-clean-up-period",
            default="8760h",
            type=DURATION,
            help="how long a token in a Secret stays unused until it is invalid, and then until it is deleted",
        ),
        option("--node-monitor-period", default="5s", type=DURATION, help="how often nodes are looked at"),
        option("--node-monitor-grace-period", default="40s", type=DURATION, help="silence until a node is unknown"),
        option("--node-startup-grace-period", default="1m", type=DURATION, help="the same for a node that starts"),
        option("--node-eviction-rate", default=0.1, type=float, help="nodes emptied per second in a healthy zone"),
        option("--secondary-node-eviction-rate", default=0.01, type=float, help="the same in a large unhealthy zone"),
        option("--unhealthy-zone-threshold", default=0.55, type=float, help="part of nodes that makes it unhealthy"),
        option("--large-cluster-size-threshold", default=50, type=int, help="nodes that make a zone large"),
        option("--terminated-pod-gc-threshold", default=12500, type=int, help="finished pods that may stay"),
        option("--horizontal-pod-autoscaler-sync-period", default="15s", type=DURATION, help="time between looks"),
        option(
            "--horizontal-pod-autoscaler-downscale-stabilization",
            default="5m",
            type=DURATION,
            help="how long a higher recommendation holds a lower one back",
        ),
        option("--horizontal-pod-autoscaler-tolerance", default=0.1, type=float, help="deviation that is no reason"),
        option(
            "--horizontal-pod-autoscaler-cpu-initialization-period",
            default="5m",
            type=DURATION,
            help="how long a starting pod's CPU may be skipped",
        ),
        option(
            "--horizontal-pod-autoscaler-initial-readiness-delay",
            default="30s",
            type=DURATION,
            help="how long readiness changes count as the first ones",
        ),
        option(
            "--local-volume-root", default="/var/lib/kubelet/local-volumes", help="where nodes keep provisioned volumes"
        ),
        option(
            "--local-volume-image",
            default="localhost:5000/pykube/toolbox:latest",
            help="image with a shell, in which their directories are removed and copied",
        ),
        option("--load-balancer-pool", default="", help="addresses for Services of type LoadBalancer, as CIDRs"),
    ]


if __name__ == "__main__":
    main(
        "controller_manager",
        run,
        parameters(),
        health_port=10257,
        help="Runs the controllers: what makes the cluster be as its objects say.",
    )
