"""Extending a real API server: a kopf operator with a webhook, and another API server behind the aggregator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from deploy import pki
from tests.support.etcd import running_etcd
from tests.support.processes import ApiServerProcess
from tests.support.webhook import hooks

HERE = Path(__file__).parent
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "kopfexamples.kopf.dev"},
    "spec": {
        "scope": "Namespaced",
        "group": "kopf.dev",
        "names": {"kind": "KopfExample", "plural": "kopfexamples", "singular": "kopfexample"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            name: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                            for name in ("spec", "status")
                        },
                    }
                },
            }
        ],
    },
}
OBJECTS = ("kopf.dev", "v1", "default", "kopfexamples")


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[ApiServerProcess, Path]]:
    """With the front proxy's certificate, and a kubeconfig of its administrator."""
    keys = tmp_path / "pki"
    await asyncio.to_thread(pki.make, keys)
    async with running_etcd() as etcd:
        process = ApiServerProcess(
            tmp_path,
            keys,
            etcd.endpoint,
            f"--proxy-client-cert-file={keys / 'front-proxy-client.crt'}",
            f"--proxy-client-key-file={keys / 'front-proxy-client.key'}",
            f"--requestheader-client-ca-file={keys / 'front-proxy-ca.crt'}",
        )
        await process.start()
        try:
            config = yaml.safe_load((keys / "admin.conf").read_text())
            config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{process.rest_port}"
            (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
            yield process, tmp_path
        finally:
            process.kill()


def client(directory: Path) -> kubernetes.client.ApiClient:
    return kubernetes.config.new_client_from_config(str(directory / "kubeconfig"))


async def until(probe: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """What the probe answers once it is as wanted."""
    while True:
        with contextlib.suppress(kubernetes.client.ApiException):
            found = await asyncio.to_thread(probe)
            if wanted(found):
                return found
        await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_a_kopf_operator_runs_unmodified(server: tuple[ApiServerProcess, Path]) -> None:
    _, directory = server
    connection = client(directory)
    api = kubernetes.client.CustomObjectsApi(connection)
    definitions = kubernetes.client.ApiextensionsV1Api(connection)
    await asyncio.to_thread(definitions.create_custom_resource_definition, DEFINITION)
    await until(lambda: api.list_namespaced_custom_object(*OBJECTS), lambda found: found["items"] == [])
    async with hooks(directory):  # for its certificate
        pass
    environment = dict(
        os.environ,
        KUBECONFIG=str(directory / "kubeconfig"),
        HOOK_CERTIFICATE=str(directory / "hook.crt"),
        HOOK_KEY=str(directory / "hook.key"),
    )
    with (directory / "kopf.log").open("wb") as log:
        operator = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-m", "kopf", "run", "-n", "default", str(HERE / "operator.py")],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        admission = kubernetes.client.AdmissionregistrationV1Api(connection)
        name = "auto.kopf.dev"
        await until(lambda: admission.read_mutating_webhook_configuration(name), lambda found: bool(found.webhooks))
        await until(lambda: admission.read_validating_webhook_configuration(name), lambda found: bool(found.webhooks))
        body = {"apiVersion": "kopf.dev/v1", "kind": "KopfExample", "metadata": {"name": "one"}, "spec": {"field": "v"}}
        made = await asyncio.to_thread(api.create_namespaced_custom_object, *OBJECTS, body)
        assert made["spec"]["mutated"] is True
        with pytest.raises(kubernetes.client.ApiException, match="no bad ones") as refused:
            bad = {**body, "metadata": {"name": "two"}, "spec": {"field": "bad"}}
            await asyncio.to_thread(api.create_namespaced_custom_object, *OBJECTS, bad)
        assert refused.value.status == 422

        def status() -> Any:
            return api.get_namespaced_custom_object(*OBJECTS, "one").get("status", {})

        found = await until(status, lambda value: value.get("seen") == "v")
        assert found["created"] == {"message": "hello"}
        change = {"spec": {"field": "w"}}
        await asyncio.to_thread(api.patch_namespaced_custom_object, *OBJECTS, "one", change)
        await until(status, lambda value: value.get("seen") == "w")
        await asyncio.to_thread(api.delete_namespaced_custom_object, *OBJECTS, "one")
        await until(lambda: api.list_namespaced_custom_object(*OBJECTS), lambda value: value["items"] == [])
    except TimeoutError:
        print((directory / "kopf.log").read_text())
        raise
    finally:
        operator.terminate()
        await asyncio.to_thread(operator.wait, 30)


def own_address() -> str:
    """One that endpoints may have: not of the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@pytest.mark.timeout(60)
async def test_an_aggregated_server_is_told_who_asks(server: tuple[ApiServerProcess, Path]) -> None:
    _, directory = server
    seen: list[tuple[str, str, bool]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        trusted = bool(request.transport.get_extra_info("peercert"))
        seen.append((request.path, request.headers.get("X-Remote-User", ""), trusted))
        if request.path.endswith("/v1"):
            listed = {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder"}
            resources = [{**listed, "verbs": ["get", "list"]}]
            return web.json_response({"kind": "APIResourceList", "apiVersion": "v1", "resources": resources})
        return web.json_response({"kind": "FlunderList", "apiVersion": "wardle.example.com/v1", "items": []})

    async with hooks(directory) as hook:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "pki/front-proxy-ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(directory / "hook.crt", directory / "hook.key")
        assert hook.bundle
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    connection = client(directory)
    try:
        core = kubernetes.client.CoreV1Api(connection)
        service = {"metadata": {"name": "wardle"}, "spec": {"ports": [{"port": 443, "targetPort": port}]}}
        await asyncio.to_thread(core.create_namespaced_service, "default", service)
        piece = {
            "metadata": {"name": "wardle", "labels": {"kubernetes.io/service-name": "wardle"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [own_address()]}],
            "ports": [{"port": port}],
        }
        slices = kubernetes.client.DiscoveryV1Api(connection)
        await asyncio.to_thread(slices.create_namespaced_endpoint_slice, "default", piece)
        registration = kubernetes.client.ApiregistrationV1Api(connection)
        spec = {
            "group": "wardle.example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "wardle", "namespace": "default"},
        }
        name = "v1.wardle.example.com"
        await asyncio.to_thread(registration.create_api_service, {"metadata": {"name": name}, "spec": spec})

        def available() -> Any:
            return {c.type: c.status for c in registration.read_api_service(name).status.conditions or ()}

        await until(available, lambda found: found == {"Available": "True"})
        custom = kubernetes.client.CustomObjectsApi(connection)
        listed = await asyncio.to_thread(
            custom.list_namespaced_custom_object, "wardle.example.com", "v1", "default", "flunders"
        )
        assert listed["kind"] == "FlunderList"
        assert seen[-1] == ("/apis/wardle.example.com/v1/namespaces/default/flunders", "kubernetes-admin", True)
        groups = await asyncio.to_thread(kubernetes.client.ApisApi(connection).get_api_versions)
        assert "wardle.example.com" in {group.name for group in groups.groups}
        core_services = await asyncio.to_thread(registration.read_api_service, "v1.apps")
        assert core_services.status.conditions[0].reason == "Local"
        trust = await asyncio.to_thread(
            core.read_namespaced_config_map, "extension-apiserver-authentication", "kube-system"
        )
        assert trust.data["requestheader-allowed-names"] == '["front-proxy-client"]'
    finally:
        connection.close()
        await runner.cleanup()
