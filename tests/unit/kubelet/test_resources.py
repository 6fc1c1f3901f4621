"""Requests and limits to cgroups, OOM scores, security contexts, and the backoff between tries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api import codec
from api.types.core_v1 import Pod
from kubelet import resources, security
from kubelet.backoff import Backoff, duration
from kubelet.cri import ImageStatus
from kubelet.environment import ConfigError

GUARANTEED = {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"}}
BURSTABLE = {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}


def pod(*requirements: dict[str, Any], **spec: Any) -> Pod:
    containers = [{"name": f"c{i}", "resources": r} for i, r in enumerate(requirements)]
    metadata = {"name": "web", "namespace": "default", "uid": "u"}
    return codec.from_dict(Pod, {"metadata": metadata, "spec": {"containers": containers, **spec}})


@pytest.mark.parametrize(
    ("requirements", "parent"),
    [
        ((GUARANTEED,), "/kubepods/podu"),
        ((GUARANTEED, BURSTABLE), "/kubepods/burstable/podu"),
        (({},), "/kubepods/besteffort/podu"),
    ],
)
def test_pods_live_in_the_cgroup_of_their_class(requirements: tuple[dict[str, Any], ...], parent: str) -> None:
    assert resources.cgroup_parent(pod(*requirements)) == parent


def test_a_pod_is_bounded_only_if_all_its_containers_are() -> None:
    whole = resources.pod_resources(pod(GUARANTEED, GUARANTEED))
    assert (whole.cpu_shares, whole.cpu_quota, whole.memory_limit) == (1024, 100_000, 128 << 20)
    part = resources.pod_resources(pod(GUARANTEED, BURSTABLE))
    assert (part.cpu_shares, part.cpu_quota, part.memory_limit) == (614, None, (2 << 30) + (64 << 20))
    assert resources.pod_resources(pod({})).cpu_shares == 2


def test_container_limits() -> None:
    made = pod({"limits": {"cpu": "200m", "memory": "20Mi"}})
    limits = resources.container_resources(made, made.spec.containers[0], memory_capacity=8 << 30)
    assert limits.cpu_shares == 204, "a limit without a request is the request"
    assert limits.cpu_quota == 20_000
    assert limits.memory_limit == 20 << 20


@pytest.mark.parametrize(
    ("requirements", "spec", "score"),
    [
        (GUARANTEED, {}, -997),
        ({}, {}, 1000),
        (BURSTABLE, {}, 875),
        ({"requests": {"cpu": "1"}}, {}, 999),
        ({"requests": {"memory": "8Gi", "cpu": "1"}}, {}, 3),
        ({}, {"priority": 2_000_001_000}, -997),
    ],
)
def test_oom_scores(requirements: dict[str, Any], spec: dict[str, Any], score: int) -> None:
    made = pod(requirements, **spec)
    assert resources.oom_score_adj(made, made.spec.containers[0], 8 << 30) == score


def image(user: str = "") -> ImageStatus:
    return ImageStatus("sha256:1", ("app:1",), (), 1, user)


def secure(own: dict[str, Any] | None = None, shared: dict[str, Any] | None = None, user: str = "") -> Any:
    made = pod({}, securityContext=shared or {})
    container = codec.to_dict(made.spec.containers[0]) | {"securityContext": own or {}}
    made.spec.containers = codec.from_dict(Pod, {"spec": {"containers": [container]}}).spec.containers
    return security.security_config(made, made.spec.containers[0], image(user), Path("/nowhere"))


def test_the_containers_own_context_wins() -> None:
    made = secure({"runAsUser": 7}, {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [5]})
    assert made.user == "7:3000"
    assert made.supplemental_groups == (5, 2000)
    assert secure({"runAsUser": 0}).user == "0"
    assert secure(shared={"runAsGroup": 9}, user="1234:1").user == "1234:9"


def test_profiles_and_privileges() -> None:
    assert secure().seccomp_profile == "unconfined"
    assert secure({"seccompProfile": {"type": "RuntimeDefault"}}).seccomp_profile == ""
    assert secure({"allowPrivilegeEscalation": False}).no_new_privileges
    assert secure({"privileged": True, "seccompProfile": {"type": "RuntimeDefault"}}).seccomp_profile == "unconfined"
    assert secure({"procMount": "Unmasked"}).masked_paths == ()
    with pytest.raises(ConfigError, match="cannot load seccomp profile"):
        secure({"seccompProfile": {"type": "Localhost", "localhostProfile": "x.json"}})


@pytest.mark.parametrize(
    ("own", "user", "message"),
    [
        ({}, "", "container has runAsNonRoot and image will run as root"),
        ({}, "0:5", "container has runAsNonRoot and image will run as root"),
        ({}, "www", "container has runAsNonRoot and image has non-numeric user (www)"),
        ({"runAsUser": 0}, "7", "container's runAsUser breaks non-root policy"),
    ],
)
def test_who_must_not_be_root(own: dict[str, Any], user: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        secure({"runAsNonRoot": True, **own}, user=user)
    assert str(refused.value).startswith(message)
    assert '(pod: "web_default(u)", container: c0)' in str(refused.value)
    assert secure({"runAsNonRoot": True}, user="1000").user == ""


def test_backoff_grows_to_its_maximum_and_is_forgotten() -> None:
    now = [1000.0]
    backoff = Backoff(10, 300, lambda: now[0])
    assert backoff.remaining("x") == 0
    assert [backoff.next("x") for _ in range(7)] == [10, 20, 40, 80, 160, 300, 300]
    now[0] += 100
    assert backoff.remaining("x") == 200
    assert backoff.remaining("x", since=now[0]) == 300
    now[0] += 501
    assert backoff.remaining("x", since=now[0]) == 0, "ten quiet minutes forgive everything"
    assert backoff.next("x") == 10
    now[0] += 601
    backoff.collect()
    assert backoff.delay("x") == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (0.5, "0.5s"), (3661, "1h1m1s")]
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
