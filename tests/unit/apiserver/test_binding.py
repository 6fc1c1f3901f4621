"""What a binding does to a pod, and what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api import errors
from api.codec import from_dict
from api.types.core_v1 import Node, Pod, ServiceAccount
from apiserver.admission.plugins import plugins
from client.api import Api
from tests.support.api import running

POD = {
    "metadata": {"name": "web", "namespace": "default", "labels": {"topology.kubernetes.io/zone": "mine"}},
    "spec": {"containers": [{"name": "c", "image": "x"}]},
}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with running(admission=plugins) as (_, client):
        account = {"metadata": {"name": "default", "namespace": "default"}}
        await client.create(from_dict(ServiceAccount, account))
        labels = {"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "other": "x"}
        await client.create(from_dict(Node, {"metadata": {"name": "n1", "labels": labels}}))
        yield client


async def test_a_bound_pod_has_its_node_its_topology_and_its_old_generation(api: Api) -> None:
    created = await api.create(from_dict(Pod, POD))
    await api.patch(Pod, "web", {"status": {"nominatedNodeName": "n0"}}, namespace="default", subresource="status")
    await api.bind(created, "n1")
    bound = await api.get(Pod, "web", namespace="default")
    assert (bound.spec.node_name, bound.metadata.generation) == ("n1", 1)
    assert bound.metadata.labels == {"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"}
    assert bound.status.nominated_node_name is None
    [condition] = [c for c in bound.status.conditions or [] if c.type == "PodScheduled"]
    assert (condition.status, condition.reason, condition.observed_generation) == ("True", None, None)


async def test_a_pod_is_bound_once(api: Api) -> None:
    created = await api.create(from_dict(Pod, POD))
    await api.bind(created, "n1")
    with pytest.raises(errors.StatusError) as refused:
        await api.bind(created, "n2")
    assert refused.value.code == 409
    assert refused.value.message == (
        'Operation cannot be fulfilled on pods/binding "web": pod web is already assigned to node "n1"'
    )
