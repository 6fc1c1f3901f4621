"""What aggregated servers serve, asked for over the gRPC face."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from apiserver.aggregation.aggregator import Aggregator
from apiserver.auth import User
from apiserver.grpc import remote
from proto import api_pb2

USER = cast(User, SimpleNamespace(name="hpa"))


class Fake:
    """Remembers what it is asked for."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def fetch(self, user: Any, path: str, query: Any) -> bytes:
        self.asked.append((path, dict(query)))
        return self.answer


def listing(resource: str, group: str = "metrics.k8s.io", **more: Any) -> Any:
    named = api_pb2.Resource(group=group, version="v1beta1", resource=resource)
    return api_pb2.ListRequest(resource=named, namespace="shop", **more)


async def test_a_list_is_one_page_of_the_other_servers_items() -> None:
    fake = Fake(b'{"kind": "PodMetricsList", "metadata": {}, "items": [{"metadata": {"name": "a"}}, {"b": 1}]}')
    page = await remote.list_page(cast(Aggregator, fake), USER, listing("pods", label_selector="app=web"))
    assert [item.json for item in page.items] == [b'{"metadata": {"name": "a"}}', b'{"b": 1}']
    assert page.last
    assert fake.asked == [("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods", {"labelSelector": "app=web"})]


async def test_custom_metrics_are_authorized_by_their_resource_and_metric() -> None:
    named = api_pb2.Resource(group="custom.metrics.k8s.io", version="v1beta2", resource="pods")
    request = api_pb2.GetRequest(resource=named, namespace="shop", name="*", subresource="requests")
    fake = Fake(b"{}")
    await remote.get(cast(Aggregator, fake), USER, request)
    assert fake.asked == [("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/requests", {})]
    asked = remote.attributes(USER, "get", request)
    assert (asked.resource, asked.subresource, asked.name, asked.namespace) == ("pods", "requests", "*", "shop")
