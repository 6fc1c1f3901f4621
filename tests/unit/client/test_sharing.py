"""Equal parts of cached objects are one object, and nothing else about them changes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from api import codec
from api.types.core_v1 import Pod
from client.fake import FakeApi
from client.informer import Factory
from client.sharing import Sharing, share

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "owner", "controller": True}


def document(name: str, ready: str = "False", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "labels": {"app": "web"}, "ownerReferences": [OWNER], **metadata},
        "spec": {
            "nodeName": f"node-of-{name}",
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example.com/web:1",
                    "volumeMounts": [{"name": f"token-{name}", "mountPath": "/var/run/secrets"}],
                    "resources": {"requests": {"cpu": "100m"}},
                }
            ],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}], "podIP": f"10.0.0.{name}"},
    }


def pod(name: str, ready: str = "False", **metadata: Any) -> Pod:
    return codec.decode(json.dumps(document(name, ready, **metadata)).encode(), Pod)


def test_two_pods_of_one_template() -> None:
    one, two = pod("1"), pod("2")
    share(two, one)
    assert two == pod("2") and one == pod("1")
    assert two.metadata.labels is one.metadata.labels
    assert two.spec.tolerations is one.spec.tolerations
    mine, other = two.spec.containers[0], one.spec.containers[0]
    assert mine is not other
    assert mine.resources is other.resources and mine.image is other.image
    assert mine.volume_mounts is not None and mine.volume_mounts[0].name == "token-2"


def test_a_new_version_is_the_old_one_but_for_what_changed() -> None:
    sharing, old, other = Sharing(), pod("1"), pod("2", "True")
    sharing.fit(old, None)
    sharing.fit(other, None)
    new = pod("1", "True")
    sharing.fit(new, old)
    assert new == pod("1", "True") and old == pod("1")
    assert new.spec is old.spec
    # what is new of it is as it was with another pod before
    assert new.status is not old.status
    assert new.status.conditions is other.status.conditions


def test_of_no_more_than_so_many_owners_one_is_kept() -> None:
    sharing = Sharing()
    for number in range(2000):
        sharing.fit(pod("1", ownerReferences=[{**OWNER, "uid": str(number)}]), None)
    assert len(sharing._samples) == 1024


async def test_a_compact_cache_tells_the_same_story() -> None:
    api = FakeApi(pod("1"), pod("2"))
    factory = Factory(api, compact=True)
    informer = factory.informer(Pod)
    told: list[tuple[str, str | None]] = []
    informer.add_handler(
        on_add=lambda new: told.append(("add", new.metadata.name)),
        on_update=lambda old, new: told.append((str(old.metadata.labels), str(new.metadata.labels))),
    )
    running = asyncio.create_task(factory.run())
    try:
        await informer.synced()
        found = await api.get(Pod, "2", namespace="d")
        found.metadata.labels = {"app": "other"}
        await api.update(found)
        while len(told) < 3:
            await asyncio.sleep(0)
        assert told == [("add", "1"), ("add", "2"), ("{'app': 'web'}", "{'app': 'other'}")]
        one, two = informer.get("d", "1"), informer.get("d", "2")
        assert one is not None and two is not None
        assert one.metadata.labels == {"app": "web"}
        assert two.spec.tolerations is one.spec.tolerations
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
