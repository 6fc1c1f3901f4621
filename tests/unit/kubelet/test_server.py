"""Which container is meant, upstream's words when there is none, and the metric pages."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import StatusError
from api.types.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)
from api.types.meta_v1 import ObjectMeta
from kubelet.server import logs, metrics
from kubelet.server.lookup import container_name
from proto import node_pb2

RUNNING = ContainerState(running=ContainerStateRunning())


def waiting(reason: str) -> ContainerState:
    return ContainerState(waiting=ContainerStateWaiting(reason=reason))


def terminated(container_id: str = "") -> ContainerState:
    return ContainerState(terminated=ContainerStateTerminated(exit_code=1, container_id=container_id))


def pod(*statuses: ContainerStatus, **annotations: str) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="web", namespace="ns", annotations=annotations),
        spec=PodSpec(containers=[Container(name="main"), Container(name="side")]),
        status=PodStatus(container_statuses=list(statuses)),
    )


def status(state: ContainerState, last: ContainerState | None = None, container_id: str = "docker://now") -> Pod:
    return pod(ContainerStatus(name="main", state=state, last_state=last, container_id=container_id))


@pytest.mark.parametrize(
    ("found", "previous", "expected"),
    [
        (status(RUNNING), False, "now"),
        (status(RUNNING, terminated("docker://old")), True, "old"),
        (status(terminated("docker://done")), False, "done"),
        (status(terminated(), terminated("docker://old")), False, "old"),
        (status(waiting("CrashLoopBackOff"), terminated("docker://old")), False, "old"),
        (status(waiting("CrashLoopBackOff"), terminated("docker://old")), True, "old"),
    ],
)
def test_which_run_is_meant(found: Pod, previous: bool, expected: str) -> None:
    assert logs.container_id(found, "main", previous) == expected


@pytest.mark.parametrize(
    ("found", "previous", "message"),
    [
        (status(RUNNING), True, 'previous terminated container "main" in pod "web" not found'),
        (
            status(waiting("ContainerCreating")),
            False,
            'container "main" in pod "web" is waiting to start: ContainerCreating',
        ),
        (
            status(waiting("ErrImagePull")),
            False,
            'container "main" in pod "web" is waiting to start: image can\'t be pulled',
        ),
        (
            status(waiting("ImagePullBackOff")),
            False,
            'container "main" in pod "web" is waiting to start: trying and failing to pull image',
        ),
        (status(terminated()), False, 'container "main" in pod "web" is terminated'),
        (status(ContainerState()), False, 'container "main" in pod "web" is waiting to start - no logs yet'),
        (pod(), False, 'container "main" in pod "web" is not available'),
    ],
)
def test_upstreams_words(found: Pod, previous: bool, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        logs.container_id(found, "main", previous)
    assert (caught.value.message, caught.value.code) == (message, 400)


def test_the_container_meant() -> None:
    assert container_name(pod(), node_pb2.PodRef(container="side")) == "side"
    assert container_name(pod(), node_pb2.PodRef()) == "main"
    annotated = pod(**{"kubectl.kubernetes.io/default-container": "side"})
    assert container_name(annotated, node_pb2.PodRef()) == "side"
    wrong = pod(**{"kubectl.kubernetes.io/default-container": "none"})
    assert container_name(wrong, node_pb2.PodRef()) == "main"


def test_since() -> None:
    assert logs.since_of(node_pb2.LogsRequest()) is None
    assert logs.since_of(node_pb2.LogsRequest(since_time="1970-01-01T00:01:00Z")) == 60
    recent = logs.since_of(node_pb2.LogsRequest(since_seconds=0))
    assert recent is not None
    assert recent > 1_700_000_000
    with pytest.raises(StatusError):
        logs.since_of(node_pb2.LogsRequest(since_time="yesterday"))


SUMMARY: dict[str, Any] = {
    "node": {
        "cpu": {"usageCoreNanoSeconds": 2_500_000_000},
        "memory": {"workingSetBytes": 10, "usageBytes": 11, "rssBytes": 3, "availableBytes": 90},
    },
    "pods": [
        {
            "podRef": {"name": "web", "namespace": "ns", "uid": "u"},
            "cpu": {"usageCoreNanoSeconds": 1_000_000_000},
            "memory": {"workingSetBytes": 5, "usageBytes": 6, "rssBytes": 1},
            "network": {"interfaces": [{"name": "eth0", "rxBytes": 7, "rxErrors": 0, "txBytes": 8, "txErrors": 1}]},
            "containers": [
                {
                    "name": "main",
                    "startTime": "1970-01-01T00:01:00Z",
                    "cpu": {"usageCoreNanoSeconds": 500_000_000},
                    "memory": {"workingSetBytes": 4, "usageBytes": 4, "rssBytes": 1},
                }
            ],
        }
    ],
}


def test_the_resource_page_has_upstreams_series() -> None:
    text = metrics.resource_page(SUMMARY).decode()
    for line in (
        "node_cpu_usage_seconds_total 2.5",
        "node_memory_working_set_bytes 10",
        'pod_cpu_usage_seconds_total{namespace="ns",pod="web"} 1',
        'container_cpu_usage_seconds_total{container="main",namespace="ns",pod="web"} 0.5',
        'container_memory_working_set_bytes{container="main",namespace="ns",pod="web"} 4',
        'container_start_time_seconds{container="main",namespace="ns",pod="web"} 60',
        "resource_scrape_error 0",
    ):
        assert line in text.splitlines()


def test_the_cadvisor_page_tells_node_pod_and_container_apart() -> None:
    lines = metrics.cadvisor_page(SUMMARY).decode().splitlines()
    assert 'container_memory_working_set_bytes{id="/",namespace="",pod="",container=""} 10' in lines
    assert 'container_memory_working_set_bytes{id="u",namespace="ns",pod="web",container=""} 5' in lines
    assert 'container_cpu_usage_seconds_total{id="u/main",container="main",namespace="ns",pod="web"} 0.5' in lines
    assert 'container_network_transmit_errors_total{namespace="ns",pod="web",interface="eth0"} 1' in lines
    assert "machine_memory_bytes 100" in lines
