"""What users get wrong: one clear error each, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.cluster.harness import CommandFailed, Space, pod, until


def refused(space: Space, *objects: Any, client: str = "kubectl") -> str:
    with pytest.raises(CommandFailed) as failure:
        apply = space.kubectl if client == "kubectl" else space.pykubectl
        apply("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert "Traceback" not in failure.value.stderr
    return failure.value.stderr


def deployment(**template: Any) -> dict[str, Any]:
    labels = {"app": "x"}
    container = {"name": "c", "image": "localhost:5000/pykube/toolbox", **template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


@pytest.mark.parametrize("client", ["kubectl", "pykubectl"])
def test_each_mistake_gets_one_clear_error_and_leaves_nothing(space: Space, client: str) -> None:
    missing_image = deployment()
    del missing_image["spec"]["template"]["spec"]["containers"][0]["image"]
    assert "spec.template.spec.containers[0].image: Required value" in refused(space, missing_image, client=client)

    wrong_type = deployment()
    wrong_type["spec"]["replicas"] = "three"
    text = refused(space, wrong_type, client=client)
    assert "replicas" in text
    assert "int32" in text

    assert 'unknown field "spec.template.spec.containers[0].imagee"' in refused(
        space, deployment(imagee="x"), client=client
    )

    mismatch = deployment()
    mismatch["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert "`selector` does not match template `labels`" in refused(space, mismatch, client=client)

    too_long = pod("x" * 254)
    assert "must be no more than 253" in refused(space, too_long, client=client)

    bad_name = pod("Not_A_Name")
    assert "a lowercase RFC 1123 subdomain must consist of" in refused(space, bad_name, client=client)

    unknown_kind = {"apiVersion": "v1", "kind": "Podd", "metadata": {"name": "x"}}
    assert 'no matches for kind "Podd" in version "v1"' in refused(space, unknown_kind, client=client)

    assert space.get("pods,deployments,replicasets")["items"] == []


def test_a_missing_namespace(space: Space) -> None:
    given = pod("x")
    given["metadata"]["namespace"] = "no-such-namespace"
    with pytest.raises(CommandFailed) as failure:
        space.cluster.kubectl("create", "-f", "-", stdin=yaml.safe_dump(given))
    assert failure.value.stderr.strip().endswith('namespaces "no-such-namespace" not found')


@pytest.mark.alone
def test_a_pod_that_fits_nowhere_says_why_for_each_node(space: Space) -> None:
    space.cluster.kubectl("taint", "node", "node1", "dedicated=db:NoSchedule")
    try:
        space.apply(pod("huge", container={"resources": {"requests": {"cpu": "1000"}}}))
        expected = (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. "
            "no new claims to deallocate, "
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        )
        until(lambda: any(e["message"] == expected for e in space.events("huge")), expected)
        [event] = [e for e in space.events("huge") if e["reason"] == "FailedScheduling"]
        assert event["type"] == "Warning"
        found = space.get("pod", "huge")
        assert found["status"]["phase"] == "Pending"
        [condition] = [c for c in found["status"]["conditions"] if c["type"] == "PodScheduled"]
        assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", expected)
        assert expected in space.kubectl("describe", "pod", "huge")
    finally:
        space.cluster.kubectl("taint", "node", "node1", "dedicated-")


def test_things_that_are_not_there(space: Space) -> None:
    for client in (space.kubectl, space.pykubectl):
        with pytest.raises(CommandFailed) as failure:
            client("get", "pod", "ghost")
        assert failure.value.stderr.strip() == 'Error from server (NotFound): pods "ghost" not found'
        with pytest.raises(CommandFailed) as failure:
            client("get", "ghosts")
        assert failure.value.stderr.strip() == 'error: the server doesn\'t have a resource type "ghosts"'
        assert client("get", "pods") == "" or "No resources found" in client("get", "pods")


def test_changing_what_cannot_change(space: Space) -> None:
    space.apply(deployment())
    with pytest.raises(CommandFailed) as failure:
        space.kubectl("patch", "deployment", "x", "-p", '{"spec":{"selector":{"matchLabels":{"app":"z"}}}}')
    assert "field is immutable" in failure.value.stderr
    space.apply(pod("fixed"))
    with pytest.raises(CommandFailed) as failure:
        space.kubectl("patch", "pod", "fixed", "-p", '{"spec":{"restartPolicy":"Never"}}')
    assert "pod updates may not change fields other than" in failure.value.stderr
