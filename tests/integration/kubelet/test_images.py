"""Images: asked for, pulled from a real registry with and without the right password, refused in upstream's words."""

from __future__ import annotations

import asyncio
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubelet import cri
from kubelet.runtime.docker import DockerRuntime
from kubelet.runtime.image_gc import ImageGC
from tests.integration.kubelet.conftest import PAUSE, TOOLBOX, Pods
from tests.support.ports import free_port

# User `puller`, password `s3cret`, in the one format that the registry takes (bcrypt).
HTPASSWD = "puller:$2b$05$tEnAQKKALJF3jy.Ymvz0veLjzg7t7AFpAcX177wnBvo.ieunf7Lca\n"
GOOD = cri.ImageAuth(username="puller", password="s3cret")
BAD = cri.ImageAuth(username="puller", password="wrong")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`localhost:<port>` of a registry that wants a password and has `private/pause:1`."""
    directory = tmp_path_factory.mktemp("registry")
    address = f"localhost:{free_port()}"
    (directory / "htpasswd").write_text(HTPASSWD)
    (directory / "config.yml").write_text(
        "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: /tmp/registry}}\n"
        f"http: {{addr: '127.0.0.1:{address.split(':')[1]}'}}\n"
        "auth: {htpasswd: {realm: test, path: /etc/test/htpasswd}}\n"
    )
    container = docker(
        "run", "-d", "--network=host", f"-v={directory}:/etc/test:ro", "--entrypoint=docker-registry",
        "pykube/registry:latest", "serve", "/etc/test/config.yml",
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{address}/v2/")
            except urllib.error.HTTPError:
                break  # it answers: 401
            except OSError:
                subprocess.run(["sleep", "0.05"], check=True)
        config = directory / "client"
        docker("--config", str(config), "login", "-u", "puller", "-p", "s3cret", address)
        docker("tag", PAUSE, f"{address}/private/pause:1")
        docker("--config", str(config), "push", "-q", f"{address}/private/pause:1")
        docker("rmi", f"{address}/private/pause:1")
        yield address
    finally:
        docker("rm", "-fv", container)


async def test_pull_tries_every_secret_and_reports_the_digest(runtime: DockerRuntime, registry: str) -> None:
    name = f"{registry}/private/pause:1"
    assert await runtime.image(name) is None
    pulled = await runtime.pull_image(name, (BAD, GOOD))
    try:
        assert name in pulled.repo_tags
        digest = next(item for item in pulled.repo_digests if item.startswith(f"{registry}/private/pause@sha256:"))
        await runtime.remove_image(name)
        assert (await runtime.pull_image(digest, (GOOD,))).id == pulled.id
        assert await runtime.image(digest) is not None
    finally:
        for left in (name, digest):
            await runtime.remove_image(left)
    assert await runtime.image(name) is None


@pytest.mark.parametrize("auth", [(), (BAD,)])
async def test_pull_without_the_password_is_refused(
    runtime: DockerRuntime, registry: str, auth: tuple[cri.ImageAuth, ...]
) -> None:
    name = f"{registry}/private/pause:1"
    with pytest.raises(cri.ImageError) as caught:
        await runtime.pull_image(name, auth)
    assert caught.value.reason == "ErrImagePull"
    assert str(caught.value).startswith(f'failed to pull and unpack image "{name}": ')


async def test_pull_of_what_is_not_there(runtime: DockerRuntime, registry: str) -> None:
    with pytest.raises(cri.ImageError, match="not found") as caught:
        await runtime.pull_image(f"{registry}/private/none:1", (GOOD,))
    assert caught.value.reason == "ErrImagePull"


async def test_pull_from_a_registry_that_is_not_there(runtime: DockerRuntime) -> None:
    with pytest.raises(cri.ImageError, match="connection refused") as caught:
        await runtime.pull_image("localhost:1/x:1")
    assert caught.value.reason == "RegistryUnavailable"


async def test_names_that_are_none(runtime: DockerRuntime) -> None:
    for name in ("Upper/case:1", "a b", "x:y:z"):
        with pytest.raises(cri.ImageError, match="couldn't parse image name") as caught:
            await runtime.pull_image(name)
        assert caught.value.reason == "InvalidImageName"


async def test_statuses_of_an_image_pulled_by_digest_show_a_name(pods: Pods, registry: str) -> None:
    pulled = await pods.runtime.pull_image(f"{registry}/private/pause:1", (GOOD,))
    digest = next(item for item in pulled.repo_digests if item.startswith(registry))
    pod = await pods.sandbox()
    config = cri.ContainerConfig(name="c", attempt=0, image_id=pulled.id, image=digest)
    container = await pods.runtime.create_container(pod.sandbox.id, pod.config, config)
    status = await pods.runtime.container(container)
    assert status.image_id == digest
    assert status.image in pulled.repo_tags
    await pods.remove_all()
    await pods.runtime.remove_image(f"{registry}/private/pause:1")
    await pods.runtime.remove_image(digest)


async def test_the_collector_takes_the_unused_and_only_that(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {TOOLBOX}\nLABEL unused=yes\n")
    await asyncio.to_thread(docker, "build", "-q", "-t", "pykube-test/unused:1", str(tmp_path))
    await pods.run()
    now = [1000.0]

    class OnlyOurs:
        """The runtime as it is, with eyes for the images of this test only: others' images are not ours to remove."""

        async def list_images(self) -> list[cri.ImageStatus]:
            names = {"docker.io/pykube-test/unused:1", TOOLBOX, PAUSE}
            return [image for image in await pods.runtime.list_images() if names & set(image.repo_tags)]

        list_pods = staticmethod(pods.runtime.list_pods)
        remove_image = staticmethod(pods.runtime.remove_image)

    collector = ImageGC(
        OnlyOurs(),  # type: ignore[arg-type]
        image_dir=tmp_path,
        sandbox_image=PAUSE,
        clock=lambda: now[0],
        usage=lambda path: (1000, 160),
    )
    assert await collector.collect() == 0  # below the threshold, and too young
    now[0] += 300
    assert await collector.remove_unused() > 0
    assert await pods.runtime.image("pykube-test/unused:1") is None
    assert await pods.runtime.image(TOOLBOX) is not None
    assert await pods.runtime.image(PAUSE) is not None
