"""Admission plugins, in a registry with all of them."""

# ruff: noqa: E501 (messages and documents are easier to compare unbroken)
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from api import errors
from api.errors import StatusError
from api.types.core_v1 import Namespace, Pod, PodSpec, ResourceQuota, ServiceAccount
from api.types.meta_v1 import ObjectMeta
from apiserver.admission.plugins import plugins, plugins_that_ask
from apiserver.admission.pod_security_standards import violations
from apiserver.admission.storage_object_in_use import StorageObjectInUseProtection
from apiserver.auth import Attributes, Decision, User
from apiserver.registry import Registry
from apiserver.resources import strategies
from apiserver.store.memory import MemoryStore
from apiserver.strategy import Context
from tests.unit.apiserver.building import make

NS = "team"


@contextlib.asynccontextmanager
async def registry_on(store: MemoryStore) -> AsyncIterator[Registry]:
    table = strategies()
    made = Registry(store, strategy_for=table.__getitem__)
    made.admission.extend(plugins(made))
    await made.start()
    feeding = asyncio.create_task(made.feed.run())
    try:
        yield made
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def prepared(registry: Registry, **labels: str) -> None:
    meta = ObjectMeta(name=NS, labels={k.replace("_", "-"): v for k, v in labels.items()} or None)
    await registry.create(Namespace(metadata=meta))
    await registry.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace=NS)))


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[Registry]:
    async with registry_on(MemoryStore()) as made:
        await prepared(made)
        yield made


def pod(spec: str = "", name: str = "web") -> Pod:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {NS}}}
spec: {{automountServiceAccountToken: false, containers: [{{name: app, image: x}}]}}
"""
    found: Pod = make(text, f"spec: {{{spec}}}" if spec else None)
    return found


def claim(storage: str = "1Gi", spec: str = "") -> Any:
    return make(f"""
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data, namespace: {NS}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: {storage}}}}}, {spec}}}
""")


async def made(registry: Registry, document: str | dict[str, Any]) -> Any:
    return await registry.create(make(document))


async def refused(awaitable: Any) -> str:
    with pytest.raises(StatusError) as found:
        await awaitable
    assert found.value.code == 403
    return found.value.message


def resources(text: str) -> str:
    return f"containers: [{{name: app, image: x, resources: {text}}}]"


# -- limit ranges -----------------------------------------------------------------------------------------------------

LIMITS = f"""
apiVersion: v1
kind: LimitRange
metadata: {{name: limits, namespace: {NS}}}
spec:
  limits:
  - {{type: Container, default: {{cpu: 500m}}, defaultRequest: {{cpu: 100m, memory: 10Mi}}, max: {{cpu: "1"}},
      min: {{memory: 5Mi}}, maxLimitRequestRatio: {{cpu: 10}}}}
  - {{type: Pod, max: {{cpu: "1500m"}}}}
  - {{type: PersistentVolumeClaim, max: {{storage: 2Gi}}}}
"""


async def test_limit_ranges_give_defaults(registry: Registry) -> None:
    await made(registry, LIMITS)
    await asyncio.sleep(0.05)
    stored = await registry.create(pod())
    assert stored.spec.containers[0].resources.requests == {"cpu": "100m", "memory": "10Mi"}
    assert stored.spec.containers[0].resources.limits == {"cpu": "500m"}
    assert (stored.metadata.annotations or {})["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container app; cpu limit for container app"
    )


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (resources("{limits: {cpu: 2}}"), "[maximum cpu usage per Container is 1, but limit is 2, "),
        (resources("{requests: {memory: 1Mi}}"), "minimum memory usage per Container is 5Mi, but request is 1Mi"),
        (resources("{requests: {cpu: 10m}, limits: {cpu: 500m}}"),
         "cpu max limit to request ratio per Container is 10, but provided ratio is 50.000000"),
        ("containers: [{name: a, image: x, resources: {limits: {cpu: 1}}}, {name: b, image: x, resources: "
         "{limits: {cpu: 1}}}]", "maximum cpu usage per Pod is 1500m, but limit is 2"),
    ],
)  # fmt: skip
async def test_limit_ranges_refuse(registry: Registry, spec: str, problem: str) -> None:
    await made(registry, LIMITS)
    await asyncio.sleep(0.05)
    message = await refused(registry.create(pod(spec)))
    assert message.startswith(f'pods "web" is forbidden: {problem}')


async def test_limit_ranges_hold_claims(registry: Registry) -> None:
    await made(registry, LIMITS)
    await asyncio.sleep(0.05)
    assert await refused(registry.create(claim("3Gi"))) == (
        'persistentvolumeclaims "data" is forbidden: '
        "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
    )
    await registry.create(claim("2Gi"))


# -- quotas -----------------------------------------------------------------------------------------------------------


def quota(hard: str, spec: str = "") -> str:
    return f"{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: quota, namespace: {NS}}}, spec: {{hard: {hard}, {spec}}}}}"


async def used(registry: Registry) -> dict[str, Any]:
    stored = await registry.get(ResourceQuota, "quota", namespace=NS)
    return stored.status.used or {}


async def test_a_quota_counts_and_refuses(registry: Registry) -> None:
    await made(registry, quota("{pods: 2, requests.cpu: 300m}"))
    await asyncio.sleep(0.05)
    assert await refused(registry.create(pod())) == (
        'pods "web" is forbidden: failed quota: quota: must specify requests.cpu for: app'
    )
    await registry.create(pod(resources("{requests: {cpu: 200m}}"), "one"))
    assert await used(registry) == {"pods": "1", "requests.cpu": "200m"}
    assert await refused(registry.create(pod(resources("{requests: {cpu: 200m}}"), "two"))) == (
        'pods "two" is forbidden: exceeded quota: quota, requested: requests.cpu=200m, used: requests.cpu=200m, '
        "limited: requests.cpu=300m"
    )
    await registry.create(pod(resources("{requests: {cpu: 50m}}"), "three"))
    assert await refused(registry.create(pod(resources("{requests: {cpu: 60m}}"), "four"))) == (
        'pods "four" is forbidden: exceeded quota: quota, requested: pods=1,requests.cpu=60m, '
        "used: pods=2,requests.cpu=250m, limited: pods=2,requests.cpu=300m"
    )


async def test_a_new_quota_counts_what_is_already_there(registry: Registry) -> None:
    await registry.create(pod(name="before"))
    await made(registry, quota("{pods: 2, count/pods: 5, count/deployments.apps: 1}"))
    await asyncio.sleep(0.05)
    await registry.create(pod(name="second"))
    assert await used(registry) == {"pods": "2", "count/pods": "2", "count/deployments.apps": "0"}
    await refused(registry.create(pod(name="third")))


async def test_a_quota_is_exact_however_many_servers_write() -> None:
    store = MemoryStore()
    async with registry_on(store) as one, registry_on(store) as two:
        await prepared(one)
        await made(one, quota("{pods: 7}"))
        await asyncio.sleep(0.1)
        results = await asyncio.gather(
            *((one if n % 2 else two).create(pod(name=f"p{n}")) for n in range(24)), return_exceptions=True
        )
        assert sum(isinstance(result, Pod) for result in results) == 7
        assert all(errors.is_forbidden(r) for r in results if isinstance(r, BaseException))
        assert len(await one.list(Pod, namespace=NS)) == 7


async def test_what_was_deleted_is_counted_anew(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    await made(registry, quota("{pods: 1}"))
    await asyncio.sleep(0.05)
    await registry.create(pod(name="one"))
    await registry.delete(Pod, "one", namespace=NS)
    await asyncio.sleep(0.05)
    monkeypatch.setattr("apiserver.admission.resource_quota.SETTLED_SECONDS", 0.0)
    await registry.create(pod(name="two"))
    assert await used(registry) == {"pods": "1"}


async def test_quotas_of_other_kinds_and_scopes(registry: Registry) -> None:
    await made(registry, quota("{services.nodeports: 1, requests.storage: 3Gi, configmaps: 1}"))
    await asyncio.sleep(0.05)
    service = f"{{apiVersion: v1, kind: Service, metadata: {{name: s%d, namespace: {NS}}}, spec: {{type: NodePort, ports: [{{port: 80}}]}}}}"
    await made(registry, service % 1)
    assert "services.nodeports=1" in await refused(made(registry, service % 2))
    await registry.create(claim("2Gi"))
    config = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c%d, namespace: {NS}}}}}"
    await made(registry, config % 1)
    assert "configmaps=1" in await refused(made(registry, config % 2))


async def test_a_scoped_quota_sees_only_its_pods(registry: Registry) -> None:
    await made(registry, quota("{pods: 1}", "scopes: [BestEffort]"))
    await asyncio.sleep(0.05)
    await registry.create(pod(resources("{requests: {cpu: 1m}}"), "burst"))
    await registry.create(pod(name="best"))
    assert await used(registry) == {"pods": "1"}
    await registry.create(pod(resources("{requests: {cpu: 1m}}"), "burst-2"))
    await refused(registry.create(pod(name="best-2")))


# -- pod security -----------------------------------------------------------------------------------------------------

GOOD = """
securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}},
containers: [{name: app, image: x, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]
"""


async def test_an_enforced_level_refuses_pods_and_warns_of_templates() -> None:
    async with registry_on(MemoryStore()) as registry:
        await registry.create(
            Namespace(
                metadata=ObjectMeta(
                    name=NS,
                    labels={
                        "pod-security.kubernetes.io/enforce": "restricted",
                        "pod-security.kubernetes.io/warn": "baseline",
                    },
                )
            )
        )
        await registry.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace=NS)))
        assert await refused(registry.create(pod())) == (
            'pods "web" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
            '(container "app" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities '
            '(container "app" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or '
            'container "app" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "app" must '
            'set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        )
        await registry.create(pod(GOOD))
        deployment = make(f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {NS}}}
spec:
  selector: {{matchLabels: {{a: b}}}}
  template: {{metadata: {{labels: {{a: b}}}}, spec: {{hostNetwork: true, containers: [{{name: app, image: x}}]}}}}
""")
        ctx = registry.context(registry.endpoint(type(deployment)), NS)
        await registry.create(deployment, ctx=ctx)
        assert ctx.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)']


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("hostPID: true, hostIPC: true", "host namespaces (hostPID=true, hostIPC=true)"),
        ("volumes: [{name: a, hostPath: {path: /}}, {name: b, hostPath: {path: /}}]",
         'hostPath volumes (volumes "a", "b")'),
        ("containers: [{name: app, image: x, ports: [{containerPort: 1, hostPort: 80}]}]",
         'hostPort (container "app" uses hostPort 80)'),
        ("containers: [{name: app, image: x, securityContext: {privileged: true}}]",
         'privileged (container "app" must not set securityContext.privileged=true)'),
        ("containers: [{name: app, image: x, securityContext: {capabilities: {add: [NET_ADMIN, CHOWN]}}}]",
         'non-default capabilities (container "app" must not include "NET_ADMIN" in securityContext.capabilities.add)'),
        ("securityContext: {seccompProfile: {type: Unconfined}}",
         'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")'),
        ("securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}", "forbidden sysctls (kernel.msgmax)"),
        ("securityContext: {seLinuxOptions: {type: spc_t, user: u}}",
         'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)'),
        ("containers: [{name: app, image: x, livenessProbe: {tcpSocket: {port: 1, host: 1.2.3.4}}}]",
         'probe or lifecycle host (container "app" uses probe or lifecycle host "1.2.3.4")'),
    ],
)  # fmt: skip
def test_the_baseline(spec: str, found: str) -> None:
    assert violations("baseline", pod(spec).spec, {}) == found
    assert violations("privileged", pod(spec).spec, {}) == ""


def test_restricted() -> None:
    assert violations("restricted", pod(GOOD).spec, {}) == ""
    bad: PodSpec = pod(GOOD).spec
    bad.volumes = pod("volumes: [{name: h, hostPath: {path: /}}]").spec.volumes
    assert bad.security_context is not None
    bad.security_context.run_as_user = 0
    assert violations("restricted", bad, {}) == (
        'restricted volume types (volume "h" uses restricted volume type "hostPath"), '
        "runAsUser=0 (pod must not set runAsUser=0)"
    )


async def test_labels_that_say_nothing_are_refused(registry: Registry) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "strict"}
    with pytest.raises(StatusError) as found:
        await registry.create(Namespace(metadata=ObjectMeta(name="other", labels=labels)))
    assert found.value.code == 422
    assert found.value.message == (
        'Namespace "other" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted"
    )


# -- classes ----------------------------------------------------------------------------------------------------------


def storage_class(name: str, default: bool, more: str = "") -> str:
    mark = f"annotations: {{storageclass.kubernetes.io/is-default-class: '{str(default).lower()}'}}"
    return f"{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {name}, {mark}}}, provisioner: a/b, {more}}}"


async def test_the_default_storage_class(registry: Registry) -> None:
    before = claim()
    before.metadata.name = "before"
    assert (await registry.create(before)).spec.storage_class_name is None
    await made(registry, storage_class("slow", default=False))
    await made(registry, storage_class("fast", default=True))
    await asyncio.sleep(0.05)
    stored = await registry.create(claim())
    assert stored.spec.storage_class_name == "fast"
    assert stored.metadata.finalizers == ["kubernetes.io/pvc-protection"]
    explicit = claim(spec="storageClassName: ''")
    explicit.metadata.name = "none"
    assert (await registry.create(explicit)).spec.storage_class_name == ""


async def test_the_default_ingress_class(registry: Registry) -> None:
    mark = "annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}"
    await made(
        registry,
        f"{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: main, {mark}}}, spec: {{controller: a.b/c}}}}",
    )
    await asyncio.sleep(0.05)
    ingress = await made(
        registry,
        f"{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i, namespace: {NS}}}, spec: {{defaultBackend: {{service: {{name: s, port: {{number: 80}}}}}}}}}}",
    )
    assert ingress.spec.ingress_class_name == "main"


async def test_claims_grow_only_where_their_class_allows_it(registry: Registry) -> None:
    await made(registry, storage_class("fixed", default=True))
    await asyncio.sleep(0.05)
    stored = await registry.create(claim())
    stored.status.phase = "Bound"
    stored = await registry.update(stored, subresource="status")
    stored.spec.resources.requests = {"storage": "2Gi"}
    assert "only dynamically provisioned pvc can be resized" in await refused(registry.update(stored))


async def test_runtime_classes(registry: Registry) -> None:
    await made(
        registry,
        "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: kata}, handler: kata, overhead: {podFixed: "
        "{cpu: 250m}}, scheduling: {nodeSelector: {vm: 'yes'}, tolerations: [{key: vm, operator: Exists}]}}",
    )
    stored = await registry.create(pod("runtimeClassName: kata"))
    assert stored.spec.overhead == {"cpu": "250m"}
    assert stored.spec.node_selector == {"vm": "yes"}
    assert "vm" in {t.key for t in stored.spec.tolerations or ()}
    message = await refused(registry.create(pod("runtimeClassName: none", "two")))
    assert message == 'pods "two" is forbidden: pod rejected: RuntimeClass "none" not found'
    message = await refused(registry.create(pod("overhead: {cpu: 1}", "three")))
    assert message.endswith("Pod Overhead set without corresponding RuntimeClass defined Overhead")


async def test_storage_is_held_while_in_use() -> None:
    async with registry_on(MemoryStore()) as registry:
        registry.admission.append(StorageObjectInUseProtection())
        await prepared(registry)
        stored = await registry.create(claim())
        assert stored.metadata.finalizers == ["kubernetes.io/pvc-protection"]


# -- certificates -----------------------------------------------------------------------------------------------------


class Only:
    """An authorizer that allows one verb on one signer."""

    def __init__(self, verb: str, name: str) -> None:
        self.allowed = (verb, name)

    def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        asked = (attributes.verb, attributes.name)
        return (Decision.ALLOW if asked == self.allowed else Decision.NO_OPINION), ""


@pytest.mark.parametrize("name", ["example.com/signer", "example.com/*"])
async def test_approving_and_signing_take_a_permission_on_the_signer(name: str) -> None:
    from api.types.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestSpec

    request = CertificateSigningRequest(
        metadata=ObjectMeta(name="r"), spec=CertificateSigningRequestSpec(signer_name="example.com/signer")
    )
    for verb, subresource, other in (("approve", "approval", "sign"), ("sign", "status", "approve")):
        registry = Registry(MemoryStore())
        endpoint = registry.endpoint(CertificateSigningRequest)
        ctx = Context(user=User("jane"), registry=registry, resource=endpoint.resource, subresource=subresource)
        signed = CertificateSigningRequest(metadata=request.metadata, spec=request.spec)
        signed.status.certificate = "eA=="

        def chosen(verb: str, ctx: Context) -> Sequence[Any]:
            return [p for p in plugins_that_ask(Only(verb, name)) if p.handles(ctx, "UPDATE")]

        (plugin,) = chosen(verb, ctx)
        await plugin.validate(ctx, "UPDATE", signed, request)
        (plugin,) = chosen(other, ctx)
        message = await refused(plugin.validate(ctx, "UPDATE", signed, request))
        assert message.endswith(f'user not permitted to {verb} requests with signerName "example.com/signer"')
