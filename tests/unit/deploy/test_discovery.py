"""Joining with a token alone: what is believed of a cluster, and what is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509

from api import detached_jws
from deploy import pki
from deploy.addons import cluster_info
from deploy.node import discovery
from tests.support.ports import free_port

ID, SECRET = "abc123", "0123456789abcdef"
TOKEN = f"{ID}.{SECRET}"


class Cluster:
    """A server with a CA of its own that answers for `cluster-info`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        authority = pki.Authority(directory, "ca", "cluster")
        authority.issue(pki.Leaf(file="server", common_name="kube-apiserver", hosts=("127.0.0.1",)))
        self.ca = authority.certificate_file.read_bytes()
        self.data = {"kubeconfig": cluster_info.kubeconfig(self.ca, "https://elsewhere:6443")}
        self.answers = 0
        self.url = ""

    @property
    def pin(self) -> str:
        return discovery.pin_of(x509.load_pem_x509_certificate(self.ca))

    def sign(self, secret: str = SECRET) -> None:
        self.data[f"jws-kubeconfig-{ID}"] = detached_jws.sign(self.data["kubeconfig"], ID, secret)

    async def answer(self, _: web.Request) -> web.Response:
        self.answers += 1
        return web.json_response({"kind": "ConfigMap", "data": self.data})

    async def serve(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get(discovery.PATH, self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        self.url = f"https://127.0.0.1:{port}"
        return runner


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(discovery, "RETRY", 0.01)
    made = Cluster(tmp_path)
    runner = await made.serve()
    yield made
    await runner.cleanup()


async def test_the_ca_is_found_with_the_token(cluster: Cluster) -> None:
    cluster.sign()
    assert await discovery.find_ca(cluster.url, TOKEN, [f"sha256:{'0' * 64}", cluster.pin]) == cluster.ca
    assert cluster.answers == 2, "the second time over a connection that the CA vouches for"
    assert await discovery.find_ca(cluster.url, TOKEN, []) == cluster.ca


async def test_a_signature_is_waited_for_but_not_for_ever(cluster: Cluster) -> None:
    with pytest.raises(TimeoutError, match=f'could not find a JWS signature .* for token ID "{ID}"'):
        await discovery.find_ca(cluster.url, TOKEN, [cluster.pin], timeout=0)
    searching = asyncio.create_task(discovery.find_ca(cluster.url, TOKEN, [cluster.pin]))
    while cluster.answers < 3:
        await asyncio.sleep(0.01)
    cluster.sign()
    assert await searching == cluster.ca


async def test_who_does_not_know_the_token_is_not_believed(cluster: Cluster) -> None:
    cluster.sign("another-secret!!")
    with pytest.raises(discovery.Untrusted, match="failed to verify JWS signature"):
        await discovery.find_ca(cluster.url, TOKEN, [cluster.pin])


async def test_another_ca_than_the_one_that_was_named_is_not_believed(cluster: Cluster) -> None:
    cluster.sign()
    with pytest.raises(discovery.Untrusted, match=f'none of the public keys "{cluster.pin}" are pinned'):
        await discovery.find_ca(cluster.url, TOKEN, [f"sha256:{'0' * 64}"])


async def test_a_server_that_its_own_cluster_info_does_not_vouch_for_is_not_believed(
    cluster: Cluster, tmp_path: Path
) -> None:
    other = pki.Authority(tmp_path, "other", "another").certificate_file.read_bytes()
    cluster.data["kubeconfig"] = cluster_info.kubeconfig(other, cluster.url)
    cluster.sign()
    with pytest.raises(discovery.Untrusted, match="is not of the cluster"):
        await discovery.find_ca(cluster.url, TOKEN, [])


@pytest.mark.parametrize("pin", ["", "sha256:00", "md5:" + "0" * 32])
async def test_what_is_no_hash_is_refused_before_anything_is_asked(cluster: Cluster, pin: str) -> None:
    with pytest.raises(ValueError, match="is not of the form sha256"):
        await discovery.find_ca(cluster.url, TOKEN, [pin])
    assert cluster.answers == 0
