"""Which images go, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubelet import cri
from kubelet.runtime.image_gc import FreeDiskSpaceFailed, ImageGC


def image(name: str, size: int = 100) -> cri.ImageStatus:
    return cri.ImageStatus(
        id=f"sha256:{name}", repo_tags=(f"docker.io/library/{name}:1",), repo_digests=(), size=size, user=""
    )


class Node:
    """A runtime with images, one disk of 1000 bytes, and a clock."""

    def __init__(self, *names: str) -> None:
        self.images = [image(name) for name in ("pause", *names)]
        self.used: set[str] = set()
        self.removed: list[str] = []
        self.stubborn: set[str] = set()
        self.other = 0
        self.now = 1_000.0
        self.gc = ImageGC(
            self,  # type: ignore[arg-type]
            image_dir=Path("/"),
            sandbox_image="docker.io/library/pause:1",
            clock=lambda: self.now,
            usage=lambda path: (1000, 1000 - self.other - sum(item.size for item in self.images)),
        )

    async def list_images(self) -> list[cri.ImageStatus]:
        return list(self.images)

    async def list_pods(self) -> dict[str, cri.PodSnapshot]:
        containers: list[Any] = [
            cri.ContainerStatus(
                *("c", "s", "u", "n", 0, cri.State.EXITED, "", "", "", 0, "", "", "", f"sha256:{name}", {}, {})
            )
            for name in self.used
        ]
        return {"u": cri.PodSnapshot("u", "ns", "n", (), tuple(containers))}

    async def remove_image(self, image_id: str) -> None:
        if image_id in self.stubborn:
            raise cri.RuntimeFailure("conflict: image is being used")
        self.removed.append(image_id.removeprefix("sha256:"))
        self.images = [item for item in self.images if item.id != image_id]


async def aged(node: Node) -> Node:
    """Every image has been known for ten minutes; `b` was used after `a`, `c` before both."""
    for name in ("c", "a", "b"):
        node.used = {name}
        await node.gc.collect()
        node.now += 300
    node.used = set()
    return node


async def test_nothing_goes_below_the_high_threshold() -> None:
    node = await aged(Node("a", "b", "c"))
    node.other = 440  # 84 %
    assert await node.gc.collect() == 0
    assert node.removed == []


async def test_the_least_recently_used_go_until_the_low_threshold() -> None:
    node = await aged(Node("a", "b", "c"))
    node.other = 560  # 96 %: 160 to free for 80 %
    assert await node.gc.collect() == 200
    assert node.removed == ["c", "a"]


async def test_what_is_used_young_or_the_sandbox_stays() -> None:
    node = await aged(Node("a", "b"))
    node.used = {"a"}
    node.images.append(image("young"))
    node.other = 560
    with pytest.raises(FreeDiskSpaceFailed) as caught:
        await node.gc.collect()
    assert node.removed == ["b"]
    assert str(caught.value) == (
        "Failed to garbage collect required amount of images. "
        "Attempted to free 160 bytes, but only found 100 bytes eligible to free."
    )


async def test_an_image_that_will_not_go_does_not_stop_the_round() -> None:
    node = await aged(Node("a", "b", "c"))
    node.stubborn = {"sha256:c"}
    node.other = 560
    assert await node.gc.collect() == 200
    assert node.removed == ["a", "b"]


async def test_under_pressure_all_unused_go() -> None:
    node = await aged(Node("a", "b", "c"))
    node.used = {"b"}
    assert await node.gc.remove_unused() == 200
    assert node.removed == ["c", "a"]
