"""Ownership through the server's faces: which writes are tracked as whose, and what apply does beyond the core."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import StatusError
from api.types.core_v1 import ConfigMap
from api.types.meta_v1 import ObjectMeta
from apiserver.auth import Attributes, Decision
from apiserver.server import Server
from client.api import Api
from tests.support.rest import Rest

CONFIGS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
HPAS = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

YAML = """
# a comment, so that it is no JSON
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data:
  time: "10:30"
  plain: x
"""

# Ten million times x in a few hundred bytes.
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(6)
)


async def apply(rest: Rest, path: str, body: Any, manager: str, *, code: int = 200, **query: str) -> dict[str, Any]:
    options = "".join(f"&{name}={value}" for name, value in query.items())
    return await rest.call("PATCH", f"{path}?fieldManager={manager}{options}", body, code=code, Content_Type=APPLY)


def managers(obj: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for entry in obj["metadata"].get("managedFields", ()):
        sub = f"/{entry['subresource']}" if "subresource" in entry else ""
        found[f"{entry['manager']} {entry['operation']}{sub} {entry['apiVersion']}"] = entry["fieldsV1"]
    return found


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }


async def test_yaml_is_applied_as_go_reads_it(rest: Rest) -> None:
    made = await apply(rest, f"{CONFIGS}/a", YAML, "me", code=201)
    assert made["data"] == {"time": "10:30", "plain": "x"}
    unquoted = YAML.replace('"10:30"', "10:30")
    assert (await apply(rest, f"{CONFIGS}/a", unquoted, "me"))["data"]["time"] == "10:30"
    number = await apply(rest, f"{CONFIGS}/a", YAML.replace('"10:30"', "2026-01-01"), "me")
    assert number["data"]["time"] == "2026-01-01"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "error decoding YAML: yaml: "),
        ("[]", "error decoding YAML: error unmarshaling JSON: json: cannot unmarshal array into Go value of type"),
        ("kind: ConfigMap", "invalid object type: /, Kind=ConfigMap"),
        ("- " * 50_000, "error decoding YAML: yaml: exceeded max depth"),
        ("[" * 50_000, "error decoding YAML: yaml: exceeded max depth"),
        ('{"a":' * 50_000, "error decoding YAML: yaml: exceeded max depth"),
        (BOMB, "error decoding YAML: yaml: document contains excessive aliasing"),
        (
            YAML.replace("plain: x", "plain: 1"),
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.plain: expected string, "
            "got &value.valueUnstructured{Value:1}",
        ),
        (YAML.replace("name: a", "name: b"), "the name of the object (b) does not match the name on the URL (a)"),
        (YAML.replace("name: a", ""), "the name of the object (a based on URL) was undeterminable: name must be"),
    ],
)
async def test_what_cannot_be_applied(rest: Rest, body: str, message: str) -> None:
    refused = await apply(rest, f"{CONFIGS}/a", body, "me", code=400)
    assert refused["reason"] == "BadRequest"
    assert message in refused["message"]


async def test_yaml_that_is_nested_too_deeply_takes_nothing_down(rest: Rest) -> None:
    refused = await rest.call("POST", CONFIGS, "a: " + "[" * 100_000, code=400, Content_Type="application/yaml")
    assert refused["message"] == "error converting YAML to JSON: yaml: exceeded max depth of 500"
    deep = '{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"r"},"revision":1,"data":%s}'
    path = "/apis/apps/v1/namespaces/default/controllerrevisions"
    nested = deep % ('{"a":' * 600 + "1" + "}" * 600)
    answer = await rest.call("PATCH", f"{path}/r?fieldManager=me", nested, Content_Type=APPLY)
    assert answer.get("code", 200) < 500


async def test_repeated_keys_are_refused_or_warned_about(rest: Rest) -> None:
    twice = YAML + "  plain: y\n"
    refused = await apply(rest, f"{CONFIGS}/a", twice, "me", code=400, fieldValidation="Strict")
    assert refused["message"] == (
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 9: key "plain" already set in map'
    )
    await apply(rest, f"{CONFIGS}/a", twice, "me", code=201, fieldValidation="Warn")
    assert 'key \\"plain\\" already set in map' in rest.last.headers["Warning"]


async def test_a_dry_run_shows_ownership_and_keeps_nothing(rest: Rest) -> None:
    made = await apply(rest, f"{CONFIGS}/a", YAML, "me", code=201, dryRun="All")
    assert "me Apply v1" in managers(made)
    await rest.call("GET", f"{CONFIGS}/a", code=404)


async def test_applying_something_new_needs_the_right_to_create(rest: Rest, api_server: Server) -> None:
    asked: list[Attributes] = []

    class NoCreates:
        def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
            asked.append(attributes)
            return Decision.NO_OPINION, ""

    api_server.registry.services.authorizer = NoCreates()
    refused = await apply(rest, f"{CONFIGS}/a", YAML, "me", code=403)
    assert 'cannot create resource "configmaps" in API group "" in the namespace "default"' in refused["message"]
    assert [(a.verb, a.name) for a in asked] == [("create", "a")]


async def test_managers_are_named_by_the_user_agent(rest: Rest) -> None:
    body = {"metadata": {"name": "a"}, "data": {"k": "v"}}
    made = await rest.call("POST", CONFIGS, body, code=201, User_Agent="curl/8.5 (linux)")
    assert list(managers(made)) == ["curl Update v1"]
    assert managers(made)["curl Update v1"] == {"f:data": {".": {}, "f:k": {}}}


@pytest.mark.parametrize(
    ("manager", "message"),
    [
        ("x" * 129, "fieldManager: Too long: may not be more than 128 bytes"),
        ("a%09b", 'fieldManager: Invalid value: "a\\tb": invalid character U+0009 (at position 1)'),
    ],
)
async def test_names_that_no_manager_may_have(rest: Rest, manager: str, message: str) -> None:
    refused = await rest.call("POST", f"{CONFIGS}?fieldManager={manager}", {"metadata": {"name": "a"}}, code=422)
    assert message in refused["message"]


async def test_nobody_owns_what_the_server_adds(rest: Rest) -> None:
    made = await rest.call("POST", f"{DEPLOYMENTS}?fieldManager=me", deployment(), code=201)
    owned = managers(made)["me Update apps/v1"]
    assert "f:status" not in owned and set(owned) == {"f:spec"}
    # Defaults are set before ownership is: they are the creator's, as upstream.
    assert {"f:replicas", "f:strategy", "f:revisionHistoryLimit"} <= set(owned["f:spec"])


async def test_a_write_that_changes_nothing_is_none(rest: Rest) -> None:
    made = await apply(rest, f"{DEPLOYMENTS}/web", deployment(), "me", code=201)
    again = await rest.call("PUT", f"{DEPLOYMENTS}/web?fieldManager=other", made, code=200)
    assert again == made
    # 1 and 1000m are the same once stored, so not even the time changes.
    limited = deployment()
    container = limited["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"cpu": "1"}}
    first = await apply(rest, f"{DEPLOYMENTS}/web", limited, "me")
    container["resources"] = {"limits": {"cpu": "1000m"}}
    assert await apply(rest, f"{DEPLOYMENTS}/web", limited, "me") == first


async def test_clients_that_know_nothing_of_managers_delete_none(rest: Rest) -> None:
    made = await apply(rest, f"{CONFIGS}/a", YAML, "me", code=201)
    body = {**made, "metadata": {"name": "a"}, "data": {**made["data"], "more": "1"}}
    put = await rest.call("PUT", f"{CONFIGS}/a?fieldManager=old", body, code=200)
    assert managers(put)["me Apply v1"] == {"f:data": {"f:plain": {}, "f:time": {}}}
    assert managers(put)["old Update v1"] == {"f:data": {"f:more": {}}}


@pytest.mark.parametrize("value", [[], [{}]])
async def test_managers_can_be_forgotten(rest: Rest, value: list[Any]) -> None:
    await apply(rest, f"{CONFIGS}/a", YAML, "me", code=201)
    body = {"metadata": {"managedFields": value}}
    forgotten = await rest.call("PATCH", f"{CONFIGS}/a", body, code=200, Content_Type=MERGE)
    assert "managedFields" not in forgotten["metadata"]
    # Nobody is tracked until the next apply.
    plain = await rest.call("PATCH", f"{CONFIGS}/a", {"data": {"n": "1"}}, code=200, Content_Type=MERGE)
    assert "managedFields" not in plain["metadata"]
    begun = await apply(rest, f"{CONFIGS}/a", YAML, "me")
    assert set(managers(begun)) == {"me Apply v1", "before-first-apply Update v1"}


async def test_managers_can_be_rewritten_but_not_broken(rest: Rest) -> None:
    made = await apply(rest, f"{CONFIGS}/a", YAML, "me", code=201)
    (entry,) = made["metadata"]["managedFields"]
    entry["manager"] = "you"
    body = {"metadata": {"managedFields": [entry]}}
    renamed = await rest.call("PATCH", f"{CONFIGS}/a", body, code=200, Content_Type=MERGE)
    assert list(managers(renamed)) == ["you Apply v1"]
    entry["fieldsV1"] = {"nonsense": {}}
    kept = await rest.call("PATCH", f"{CONFIGS}/a", body, code=200, Content_Type=MERGE)
    assert kept["metadata"]["managedFields"] == renamed["metadata"]["managedFields"]


async def test_status_has_managers_of_its_own(rest: Rest) -> None:
    await apply(rest, f"{DEPLOYMENTS}/web", deployment(), "me", code=201)
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    status = {**body, "status": {"conditions": [{"type": "Available", "status": "True"}]}, "spec": {"replicas": 9}}
    done = await apply(rest, f"{DEPLOYMENTS}/web/status", status, "controller")
    assert done["spec"]["replicas"] == 1
    key = 'k:{"type":"Available"}'
    assert managers(done)["controller Apply/status apps/v1"] == {
        "f:status": {"f:conditions": {key: {".": {}, "f:status": {}, "f:type": {}}}}
    }
    missing = await apply(rest, f"{DEPLOYMENTS}/none/status", {**status, "metadata": {"name": "none"}}, "c", code=404)
    assert missing["message"] == 'deployments.apps "none" not found'


async def test_scaling_moves_the_ownership_of_replicas(rest: Rest) -> None:
    await apply(rest, f"{DEPLOYMENTS}/web", deployment(replicas=1), "me", code=201)
    scale = {"spec": {"replicas": 3}}
    await rest.call("PATCH", f"{DEPLOYMENTS}/web/scale?fieldManager=hpa", scale, code=200, Content_Type=MERGE)
    found = managers(await rest.call("GET", f"{DEPLOYMENTS}/web", code=200))
    assert "f:replicas" not in found["me Apply apps/v1"]["f:spec"]
    assert found["hpa Update/scale apps/v1"] == {"f:spec": {"f:replicas": {}}}
    applied = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    refused = await apply(rest, f"{DEPLOYMENTS}/web/scale", applied, "ssa", code=409)
    assert refused["message"] == (
        'Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using autoscaling/v1: '
        ".spec.replicas"
    )
    done = await apply(rest, f"{DEPLOYMENTS}/web/scale", applied, "ssa", force="true")
    assert done["spec"]["replicas"] == 5
    found = managers(await rest.call("GET", f"{DEPLOYMENTS}/web", code=200))
    assert found["ssa Apply/scale apps/v1"] == {"f:spec": {"f:replicas": {}}}
    assert not [name for name in found if name.startswith("hpa")]


async def test_a_manager_is_asked_in_the_version_it_wrote_in(rest: Rest) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    old = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": reference, "maxReplicas": 3}}
    old["spec"]["targetCPUUtilizationPercentage"] = 50  # type: ignore[index]
    await rest.call("POST", f"{HPAS.format('v1')}?fieldManager=old", old, code=201)
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]
    new = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}}
    config = {**new, "spec": {"maxReplicas": 3, "metrics": metrics}}
    refused = await apply(rest, f"{HPAS.format('v2')}/h", config, "new", code=409)
    assert "autoscaling/v1: .spec.targetCPUUtilizationPercentage" in refused["message"]
    done = await apply(rest, f"{HPAS.format('v2')}/h", config, "new", force="true")
    found = managers(done)
    assert "f:targetCPUUtilizationPercentage" not in found["old Update autoscaling/v1"]["f:spec"]
    assert found["new Apply autoscaling/v2"] == {"f:spec": {"f:maxReplicas": {}, "f:metrics": {}}}


async def test_a_binding_has_no_manager_and_a_resize_only_owns_resources(rest: Rest) -> None:
    container = {"name": "c", "image": "x:1", "resources": {"requests": {"cpu": "2"}}}
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [container]}}
    made = await rest.call("POST", f"{PODS}?fieldManager=me", pod, code=201)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    await rest.call("POST", f"{PODS}/p/binding", binding, code=201)
    bound = await rest.call("GET", f"{PODS}/p", code=200)
    assert bound["spec"]["nodeName"] == "n1"
    assert managers(bound) == managers(made)
    patch = {"spec": {"containers": [{"name": "c", "image": "y:1", "resources": {"requests": {"cpu": "1"}}}]}}
    strategic = "application/strategic-merge-patch+json"
    done = await rest.call("PATCH", f"{PODS}/p/resize?fieldManager=vpa", patch, code=200, Content_Type=strategic)
    owned = managers(done)["vpa Update/resize v1"]
    assert owned == {
        "f:spec": {
            "f:containers": {'k:{"name":"c"}': {"f:resources": {"f:requests": {"f:cpu": {}}}}},
        }
    }


async def test_components_are_known_by_their_certificate_and_apply_over_grpc(api: Api) -> None:
    made = await api.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"k": "v"}))
    assert [e.manager for e in made.metadata.managed_fields or ()] == ["apiserver"]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "w"}}
    with pytest.raises(StatusError) as caught:
        await api.patch(ConfigMap, "a", config, namespace="default", type="apply", field_manager="me")
    assert caught.value.code == 409
    assert caught.value.causes[0].field == ".data.k"
    done = await api.patch(ConfigMap, "a", config, namespace="default", type="apply", field_manager="me", force=True)
    assert done.data == {"k": "w"}
    with pytest.raises(StatusError, match="fieldManager: Required value: is required for apply patch"):
        await api.patch(ConfigMap, "a", config, namespace="default", type="apply")
