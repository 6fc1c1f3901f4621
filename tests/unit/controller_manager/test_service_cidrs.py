"""ServiceCIDRs: ready when they come, and gone only when nobody needs them."""

from __future__ import annotations

import pytest

from api.types.meta_v1 import ObjectMeta
from api.types.networking_v1 import IPAddress, ServiceCIDR, ServiceCIDRSpec
from client.fake import FakeApi
from controller_manager.network import service_cidrs
from controller_manager.network.service_cidrs import FINALIZER, MANAGED_BY, MANAGER, ServiceCIDRController
from tests.support.controllers import running


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_cidrs, "GRACE_SECONDS", 0.0)


def cidr(name: str, *cidrs: str) -> ServiceCIDR:
    return ServiceCIDR(metadata=ObjectMeta(name=name), spec=ServiceCIDRSpec(cidrs=list(cidrs)))


def address(name: str, manager: str = MANAGER) -> IPAddress:
    return IPAddress(metadata=ObjectMeta(name=name, labels={MANAGED_BY: manager}))


def ready(api: FakeApi, name: str) -> tuple[str, str]:
    found = api.one(ServiceCIDR, name)
    assert found is not None
    [condition] = found.status.conditions or ()
    return condition.status, condition.reason


async def test_a_new_one_is_ready_and_held() -> None:
    api = FakeApi(cidr("a", "10.0.0.0/24"))
    async with running(api, ServiceCIDRController):
        found = api.one(ServiceCIDR, "a")
        assert found is not None and found.metadata.finalizers == [FINALIZER]
        assert ready(api, "a") == ("True", "")
        written = len(api.writes())
        await api.patch(ServiceCIDR, "a", {"metadata": {"labels": {"x": "y"}}})
        assert len(api.writes()) == written + 1


async def test_one_whose_addresses_are_in_use_stays_until_they_are_free() -> None:
    api = FakeApi(cidr("a", "10.0.0.0/24"), cidr("b", "10.1.0.0/24"), address("10.0.0.7"), address("10.1.0.7", "me"))
    async with running(api, ServiceCIDRController) as harness:
        await api.delete(ServiceCIDR, "a")
        await api.delete(ServiceCIDR, "b")  # whose address is no Service's
        await harness.settle()
        assert ready(api, "a") == ("False", "Terminating")
        assert api.one(ServiceCIDR, "b") is None
        await api.delete(IPAddress, "10.0.0.7")
        await harness.settle()
        assert api.one(ServiceCIDR, "a") is None


async def test_one_may_go_when_another_holds_its_addresses() -> None:
    api = FakeApi(cidr("a", "10.0.0.0/24"), address("10.0.0.7"))
    async with running(api, ServiceCIDRController) as harness:
        await api.delete(ServiceCIDR, "a")
        await harness.settle()
        assert ready(api, "a") == ("False", "Terminating")
        await api.create(cidr("wider", "10.0.0.0/16"))
        await harness.settle()
        assert api.one(ServiceCIDR, "a") is None
        assert ready(api, "wider") == ("True", "")


async def test_servers_get_time_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_cidrs, "GRACE_SECONDS", 3600.0)
    api = FakeApi(cidr("a", "10.0.0.0/24"))
    async with running(api, ServiceCIDRController) as harness:
        await api.delete(ServiceCIDR, "a")
        await harness.settle()
        assert api.one(ServiceCIDR, "a") is not None
