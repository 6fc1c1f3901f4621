"""`python -m apiserver`."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import Any

from apiserver import bootstrap
from apiserver.admission.plugins import plugins
from apiserver.aggregation.remote import FrontProxy
from apiserver.allocators.ports import PortAllocator
from apiserver.allocators.ranges import Ranges, show_configured
from apiserver.allocators.repair import Repair
from apiserver.audit import policy
from apiserver.audit.log import LogFile
from apiserver.audit.record import Auditor
from apiserver.auth.bootstrap.reconcile import reconcile
from apiserver.inflight import InFlight
from apiserver.kubelets import Kubelets
from apiserver.options import OPTIONS
from apiserver.pod_routes import PodRoutes
from apiserver.registry import Registry
from apiserver.resources import strategies
from apiserver.security import Security, SecurityOptions, secure
from apiserver.server import Faces, Server, serve
from apiserver.store.compaction import compact_forever
from apiserver.store.encrypted import EncryptedStore
from apiserver.store.etcd import EtcdStore, EtcdTLS
from component import loops, tls
from component.process import Process, main

log = logging.getLogger(__name__)


async def run(process: Process) -> None:
    """The whole server, until cancelled."""
    options = process.options
    files = tls.Files(options.tls_cert_file, options.tls_private_key_file, options.client_ca_file)
    context = tls.server_context(files)
    faces = Faces(
        grpc_address=f"{options.bind_address}:{options.grpc_port}",
        grpc_credentials=tls.grpc_server_credentials(files),
        rest_address=(options.bind_address, options.secure_port),
        tls=context,
    )
    ready = {"is": "starting"}
    process.ready_check("apiserver", lambda: ready["is"])
    etcd = _store(options)
    store = EncryptedStore(etcd, options.encryption_provider_config) if options.encryption_provider_config else etcd
    kubelets = _kubelets(options)
    first, last = (int(part) for part in options.service_node_port_range.split("-"))
    service_range = options.service_cluster_ip_range
    built = strategies(service_cidr=service_range, node_ports=(first, last))

    def repair(registry: Registry) -> Repair:
        return Repair(registry, Ranges(service_range), PortAllocator(first, last))

    service = _kubernetes_service(options)
    auditor = _auditor(options)
    try:
        async with serve(
            store,
            faces,
            secure=lambda registry: _secure(registry, options),
            strategies=built,
            admission=plugins,
            prepare=[
                bootstrap.objects,
                _roles,
                lambda registry: show_configured(registry, service_range),
                lambda registry: repair(registry).round(),
            ],
            kubelets=kubelets,
            front_proxy=FrontProxy(
                options.proxy_client_cert_file,
                options.proxy_client_key_file,
                options.requestheader_client_ca_file,
                options.client_ca_file,
            ),
            auditor=auditor,
        ) as server:
            log.info("serving REST on %s, gRPC on port %d", server.rest_url, server.grpc_port)
            server.app.in_flight = InFlight(options.max_requests_inflight, options.max_mutating_requests_inflight)
            ready["is"] = ""
            async with asyncio.TaskGroup() as group:
                group.create_task(_outlive(server))
                group.create_task(tls.keep_fresh(context, files))
                group.create_task(service(server.registry).run())
                group.create_task(repair(server.registry).run())
                if options.pod_routes:
                    group.create_task(PodRoutes(server.registry, options.cluster_cidr).run())
                if isinstance(store, EncryptedStore):
                    group.create_task(store.keep_fresh())
                if options.etcd_compaction_interval:
                    group.create_task(compact_forever(etcd, options.etcd_compaction_interval))
                try:
                    await asyncio.Event().wait()
                finally:
                    ready["is"] = "shutting down"
                    server.state.stopping = True
                    if options.shutdown_delay_duration:
                        await asyncio.sleep(options.shutdown_delay_duration)
    finally:
        if kubelets is not None:
            await kubelets.close()
        await store.close()
        if auditor is not None:
            auditor.close()


async def _outlive(server: Server) -> None:
    """A server whose caches are no longer fed would answer from the past for ever: better to end."""
    assert server.feeding is not None
    await asyncio.shield(server.feeding)
    raise RuntimeError("the watch on the store has ended")


def _store(options: Any) -> EtcdStore:
    secured = EtcdTLS(options.etcd_cafile, options.etcd_certfile or None, options.etcd_keyfile or None)
    endpoints = [endpoint.strip() for endpoint in options.etcd_servers.split(",") if endpoint.strip()]
    return EtcdStore(endpoints, tls=secured if options.etcd_cafile else None)


def _auditor(options: Any) -> Auditor | None:
    """Nothing is recorded without a policy, as upstream."""
    if not options.audit_policy_file or not options.audit_log_path:
        return None
    sink = LogFile(
        options.audit_log_path,
        max_size=options.audit_log_maxsize * 2**20,
        max_backups=options.audit_log_maxbackup,
        max_age=options.audit_log_maxage * 86_400.0,
    )
    return Auditor(policy.load(options.audit_policy_file), sink)


def _kubelets(options: Any) -> Kubelets | None:
    if not options.kubelet_client_certificate:
        return None
    files = tls.Files(options.kubelet_client_certificate, options.kubelet_client_key, options.client_ca_file)
    return Kubelets(tls.grpc_channel_credentials(files))


def _secure(registry: Registry, options: Any) -> Security:
    def listed(text: str) -> list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]

    return secure(
        registry,
        SecurityOptions(
            authorization_modes=listed(options.authorization_mode),
            issuer=options.service_account_issuer,
            key_files=listed(options.service_account_key_file),
            signing_key_file=options.service_account_signing_key_file,
            token_file=options.token_auth_file,
            audiences=listed(options.api_audiences),
        ),
    )


async def _roles(registry: Registry) -> None:
    await reconcile(registry)


def _kubernetes_service(options: Any) -> Any:
    network = ipaddress.ip_network(options.service_cluster_ip_range)

    def make(registry: Registry) -> bootstrap.KubernetesService:
        return bootstrap.KubernetesService(
            registry,
            service_ip=str(network[1]),
            address=options.advertise_address or _own_address(),
            port=options.secure_port,
        )

    return make


def _own_address() -> str:
    """The address of the interface with the default route; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737): never routed, only looked up
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


if __name__ == "__main__":
    main(
        "apiserver",
        run,
        OPTIONS,
        health_port=10255,
        help="Serve the Kubernetes API, with its state in etcd.",
        new_loop=loops.serving,
    )
