"""Volumes and claims: binding, provisioning, release, protection, growth."""

from __future__ import annotations

from typing import Any

from api.types.core_v1 import (
    EphemeralVolumeSource,
    HostPathVolumeSource,
    Node,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    TypedLocalObjectReference,
    Volume,
    VolumeResourceRequirements,
)
from api.types.meta_v1 import LabelSelector, ObjectMeta
from api.types.storage_v1 import StorageClass
from client.fake import FakeApi
from controller_manager.storage.binder import PersistentVolumeBinder
from controller_manager.storage.ephemeral import EphemeralVolumeController
from controller_manager.storage.expansion import ExpansionController
from controller_manager.storage.local_provisioner import PROVISIONER
from controller_manager.storage.protection import StorageProtectionController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import pod


def volume(name: str, size: str = "1Gi", policy: str = "Retain", **spec: Any) -> PersistentVolume:
    labels = spec.pop("labels", None)
    spec = {"access_modes": ["ReadWriteOnce"], "storage_class_name": "manual"} | spec
    return PersistentVolume(
        metadata=ObjectMeta(name=name, labels=labels),
        spec=PersistentVolumeSpec(
            capacity={"storage": size},
            persistent_volume_reclaim_policy=policy,
            host_path=HostPathVolumeSource(path="/x"),
            **spec,
        ),
    )


def claim(name: str = "data", size: str = "1Gi", **spec: Any) -> PersistentVolumeClaim:
    spec = {"access_modes": ["ReadWriteOnce"], "storage_class_name": "manual"} | spec
    resources = VolumeResourceRequirements(requests={"storage": size})
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PersistentVolumeClaimSpec(resources=resources, **spec),
    )


def local_class(default: bool = True) -> StorageClass:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else None
    return StorageClass(
        metadata=ObjectMeta(name="local", annotations=annotations),
        provisioner=PROVISIONER,
        reclaim_policy="Delete",
        volume_binding_mode="WaitForFirstConsumer",
        allow_volume_expansion=True,
    )


def user(name: str = "p", claim_name: str = "data", node: str | None = "n1") -> Pod:
    made = pod(name, node=node)
    source = PersistentVolumeClaimVolumeSource(claim_name=claim_name)
    made.spec.volumes = [Volume(name="data", persistent_volume_claim=source)]
    return made


def bound(api: FakeApi, name: str = "data") -> tuple[str | None, str | None]:
    found = api.one(PersistentVolumeClaim, name, "default")
    assert found is not None
    return found.status.phase, found.spec.volume_name


def get(api: FakeApi, name: str) -> PersistentVolume:
    found = api.one(PersistentVolume, name)
    assert found is not None
    return found


async def test_a_claim_gets_the_smallest_volume_that_suits() -> None:
    api = FakeApi(
        volume("large", "10Gi"),
        volume("small", "500Mi"),
        volume("fits", "2Gi"),
        volume("other-class", "1Gi", storage_class_name="x"),
        volume("other-mode", "1Gi", access_modes=["ReadOnlyMany"]),
        claim(),
    )
    async with running(api, PersistentVolumeBinder):
        assert bound(api) == ("Bound", "fits")
        found = api.one(PersistentVolumeClaim, "data", "default")
        assert found is not None and found.status.capacity == {"storage": "2Gi"}
        assert found.status.access_modes == ["ReadWriteOnce"]
        annotations = found.metadata.annotations or {}
        assert annotations["pv.kubernetes.io/bind-completed"] == "yes"
        fits = get(api, "fits")
        assert fits.status.phase == "Bound" and fits.spec.claim_ref is not None
        assert fits.spec.claim_ref.uid == found.metadata.uid
        assert get(api, "large").status.phase == "Available"


async def test_selectors_and_reservations_count() -> None:
    reserved = volume("reserved", claim_ref=ObjectReference(namespace="default", name="mine"))
    api = FakeApi(
        reserved,
        volume("labelled", labels={"tier": "gold"}),
        claim("mine"),
        claim("gold", selector=LabelSelector(match_labels={"tier": "gold"})),
        claim("silver", selector=LabelSelector(match_labels={"tier": "silver"})),
    )
    async with running(api, PersistentVolumeBinder):
        assert bound(api, "mine") == ("Bound", "reserved")
        assert bound(api, "gold") == ("Bound", "labelled")
        assert bound(api, "silver") == ("Pending", None)


async def test_two_claims_never_share_a_volume() -> None:
    api = FakeApi(volume("one"), *(claim(f"c{i}") for i in range(5)))
    async with running(api, PersistentVolumeBinder):
        assert sorted(str(bound(api, f"c{i}")[0]) for i in range(5)) == ["Bound"] + ["Pending"] * 4


async def test_a_volume_asked_for_by_name_has_to_suit() -> None:
    api = FakeApi(volume("small", "1Gi"), claim(size="5Gi", volume_name="small"))
    async with running(api, PersistentVolumeBinder) as harness:
        assert bound(api)[0] == "Pending"
        message = 'VolumeMismatch: Cannot bind to requested volume "small": requested PV is too small'
        assert harness.events() == [message]


async def test_a_released_volume_is_kept_and_a_lost_one_is_said() -> None:
    api = FakeApi(volume("v"), claim())
    async with running(api, PersistentVolumeBinder) as harness:
        await api.delete(PersistentVolumeClaim, "data", namespace="default")
        await harness.settle()
        assert get(api, "v").status.phase == "Released"
        await api.create(claim())
        await harness.settle()
        assert bound(api)[0] == "Pending"
    api = FakeApi(volume("v"), claim())
    async with running(api, PersistentVolumeBinder) as harness:
        await api.delete(PersistentVolume, "v")
        await harness.settle()
        assert bound(api)[0] == "Lost"
        words = "ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        assert words in harness.events()


async def test_a_directory_is_provisioned_where_the_first_pod_is() -> None:
    node = Node(metadata=ObjectMeta(name="n1", labels={"kubernetes.io/hostname": "n1"}))
    api = FakeApi(local_class(), node, claim(storage_class_name=None))
    async with running(api, PersistentVolumeBinder) as harness:
        assert bound(api) == ("Pending", None)
        words = "WaitForFirstConsumer: waiting for first consumer to be created before binding"
        assert words in harness.events()
        found = api.one(PersistentVolumeClaim, "data", "default")
        assert found is not None and found.spec.storage_class_name == "local"
        api.add(user())
        await harness.settle()
        phase, name = bound(api)
        assert phase == "Bound" and name == f"pvc-{found.metadata.uid}"
        made = get(api, name)
        required: Any = made.spec.node_affinity and made.spec.node_affinity.required
        assert required.node_selector_terms[0].match_expressions[0].values == ["n1"]
        assert made.spec.persistent_volume_reclaim_policy == "Delete"
        assert harness.events("ProvisioningSucceeded")
        await api.delete(PersistentVolumeClaim, "data", namespace="default")
        await harness.settle()
        going = api.one(PersistentVolume, name)
        assert going is not None and going.metadata.deletion_timestamp


def tasks(api: FakeApi) -> dict[str, Pod]:
    return {p.metadata.name or "": p for p in api.objects(Pod) if p.metadata.namespace == "kube-system"}


async def end(api: FakeApi, task: Pod, phase: str) -> None:
    name, patch = task.metadata.name or "", {"status": {"phase": phase}}
    await api.patch(Pod, name, patch, namespace="kube-system", subresource="status")


async def test_a_directory_goes_before_its_volume_and_is_copied_before_its_clone() -> None:
    node = Node(metadata=ObjectMeta(name="n1", labels={"kubernetes.io/hostname": "n1"}))
    api = FakeApi(local_class(), node, claim(storage_class_name=None), user())
    async with running(api, PersistentVolumeBinder, local_volume_image="tools") as harness:
        name = bound(api)[1] or ""
        source = TypedLocalObjectReference(kind="PersistentVolumeClaim", name="data")
        api.add(claim("copy", storage_class_name="local", data_source=source))
        api.add(user("q", "copy"))
        await harness.settle()
        assert bound(api, "copy")[0] == "Pending"
        (copying,) = tasks(api).values()
        assert copying.spec.node_name == "n1"
        assert f"cp -a /volumes/{name}_default_data " in (copying.spec.containers[0].command or [])[-1]
        await end(api, copying, "Succeeded")
        await harness.settle()
        assert bound(api, "copy")[0] == "Bound"
        assert not tasks(api)
        await api.delete(PersistentVolumeClaim, "data", namespace="default")
        await harness.settle()
        assert get(api, name).status.phase == "Released"
        assert not get(api, name).metadata.deletion_timestamp
        (removing,) = tasks(api).values()
        assert removing.spec.containers[0].command == ["rm", "-rf", f"/volumes/{name}_default_data"]
        await end(api, removing, "Succeeded")
        await harness.settle()
        assert get(api, name).metadata.deletion_timestamp
        assert not tasks(api)


async def test_other_provisioners_are_waited_for() -> None:
    foreign = StorageClass(metadata=ObjectMeta(name="manual"), provisioner="example.com/nfs")
    api = FakeApi(foreign, claim())
    async with running(api, PersistentVolumeBinder) as harness:
        found = api.one(PersistentVolumeClaim, "data", "default")
        assert found is not None
        assert (found.metadata.annotations or {})["volume.kubernetes.io/storage-provisioner"] == "example.com/nfs"
        assert len(harness.events("ExternalProvisioning")) == 1


async def test_claims_in_use_and_bound_volumes_are_protected() -> None:
    api = FakeApi(volume("v"), claim(), user())
    async with running(api, PersistentVolumeBinder, StorageProtectionController) as harness:
        await api.delete(PersistentVolumeClaim, "data", namespace="default")
        await api.delete(PersistentVolume, "v")
        await harness.settle()
        assert bound(api)[0] == "Bound" and get(api, "v").metadata.deletion_timestamp
        await api.delete(Pod, "p", namespace="default", grace_period_seconds=0)
        await harness.settle()
        assert api.one(PersistentVolumeClaim, "data", "default") is None
        assert api.one(PersistentVolume, "v") is None


async def test_a_claim_grows_if_its_class_allows() -> None:
    node = Node(metadata=ObjectMeta(name="n1"))
    api = FakeApi(local_class(), node, claim(storage_class_name="local"), user())
    async with running(api, PersistentVolumeBinder, ExpansionController) as harness:
        change = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        await api.patch(PersistentVolumeClaim, "data", change, namespace="default")
        await harness.settle()
        found = api.one(PersistentVolumeClaim, "data", "default")
        assert found is not None and found.status.capacity == {"storage": "3Gi"}
        assert get(api, found.spec.volume_name or "").spec.capacity == {"storage": "3Gi"}


async def test_ephemeral_volumes_get_a_claim_that_belongs_to_the_pod() -> None:
    made = pod("p")
    template = PersistentVolumeClaimTemplate(spec=claim().spec)
    made.spec.volumes = [Volume(name="scratch", ephemeral=EphemeralVolumeSource(volume_claim_template=template))]
    api = FakeApi(made)
    async with running(api, EphemeralVolumeController):
        found = api.one(PersistentVolumeClaim, "p-scratch", "default")
        assert found is not None and (found.metadata.owner_references or [])[0].name == "p"
