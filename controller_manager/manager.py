"""All controllers of the process: which there are, and how they start together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from controller_manager.context import Context, Runnable

log = logging.getLogger(__name__)

#: Upstream's controller names (as in its --controllers flag) and where each lives. The garbage collector comes last: it
#: follows every resource, and shares the informers that the others have asked for.
CONTROLLERS: dict[str, str] = {
    "namespace-controller": "namespaces.namespace:NamespaceController",
    "serviceaccount-controller": "namespaces.serviceaccount:ServiceAccountController",
    "root-ca-certificate-publisher-controller": "namespaces.root_ca:RootCaController",
    "replicaset-controller": "workloads.replicaset:ReplicaSetController",
    "replicationcontroller-controller": "workloads.replicationcontroller:ReplicationControllerController",
    "deployment-controller": "workloads.deployment:DeploymentController",
    "statefulset-controller": "workloads.statefulset:StatefulSetController",
    "daemonset-controller": "workloads.daemonset:DaemonSetController",
    "job-controller": "workloads.job:JobController",
    "cronjob-controller": "workloads.cronjob:CronJobController",
    "ttl-after-finished-controller": "workloads.ttl_after_finished:TtlAfterFinishedController",
    "horizontal-pod-autoscaler-controller": "autoscaling.hpa:HorizontalPodAutoscalerController",
    "disruption-controller": "workloads.disruption:DisruptionController",
    "resourcequota-controller": "namespaces.quota:ResourceQuotaController",
    "persistentvolume-binder-controller": "storage.binder:PersistentVolumeBinder",
    "storage-protection-controller": "storage.protection:StorageProtectionController",
    "persistentvolume-expander-controller": "storage.expansion:ExpansionController",
    "ephemeral-volume-controller": "storage.ephemeral:EphemeralVolumeController",
    "endpoints-controller": "network.endpoints:EndpointsController",
    "endpointslice-controller": "network.endpointslice:EndpointSliceController",
    "endpointslice-mirroring-controller": "network.endpointslice_mirroring:EndpointSliceMirroringController",
    "service-cidr-controller": "network.service_cidrs:ServiceCIDRController",
    "service-lb-controller": "network.load_balancer:LoadBalancerController",
    "node-ipam-controller": "nodes.ipam:NodeIpamController",
    "node-lifecycle-controller": "nodes.lifecycle:NodeLifecycleController",
    "taint-eviction-controller": "nodes.taint_eviction:TaintEvictionController",
    "pod-garbage-collector-controller": "nodes.pod_gc:PodGcController",
    "node-ttl-controller": "nodes.ttl:NodeTtlController",
    "serviceaccount-token-controller": "security.service_account_tokens:ServiceAccountTokensController",
    "certificatesigningrequest-approving-controller": "security.csr_approving:CsrApprovingController",
    "certificatesigningrequest-signing-controller": "security.csr_signing:CsrSigningController",
    "certificatesigningrequest-cleaner-controller": "security.csr_cleaner:CsrCleanerController",
    "token-cleaner-controller": "security.bootstrap_token_cleaner:BootstrapTokenCleaner",
    "bootstrap-signer-controller": "security.bootstrap_signer:BootstrapSigner",
    "legacy-serviceaccount-token-cleaner-controller": "security.legacy_token_cleaner:LegacyTokenCleaner",
    "clusterrole-aggregation-controller": "security.clusterrole_aggregation:ClusterRoleAggregationController",
    "garbage-collector-controller": "garbage_collector:GarbageCollector",
}


def chosen(selection: Sequence[str]) -> list[str]:
    """The controllers that `--controllers` names: `*` is all, `-name` leaves one out. Raises ValueError."""
    unknown = {s.removeprefix("-") for s in selection} - CONTROLLERS.keys() - {"*"}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is not in the list of known controllers")
    every = "*" in selection or not selection
    return [name for name in CONTROLLERS if f"-{name}" not in selection and (every or name in selection)]


class Manager:
    """The controllers, made (so that their informers start with the others) but not yet acting."""

    def __init__(self, context: Context, names: Sequence[str]) -> None:
        self._context = context
        self._controllers: dict[str, Runnable] = {name: _make(name, context) for name in names}
        self.acting = False

    async def run(self) -> None:
        """Act until cancelled. What one controller raises ends all of them."""
        started = time.monotonic()
        await self._context.informers.synced(late=False)
        log.info("caches synced in %.2f s, starting %d controllers", time.monotonic() - started, len(self._controllers))
        self.acting = True
        try:
            async with asyncio.TaskGroup() as group:
                for name, controller in self._controllers.items():
                    group.create_task(controller.run(), name=name)
        finally:
            self.acting = False


def _make(name: str, context: Context) -> Runnable:
    module, _, kind = CONTROLLERS[name].partition(":")
    constructor = cast(Callable[[Context], Runnable], getattr(import_module(f"controller_manager.{module}"), kind))
    return constructor(context)
