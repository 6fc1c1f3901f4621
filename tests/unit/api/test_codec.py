"""Decoding and encoding: what survives, what is dropped, and the words of what is refused."""

from __future__ import annotations

import json

import msgspec
import pytest

from api import codec
from api.errors import StatusError
from api.resources import RESOURCES, find, find_kind, resource_for
from api.types import apps_v1, core_v1, meta_v1


def test_absent_stays_absent_and_empty_structs_survive() -> None:
    given = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "c", "resources": {}}], "volumes": [{"name": "v", "emptyDir": {}}]},
        "status": {},
    }
    pod = codec.decode(json.dumps(given), core_v1.Pod)
    assert pod.spec.volumes is not None and pod.spec.volumes[0].empty_dir is not None
    assert json.loads(codec.encode(pod)) == given


def test_kind_and_required_fields_are_always_encoded() -> None:
    assert json.loads(codec.encode(core_v1.Pod())) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {},
        "spec": {"containers": []},
        "status": {},
    }
    deployment = apps_v1.Deployment()
    deployment.spec.template.spec.containers.append(core_v1.Container(name="c"))
    assert codec.to_dict(deployment)["spec"]["template"]["spec"]["containers"] == [{"name": "c", "resources": {}}]
    condition = core_v1.PodCondition(type="Ready", status="True")
    assert json.loads(codec.encode(condition)) == {"type": "Ready", "status": "True"}


def test_null_means_absent() -> None:
    data = b'{"metadata":{"name":null},"spec":{"containers":null,"nodeSelector":{"a":null}},"kind":null}'
    pod = codec.decode(data, core_v1.Pod)
    assert (pod.kind, pod.spec.containers, pod.spec.node_selector) == ("Pod", [], {"a": ""})


def test_unknown_fields_are_dropped_and_reported() -> None:
    data = b'{"spec":{"containers":[{"name":"a"},{"name":"b","imagee":"x"}],"foo":{"bar":1}},"extra":1}'
    pod, reported = codec.decode_reporting(data, core_v1.Pod)
    assert [c.name for c in pod.spec.containers] == ["a", "b"]
    assert reported == [
        'unknown field "spec.containers[1].imagee"',
        'unknown field "spec.foo"',
        'unknown field "extra"',
    ]


def test_duplicate_fields_are_reported_and_the_last_one_wins() -> None:
    data = b'{"metadata":{"name":"a","labels":{"x":"1","x":"2"}},"spec":{"nodeName":"n1", "nodeName" : "n2"}}'
    pod, reported = codec.decode_reporting(data, core_v1.Pod)
    assert pod.spec.node_name == "n2"
    assert reported == ['duplicate field "metadata.labels.x"', 'duplicate field "spec.nodeName"']
    assert codec.decode_reporting(b'{"metadata": {"name": "a\\":b"}}', core_v1.Pod)[1] == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "three"}},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"kind": "Deployment", "spec": {"template": {"spec": {"containers": {"name": "x"}}}}},
            "json: cannot unmarshal object into Go struct "
            "field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            {"spec": {"replicas": 3000000000}},
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"metadata": {"labels": {"a": 1}}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.a of type string",
        ),
    ],
)
def test_wrong_types_are_refused_in_upstreams_words(document: dict[str, object], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        codec.decode(json.dumps(document), apps_v1.Deployment)
    assert (caught.value.code, caught.value.reason, caught.value.message) == (
        400,
        "BadRequest",
        f'Deployment in version "v1" cannot be handled as a Deployment: {message}',
    )
    with pytest.raises(StatusError, match="cannot unmarshal"):
        codec.from_dict(apps_v1.Deployment, document)


def test_not_json_is_a_bad_request() -> None:
    for data in (b"", b"{", b'{"a', b"nope"):
        with pytest.raises(StatusError) as caught:
            codec.decode(data, core_v1.Pod)
        assert caught.value.code == 400


def test_decode_any_goes_by_api_version_and_kind() -> None:
    assert isinstance(codec.decode_any(b'{"apiVersion":"apps/v1","kind":"ReplicaSet"}'), apps_v1.ReplicaSet)
    with pytest.raises(StatusError, match='no kind "Pod" is registered for version "v2"'):
        codec.decode_any(b'{"apiVersion":"v2","kind":"Pod"}')
    with pytest.raises(StatusError, match="Object 'Kind' is missing"):
        codec.decode_any(b'{"apiVersion":"v2"}')


def test_deepcopy_shares_nothing() -> None:
    pod = core_v1.Pod(metadata=meta_v1.ObjectMeta(labels={"a": "1"}))
    copy = codec.deepcopy(pod)
    assert copy == pod
    assert copy.metadata.labels is not None
    copy.metadata.labels["a"] = "2"
    assert pod.metadata.labels == {"a": "1"}


def test_every_resource_encodes_as_what_it_is() -> None:
    assert len(RESOURCES) > 60
    for resource in RESOURCES:
        made = resource.type()
        assert json.loads(codec.encode(made))["kind"] == resource.kind
        assert resource_for(made) in (resource, find_kind(resource.api_version, resource.kind))
        if resource.list_kind:
            assert resource.list_type is not None
            assert json.loads(codec.encode(resource.list_type()))["items"] == []
        for entry in msgspec.structs.fields(resource.type):
            assert entry.encode_name[0].islower()


def test_resource_table_knows_discovery() -> None:
    pods = find("", "v1", "pods")
    assert pods is not None
    assert (pods.short_names, pods.categories, pods.namespaced) == (("po",), ("all",), True)
    assert set(pods.subresources) >= {"status", "log", "exec", "attach", "portforward", "binding", "eviction"}
    eviction = pods.subresource("eviction")
    assert eviction is not None
    assert (eviction.group, eviction.kind, eviction.verbs) == ("policy", "Eviction", ("create",))
    deployments = find_kind("apps/v1", "Deployment")
    assert deployments is not None and deployments.group_resource == "deployments.apps"
    namespaces = find("", "v1", "namespaces")
    assert namespaces is not None and not namespaces.namespaced and "deletecollection" not in namespaces.verbs
    with pytest.raises(LookupError):
        resource_for(core_v1.Container)


def test_a_wrong_value_before_what_is_no_json_is_bad_json() -> None:
    with pytest.raises(StatusError) as caught:
        codec.decode(b'{"metadata":{"name":1},"data":{"a":\xff}}', core_v1.ConfigMap)
    assert caught.value.code == 400
