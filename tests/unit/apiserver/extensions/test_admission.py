"""Admission that the cluster's users decide: webhooks and policies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from apiserver.admission.policies import MutatingPolicies, ValidatingPolicies
from apiserver.admission.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from apiserver.strategy import Context
from tests.support.api import running
from tests.support.rest import Rest
from tests.support.webhook import Hooks, hooks, patched
from tests.unit.apiserver.extensions.crontab import DEFINITIONS, condition, gone

MAPS = "/api/v1/namespaces/default/configmaps"
GROUP = "/apis/admissionregistration.k8s.io/v1"


@pytest_asyncio.fixture
async def rest() -> AsyncIterator[Rest]:
    plugins = [
        MutatingPolicies(),
        MutatingAdmissionWebhook(),
        ValidatingPolicies(),
        ValidatingAdmissionWebhook(),
    ]
    async with running(admission=lambda registry: plugins) as (server, _), aiohttp.ClientSession() as session:
        yield Rest(session, server.rest_url)


@pytest_asyncio.fixture
async def hook(tmp_path: Path) -> AsyncIterator[Hooks]:
    async with hooks(tmp_path) as found:
        yield found


def webhook(config: dict[str, Any], *operations: str, **more: Any) -> dict[str, Any]:
    rule = {"operations": list(operations), "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    return {
        "name": "hook.example.com",
        "clientConfig": config,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }


async def configure(rest: Rest, kind: str, *webhooks: dict[str, Any]) -> None:
    document = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": "hooks"},
        "webhooks": list(webhooks),
    }
    await rest.call("POST", f"{GROUP}/{kind.lower()}webhookconfigurations", document, code=201)


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_a_mutating_webhook_changes_the_object(rest: Rest, hook: Hooks) -> None:
    change = {"op": "add", "path": "/metadata/labels", "value": {"hooked": "yes"}}
    config = hook.config("/mutate", lambda request: {**patched(change), "warnings": ["from the hook"]})
    condition_ = {"name": "not-skip", "expression": "object.metadata.name != 'skip'"}
    await configure(rest, "Mutating", webhook(config, "CREATE", matchConditions=[condition_]))
    made = await rest.call("POST", MAPS, config_map(), code=201)
    assert made["metadata"]["labels"] == {"hooked": "yes"}
    assert rest.last.headers["Warning"] == '299 - "from the hook"'
    request = hook.seen[0]
    assert request["operation"] == "CREATE"
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["userInfo"]["username"] == "system:apiserver"
    assert request["options"]["kind"] == "CreateOptions"
    assert "labels" not in (await rest.call("POST", MAPS, config_map("skip"), code=201))["metadata"]


async def test_a_validating_webhook_refuses(rest: Rest, hook: Hooks) -> None:
    config = hook.config("/validate", lambda request: {"allowed": False, "status": {"message": "no", "code": 403}})
    silent = hook.config("/silent", lambda request: {"allowed": request["operation"] != "DELETE"})
    await configure(rest, "Validating", webhook(config, "UPDATE"), webhook(silent, "DELETE", name="d.example.com"))
    made = await rest.call("POST", MAPS, config_map(), code=201)
    refused = await rest.call("PUT", f"{MAPS}/a", made, code=403)
    assert refused["message"] == 'admission webhook "hook.example.com" denied the request: no'
    refused = await rest.call("DELETE", f"{MAPS}/a", code=400)
    assert refused["message"] == 'admission webhook "d.example.com" denied the request without explanation'
    assert hook.seen[-1]["oldObject"]["metadata"]["name"] == "a"
    assert hook.seen[-1]["object"] is None


async def test_a_webhook_that_does_not_answer(rest: Rest, hook: Hooks) -> None:
    nowhere = {"service": {"name": "nope", "namespace": "default", "path": "/x"}}
    ignored = webhook(nowhere, "CREATE", name="i.example.com", failurePolicy="Ignore")
    await configure(rest, "Validating", ignored, webhook(nowhere, "UPDATE"))
    made = await rest.call("POST", MAPS, config_map(), code=201)
    failed = await rest.call("PUT", f"{MAPS}/a", made, code=500)
    assert failed["message"] == (
        'Internal error occurred: failed calling webhook "hook.example.com": failed to call webhook: Post '
        '"https://nope.default.svc:443/x?timeout=10s": service "nope" not found'
    )


async def test_connections_are_admitted_too(rest: Rest, hook: Hooks) -> None:
    config = hook.config("/connect", lambda request: {"allowed": False, "status": {"message": "no shells"}})
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}
    await configure(rest, "Validating", webhook(config, rules=[rule]))
    refused = await rest.call("POST", "/api/v1/namespaces/default/pods/p/exec?command=sh&stdin=true", code=400)
    assert refused["message"] == 'admission webhook "hook.example.com" denied the request: no shells'
    request = hook.seen[0]
    assert (request["operation"], request["subResource"], request["name"]) == ("CONNECT", "exec", "p")
    assert request["kind"]["kind"] == "PodExecOptions"
    assert (request["object"]["command"], request["object"]["stdin"]) == (["sh"], True)


async def test_webhooks_see_a_change_that_came_after_them(rest: Rest, hook: Hooks) -> None:
    def first(request: dict[str, Any]) -> dict[str, Any]:
        labels = request["object"]["metadata"].get("labels") or {}
        return patched({"op": "add", "path": "/metadata/annotations", "value": {"saw": ",".join(labels)}})

    second = patched({"op": "add", "path": "/metadata/labels", "value": {"late": "yes"}})
    await configure(
        rest,
        "Mutating",
        webhook(hook.config("/first", first), "CREATE", reinvocationPolicy="IfNeeded"),
        webhook(hook.config("/second", lambda request: second), "CREATE", name="second.example.com"),
    )
    made = await rest.call("POST", MAPS, config_map(), code=201)
    assert made["metadata"]["annotations"] == {"saw": "late"}


async def _policy(rest: Rest, kind: str, spec: dict[str, Any], binding: dict[str, Any], name: str = "p") -> None:
    version = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, **spec}
    plural = f"{GROUP}/{kind.lower()}admissionpolic"
    await rest.call("POST", f"{plural}ies", {**version, "kind": f"{kind}AdmissionPolicy", "spec": spec}, code=201)
    document = {**version, "kind": f"{kind}AdmissionPolicyBinding", "spec": {"policyName": name, **binding}}
    await rest.call("POST", f"{plural}ybindings", document, code=201)


async def test_a_policy_with_parameters_refuses(rest: Rest) -> None:
    await rest.call("POST", MAPS, config_map("limits", most="2"), code=201)
    spec = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [{"name": "most", "expression": "int(params.data.most)"}],
        "validations": [
            {
                "expression": "object.data.size() <= variables.most",
                "messageExpression": "'at most ' + string(variables.most) + ' keys'",
            }
        ],
    }
    binding = {
        "validationActions": ["Deny"],
        "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"},
    }
    await _policy(rest, "Validating", spec, binding)
    await rest.call("POST", MAPS, config_map("small", a="1"), code=201)
    refused = await rest.call("POST", MAPS, config_map("big", a="1", b="2", c="3"), code=422)
    assert refused["message"] == (
        "configmaps \"big\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: at most 2 keys"
    )
    await rest.call("DELETE", f"{MAPS}/limits", code=200)
    refused = await rest.call("POST", MAPS, config_map("any"), code=422)
    assert "no params found for policy binding with `Deny` parameterNotFoundAction" in refused["message"]


async def test_a_policy_only_warns_if_its_binding_says_so(rest: Rest) -> None:
    spec = {"validations": [{"expression": "has(object.data)", "message": "no data"}]}
    await _policy(rest, "Validating", spec, {"validationActions": ["Warn"]})
    document = config_map()
    del document["data"]
    await rest.call("POST", MAPS, document, code=201)
    assert rest.last.headers["Warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': no data\""
    )


async def test_a_policy_writes_into_the_audit_log(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: dict[str, str] = {}
    monkeypatch.setattr(Context, "annotate", lambda _, key, value: noted.setdefault(key, value))
    spec = {
        "validations": [{"expression": "true"}, {"expression": "has(object.data)", "message": "no data"}],
        "auditAnnotations": [
            {"key": "name", "valueExpression": "'made ' + object.metadata.name"},
            {"key": "nothing", "valueExpression": "null"},
        ],
    }
    await _policy(rest, "Validating", spec, {"validationActions": ["Audit"]})
    document = config_map()
    del document["data"]
    await rest.call("POST", MAPS, document, code=201)
    failure = json.loads(noted.pop("validation.policy.admission.k8s.io/validation_failure"))
    expected = {"message": "no data", "policy": "p", "binding": "p", "expressionIndex": 1}
    assert failure == [{**expected, "validationActions": ["Audit"]}]
    assert noted == {"p/name": "made a"}


async def test_expressions_are_checked_against_the_kinds_they_are_for(rest: Rest) -> None:
    expressions = [
        "object.spec.replicas > '1'",
        "object.spec.maxRetries < 10 && has(oldObject.metadata.labels.app)",
        "object.spec.template.spec.containers.all(c, c.image != '' && quantity(c.resources.limits['cpu']).sign() > 0)",
        "object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z') && params.any == request.name",
    ]
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": e} for e in expressions]}
    await _policy(rest, "Validating", spec, {"validationActions": ["Deny"]})
    path = f"{GROUP}/validatingadmissionpolicies/p"
    while (status := (await rest.call("GET", path, code=200)).get("status", {})).get("observedGeneration") != 1:
        await asyncio.sleep(0.01)
    assert status["typeChecking"]["expressionWarnings"] == [
        {
            "fieldRef": "spec.validations[0].expression",
            "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to"
            " '(int, string)'\n | object.spec.replicas > '1'\n | .....................^",
        },
        {
            "fieldRef": "spec.validations[1].expression",
            "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'maxRetries'\n"
            f" | {expressions[1]}\n | ...........^",
        },
    ]
    changed = [{"op": "replace", "path": "/spec/validations", "value": [{"expression": "object.spec.replicas > 1"}]}]
    await rest.call("PATCH", path, changed, code=200, Content_Type="application/json-patch+json")
    while (status := (await rest.call("GET", path, code=200))["status"])["observedGeneration"] != 2:
        await asyncio.sleep(0.01)
    assert status["typeChecking"] == {}


@pytest.mark.parametrize(("policy", "seen"), [("Never", "early"), ("IfNeeded", "late")])
async def test_a_mutating_policy_is_asked_again_if_a_later_one_changes_something(
    rest: Rest, policy: str, seen: str
) -> None:
    def mutation(expression: str) -> list[dict[str, Any]]:
        return [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]

    look = "Object{metadata: Object.metadata{annotations: {'saw': 'late' in object.data ? 'late' : 'early'}}}"
    await _policy(rest, "Mutating", {"reinvocationPolicy": policy, "mutations": mutation(look)}, {})
    later = mutation("Object{data: {'late': 'x'}}")
    await _policy(rest, "Mutating", {"reinvocationPolicy": "Never", "mutations": later}, {}, name="q")
    made = await rest.call("POST", MAPS, config_map(), code=201)
    assert made["metadata"]["annotations"] == {"saw": seen}


async def test_a_mutating_policy_changes_the_object(rest: Rest) -> None:
    labels = "Object{metadata: Object.metadata{labels: {'made': 'by policy'}}}"
    data = "[JSONPatch{op: 'add', path: '/data/more', value: object.metadata.name}]"
    mutations = [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": labels}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": data}},
    ]
    await _policy(rest, "Mutating", {"reinvocationPolicy": "Never", "mutations": mutations}, {})
    made = await rest.call("POST", MAPS, config_map(x="1"), code=201)
    assert made["metadata"]["labels"] == {"made": "by policy"}
    assert made["data"] == {"x": "1", "more": "a"}


async def test_a_webhook_converts_between_versions(rest: Rest, hook: Hooks) -> None:
    def convert(request: dict[str, Any]) -> dict[str, Any]:
        converted = []
        for given in request["objects"]:
            made = {**given, "apiVersion": request["desiredAPIVersion"]}
            if made["apiVersion"].endswith("/v2"):
                made["host"], _, made["port"] = made.pop("hostPort").partition(":")
            else:
                made["hostPort"] = f"{made.pop('host')}:{made.pop('port')}"
            converted.append(made)
        return {"convertedObjects": converted, "result": {"status": "Success"}}

    def version(name: str, *fields: str) -> dict[str, Any]:
        schema = {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
        return {"name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": schema}}

    webhook_ = {"conversionReviewVersions": ["v1"], "clientConfig": hook.config("/convert", convert)}
    document = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "hosts.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "hosts", "kind": "Host"},
            "conversion": {"strategy": "Webhook", "webhook": webhook_},
            "versions": [version("v1", "hostPort"), version("v2", "host", "port")],
        },
    }
    await rest.call("POST", DEFINITIONS, document, code=201)
    await condition(rest, "hosts.example.com", "Established", "True")
    first, second = "/apis/example.com/v1/hosts", "/apis/example.com/v2/hosts"
    base = {"kind": "Host", "metadata": {"name": "a"}}
    await rest.call("POST", first, {**base, "apiVersion": "example.com/v1", "hostPort": "h:80"}, code=201)
    seen = await rest.call("GET", f"{second}/a", code=200)
    assert (seen["apiVersion"], seen["host"], seen["port"]) == ("example.com/v2", "h", "80")
    merge = {"Content_Type": "application/merge-patch+json"}
    await rest.call("PATCH", f"{second}/a", '{"port":"81"}', code=200, **merge)
    assert (await rest.call("GET", f"{first}/a", code=200))["hostPort"] == "h:81"
    base["metadata"] = {"name": "b"}
    await rest.call("POST", second, {**base, "apiVersion": "example.com/v2", "host": "g", "port": "9"}, code=201)
    listed = await rest.call("GET", second, code=200)
    assert [item["host"] for item in listed["items"]] == ["h", "g"]
    # Objects that were stored before the storage version changed go with their definition, or when they are told to.
    current = await rest.call("GET", f"{DEFINITIONS}/hosts.example.com", code=200)
    for served in current["spec"]["versions"]:
        served["storage"] = served["name"] == "v2"
    await rest.call("PUT", f"{DEFINITIONS}/hosts.example.com", current, code=200)
    await rest.call("DELETE", f"{second}?fieldSelector=metadata.name=a", code=200)
    assert [item["metadata"]["name"] for item in (await rest.call("GET", second, code=200))["items"]] == ["b"]
    await rest.call("DELETE", f"{DEFINITIONS}/hosts.example.com", code=200)
    await gone(rest, "hosts.example.com")
