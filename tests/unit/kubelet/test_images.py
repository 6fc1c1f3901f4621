"""Images: names, credentials, shared pulls and backoff."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from api import codec
from api.types.core_v1 import Container, Event, Pod, Secret
from api.types.meta_v1 import ObjectMeta
from client.events import EventRecorder
from client.fake import FakeApi
from kubelet.cri import ImageError, ImageStatus
from kubelet.images import Images, credentials, default_policy, normalize
from kubelet.objects import Objects
from tests.support.runtime import FakeRuntime


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("web", "web:latest"),
        ("localhost:5000/web", "localhost:5000/web:latest"),
        ("localhost:5000/a/b:1.2-x", "localhost:5000/a/b:1.2-x"),
        ("web@sha256:" + "a" * 64, "web@sha256:" + "a" * 64),
        ("registry.example/web:1@sha256:" + "a" * 64, "registry.example/web:1@sha256:" + "a" * 64),
    ],
)
def test_names_get_their_default_tag(image: str, expected: str) -> None:
    assert normalize(image) == expected


@pytest.mark.parametrize("image", ["", "a b", "web:", "Web/App:1:2", "web@sha256:xyz", "-x"])
def test_names_that_are_none(image: str) -> None:
    with pytest.raises(ImageError) as refused:
        normalize(image)
    assert refused.value.reason == "InvalidImageName"
    assert f'couldn\'t parse image name "{image}": invalid reference format' in str(refused.value)


def test_default_policies() -> None:
    assert default_policy("web") == default_policy("web:latest") == "Always"
    assert default_policy("web:1") == default_policy("web@sha256:aa") == "IfNotPresent"


def pull_secret(name: str, auths: dict[str, dict[str, str]]) -> Secret:
    text = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return Secret(metadata=ObjectMeta(name=name, namespace="default"), data={".dockerconfigjson": text})


def test_credentials_are_those_of_the_registry_most_specific_first() -> None:
    encoded = base64.b64encode(b"eve:pw:with:colons").decode()
    secret = pull_secret(
        "s",
        {
            "https://localhost:5000": {"auth": encoded},
            "localhost:5000/team": {"username": "team", "password": "x"},
            "other.example": {"username": "no", "password": "no"},
            "*.example": {"username": "wild", "password": "card"},
            "https://index.docker.io/v1/": {"username": "hub", "password": "h"},
        },
    )
    assert [(a.username, a.password) for a in credentials("localhost:5000/team/web:1", [secret])] == [
        ("team", "x"),
        ("eve", "pw:with:colons"),
    ]
    assert [a.username for a in credentials("localhost:5000/web:1", [secret])] == ["eve"]
    assert [a.username for a in credentials("a.example/web", [secret])] == ["wild"]
    assert [a.username for a in credentials("web:1", [secret])] == ["hub"]


def test_a_broken_secret_is_no_credential() -> None:
    broken = Secret(metadata=ObjectMeta(name="s", namespace="default"), data={".dockerconfigjson": "bm90IGpzb24="})
    assert credentials("localhost:5000/web", [broken]) == []


POD = codec.from_dict(Pod, {"metadata": {"name": "web", "namespace": "default", "uid": "u"}})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_one_pull_serves_all_who_wait() -> None:
    runtime, api = FakeRuntime(), FakeApi()
    runtime.registry["web:1"] = ImageStatus("sha256:1", ("web:1",), (), 7, "")
    gate = runtime.hold("pull_image")
    async with Objects(api, lambda _: None) as objects:
        images = Images(runtime, objects, EventRecorder(api, "kubelet"))
        container = Container(name="c", image="web:1", image_pull_policy="Always")
        waiting = [asyncio.create_task(images.ensure(POD, container)) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        gate.set()
        assert [image.id for image in await asyncio.gather(*waiting[1:])] == ["sha256:1", "sha256:1"]
    assert runtime.called("pull_image") == ["web:1"]


async def test_a_failed_pull_is_held_back_longer_and_longer() -> None:
    runtime, api, clock = FakeRuntime(), FakeApi(), Clock()
    async with Objects(api, lambda _: None) as objects:
        recorder = EventRecorder(api, "kubelet")
        images = Images(runtime, objects, recorder, clock)
        container = Container(name="c", image="gone:1")

        async def reason() -> tuple[str, str]:
            with pytest.raises(ImageError) as refused:
                await images.ensure(POD, container)
            return refused.value.reason, str(refused.value)

        first = await reason()
        assert first[0] == "ErrImagePull"
        assert await reason() == (
            "ImagePullBackOff",
            f'Back-off pulling image "gone:1": ErrImagePull: {first[1]}',
        )
        clock.now += 10
        assert (await reason())[0] == "ErrImagePull"
        clock.now += 10
        assert (await reason())[0] == "ImagePullBackOff"
        assert images.retry_after(POD, container.image or "") == 10
        runtime.registry["gone:1"] = ImageStatus("sha256:1", ("gone:1",), (), 7, "")
        clock.now += 10
        assert (await images.ensure(POD, container)).id == "sha256:1"
        await recorder.flush()
    assert 'Back-off pulling image "gone:1"' in {e.message for e in api.objects(Event)}
