"""The life of pods on a node, from what the API says to what runs and back."""

from __future__ import annotations

import asyncio

from api import codec, errors
from api.types.core_v1 import ConfigMap, Node, Pod, PodList
from api.types.meta_v1 import ObjectMeta
from api.types.node_v1 import RuntimeClass
from client.fake import Action
from kubelet.cri import ExecResult, ImageStatus, RuntimeFailure, State
from kubelet.server.lookup import pod_list, running_pod_list
from tests.unit.kubelet.harness import IMAGE, Harness, container, make_pod


async def test_a_pod_becomes_ready(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    pod = node.pod()
    status = node.status()
    assert pod.status.phase == "Running"
    assert pod.status.pod_ip and pod.status.pod_ip.startswith("10.244.0.")
    assert pod.status.host_ip == "192.168.0.9"
    assert pod.status.qos_class == "BestEffort"
    assert status.container_id == f"docker://{node.runtime.running('app').id}"
    assert status.state.running and status.started and status.ready and status.restart_count == 0
    assert [c.type for c in pod.status.conditions or ()] == [
        "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    ]  # fmt: skip
    assert {c.observed_generation for c in pod.status.conditions or ()} == {1}
    await node.until(lambda: node.events("Started"))
    assert node.events("Created") == ["Created container: app"]
    assert node.events("Started") == ["Started container app"]
    assert "already present on machine" in node.events("Pulled")[0]


async def test_deletion_ends_containers_before_the_object_goes(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    gate = node.runtime.hold("stop_container")
    await node.delete()
    await node.until(lambda: node.runtime.stops)
    assert node.pod().metadata.deletion_timestamp
    assert node.runtime.is_running("app")
    gate.set()
    await node.until(lambda: node.find() is None)
    assert not node.runtime.is_running("app")
    assert node.runtime.stops == [("app", 30)]
    await node.until(lambda: not node.runtime.sandboxes and not node.runtime.containers)
    assert node.events("Killing") == ["Stopping container app"]
    assert not list((node.config.root_dir / "pods").iterdir())


async def test_a_shorter_grace_is_heard_while_a_container_is_ending(node: Harness) -> None:
    node.runtime.stubborn.add("app")
    node.api.add(make_pod(terminationGracePeriodSeconds=3600))
    await node.until(node.is_ready)
    await node.delete()
    await node.until(lambda: node.runtime.stops)
    node.runtime.stubborn.clear()
    await node.delete(grace=0)
    await node.until(lambda: not node.runtime.is_running("app"))
    assert [grace for _, grace in node.runtime.stops] == [3600, 2]


async def test_a_pod_deleted_while_its_image_is_pulled_goes_at_once(node: Harness) -> None:
    node.runtime.hold("pull_image")
    node.api.add(make_pod("web", container(image="other:1")))
    await node.until(lambda: node.runtime.called("pull_image"))
    await node.delete()
    await node.until(lambda: node.find() is None)
    await node.until(lambda: not node.runtime.sandboxes)


async def test_crash_loop_backs_off_and_shows_why(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    node.runtime.exit("app", 3)
    await node.until(lambda: node.status().restart_count == 1 and node.is_ready())
    ended = node.status().last_state.terminated
    assert ended and ended.exit_code == 3 and ended.reason == "Error"
    node.runtime.exit("app", 3)
    await node.until(lambda: node.waiting() == "CrashLoopBackOff")
    waiting = node.status().state.waiting
    assert waiting and waiting.message == "back-off 10s restarting failed container=app pod=web_default(uid-web)"
    assert node.pod().status.phase == "Running"
    assert node.condition("Ready") == "False"
    await node.until(lambda: node.events("BackOff"))
    assert node.events("BackOff") == ["Back-off restarting failed container app in pod web_default(uid-web)"]


async def test_restart_policy_never_ends_the_pod(node: Harness) -> None:
    node.api.add(make_pod("web", container("a"), container("b"), restartPolicy="Never"))
    await node.until(node.is_ready)
    node.runtime.exit("a", 0)
    await node.until(lambda: node.status("a").state.terminated)
    assert node.pod().status.phase == "Running"
    node.runtime.exit("b", 2)
    await node.until(lambda: node.pod().status.phase == "Failed")
    await node.until(lambda: all(s.state is State.EXITED for s in node.runtime.sandboxes.values()))
    assert len(node.runtime.containers) == 2, "stopped containers stay for their logs"
    await node.delete()
    await node.until(lambda: node.find() is None and not node.runtime.containers)


async def test_on_failure_restarts_only_failures(node: Harness) -> None:
    node.api.add(make_pod("web", restartPolicy="OnFailure"))
    await node.until(node.is_ready)
    node.runtime.exit("app", 1)
    await node.until(lambda: node.status().restart_count == 1 and node.is_ready())
    node.runtime.exit("app", 0)
    await node.until(lambda: node.pod().status.phase == "Succeeded")
    conditions = {c.type: (c.status, c.reason) for c in node.pod().status.conditions or ()}
    assert conditions["Ready"] == ("False", "PodCompleted")


async def test_init_containers_run_one_after_the_other(node: Harness) -> None:
    node.api.add(make_pod("web", container(), initContainers=[container("one"), container("two")]))
    await node.until(lambda: node.runtime.is_running("one"))
    await node.until(lambda: node.status("one").state.running)
    assert node.waiting() == "PodInitializing"
    assert not node.runtime.is_running("two")
    node.runtime.exit("one", 0)
    await node.until(lambda: node.runtime.is_running("two"))
    assert not node.runtime.is_running("app")
    node.runtime.exit("two", 0)
    await node.until(node.is_ready)
    assert node.condition("Initialized") == "True"
    assert node.status("one").ready


async def test_a_failing_init_container_fails_a_pod_that_never_restarts(node: Harness) -> None:
    node.api.add(make_pod("web", container(), initContainers=[container("one")], restartPolicy="Never"))
    await node.until(lambda: node.runtime.is_running("one"))
    node.runtime.exit("one", 1)
    await node.until(lambda: node.pod().status.phase == "Failed")
    assert "app" not in node.runtime.called("create_container")


async def test_sidecars_start_first_and_end_last(node: Harness) -> None:
    side = container("side", restartPolicy="Always")
    node.api.add(make_pod("web", container(), initContainers=[side, container("init")]))
    await node.until(lambda: node.runtime.is_running("init"))
    assert node.runtime.is_running("side")
    node.runtime.exit("init", 0)
    await node.until(node.is_ready)
    node.runtime.exit("side", 1)
    await node.until(lambda: node.status("side").restart_count == 1)
    assert node.runtime.is_running("app"), "a sidecar's restart disturbs nobody"
    await node.delete()
    await node.until(lambda: node.find() is None)
    assert [name for name, _ in node.runtime.stops] == ["app", "side"]


async def test_a_pod_with_sidecars_is_over_when_its_containers_are(node: Harness) -> None:
    side = container("side", restartPolicy="Always")
    node.api.add(make_pod("web", container(), initContainers=[side], restartPolicy="Never"))
    await node.until(node.is_ready)
    gate = node.runtime.hold("stop_container")
    node.runtime.exit("app", 0)
    await node.until(lambda: node.runtime.stops)
    await node.until(lambda: node.status().state.terminated)
    assert node.pod().status.phase == "Running", "not over while the sidecar runs"
    gate.set()
    await node.until(lambda: node.pod().status.phase == "Succeeded")
    assert node.status("side").state.terminated


async def test_a_restarted_kubelet_touches_nothing(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    await node.until(lambda: node.events("Started"))
    before, runs = node.pod(), dict(node.runtime.containers)
    node.runtime.calls.clear()
    await node.restart()
    await node.until(lambda: node.runtime.called("list_pods") and node.runtime.called("pod"))
    await asyncio.sleep(0.05)
    assert node.runtime.containers == runs
    assert not node.runtime.called("create_container") and not node.runtime.called("stop_container")
    assert node.pod().metadata.resource_version == before.metadata.resource_version


async def test_a_pod_deleted_while_the_kubelet_was_away_is_ended(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    await node.stop()
    await node.delete(grace=0)
    node.kubelet = node.new_kubelet()
    await node.start()
    await node.until(lambda: not node.runtime.sandboxes)
    assert node.runtime.stops == [("app", 30)]
    await node.until(lambda: not list((node.config.root_dir / "pods").iterdir()))


async def test_a_container_removed_behind_our_back_comes_again(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    node.runtime.lose("app")
    await node.until(lambda: node.status().restart_count == 1 and node.is_ready())
    ended = node.status().last_state.terminated
    assert ended and ended.exit_code == 137 and ended.reason == "ContainerStatusUnknown"


async def test_a_lost_sandbox_is_made_anew_and_restarts_are_counted(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    address = node.pod().status.pod_ip
    node.runtime.kill_sandbox("web")
    await node.until(lambda: node.status().restart_count == 1 and node.is_ready())
    assert node.pod().status.pod_ip != address
    assert [ip.ip for ip in node.pod().status.pod_ips or ()] == [node.pod().status.pod_ip]
    assert node.events("SandboxChanged") == ["Pod sandbox changed, it will be killed and re-created."]


async def test_a_sandbox_that_fails_is_tried_again(node: Harness) -> None:
    node.runtime.fail("run_sandbox", RuntimeFailure("no address left"))
    node.api.add(make_pod())
    await node.until(node.is_ready)
    assert node.events("FailedCreatePodSandBox") == ["Failed to create pod sandbox: no address left"]


async def test_image_errors_back_off(node: Harness) -> None:
    node.api.add(make_pod("web", container(image="gone:1")))
    await node.until(lambda: node.waiting() == "ErrImagePull")
    assert node.pod().status.phase == "Pending"
    await node.until(lambda: len(node.events("Failed")) == 2)
    assert node.events("Failed")[1] == "Error: ErrImagePull"


async def test_images_are_pulled_when_missing(node: Harness) -> None:
    node.runtime.registry["new:1"] = ImageStatus("sha256:new", ("new:1",), (), 4242, "")
    node.api.add(make_pod("web", container(image="new:1")))
    await node.until(node.is_ready)
    await node.until(lambda: node.events("Pulled"))
    assert node.events("Pulling") == ['Pulling image "new:1"']
    assert node.events("Pulled")[0].startswith('Successfully pulled image "new:1" in ')
    assert node.events("Pulled")[0].endswith("Image size: 4242 bytes.")


async def test_never_pull_and_bad_names(node: Harness) -> None:
    never = container("never", image="gone:1", imagePullPolicy="Never")
    node.api.add(make_pod("web", never, container("bad", image="Not/Valid:1")))
    await node.until(lambda: node.waiting("never") == "ErrImageNeverPull")
    await node.until(lambda: node.waiting("bad") == "InvalidImageName")


async def test_missing_config_is_told_and_comes_to_life_when_made(node: Harness) -> None:
    source = {"configMapKeyRef": {"name": "settings", "key": "colour"}}
    node.api.add(make_pod("web", container(env=[{"name": "COLOUR", "valueFrom": source}])))
    await node.until(lambda: node.waiting() == "CreateContainerConfigError")
    waiting = node.status().state.waiting
    assert waiting and waiting.message == 'configmap "settings" not found'
    node.api.add(ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"colour": "red"}))
    await node.until(node.is_ready)
    assert dict(node.runtime.config("app").env)["COLOUR"] == "red"


async def test_a_missing_key_is_named(node: Harness) -> None:
    node.api.add(ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={}))
    source = {"configMapKeyRef": {"name": "settings", "key": "colour"}}
    node.api.add(make_pod("web", container(env=[{"name": "COLOUR", "valueFrom": source}])))
    await node.until(lambda: node.waiting() == "CreateContainerConfigError")
    waiting = node.status().state.waiting
    assert waiting and waiting.message == "couldn't find key colour in ConfigMap default/settings"


async def test_a_config_map_volume_follows_its_config_map(node: Harness) -> None:
    settings = ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"colour": "red"})
    node.api.add(settings)
    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "configMap": {"name": "settings"}}]
    node.api.add(make_pod("web", container(volumeMounts=mounts), volumes=volumes))
    await node.until(node.is_ready)
    path = node.config.root_dir / "pods/uid-web/volumes/kubernetes.io~configmap/v/colour"
    assert path.read_text() == "red"
    found = await node.api.get(ConfigMap, "settings", namespace="default")
    found.data = {"colour": "blue"}
    await node.api.update(found)
    await node.until(lambda: path.read_text() == "blue")
    assert len(node.runtime.called("create_container")) == 1


async def test_a_volume_without_its_config_map_waits(node: Harness) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "configMap": {"name": "settings"}}]
    node.api.add(make_pod("web", container(volumeMounts=mounts), volumes=volumes))
    await node.until(lambda: node.events("FailedMount"))
    assert node.events("FailedMount") == ['MountVolume.SetUp failed for volume "v" : configmap "settings" not found']
    assert node.waiting() == "ContainerCreating"
    node.api.add(ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"colour": "red"}))
    await node.until(node.is_ready)


async def test_a_failing_post_start_hook_ends_the_container(node: Harness) -> None:
    node.runtime.exec_results["greet"] = ExecResult(1, b"no")
    hook = {"postStart": {"exec": {"command": ["greet"]}}}
    node.api.add(make_pod("web", container(lifecycle=hook)))
    await node.until(lambda: node.events("FailedPostStartHook"))
    await node.until(lambda: not node.runtime.is_running("app") or node.status().restart_count)
    assert node.events("FailedPostStartHook")[0] == "PostStartHook failed"


async def test_a_container_is_not_running_before_its_post_start_hook_is_done(node: Harness) -> None:
    gate = node.runtime.hold("exec_sync")
    hook = {"postStart": {"exec": {"command": ["greet"]}}}
    node.api.add(make_pod("web", container(lifecycle=hook), container("second")))
    await node.until(lambda: node.runtime.called("exec_sync"))
    await node.until(lambda: node.pod().status.pod_ip)
    assert node.waiting() == "ContainerCreating"
    assert not node.runtime.is_running("second"), "later containers wait for the hook"
    gate.set()
    await node.until(node.is_ready)


async def test_pre_stop_runs_before_the_signal(node: Harness) -> None:
    hook = {"preStop": {"exec": {"command": ["bye"]}}}
    node.api.add(make_pod("web", container(lifecycle=hook)))
    await node.until(node.is_ready)
    await node.delete()
    await node.until(lambda: node.find() is None)
    names = [name for name, _ in node.runtime.calls]
    assert names.index("exec_sync") < names.index("stop_container")


async def test_an_active_deadline_ends_the_pod(node: Harness) -> None:
    node.api.add(make_pod("web", activeDeadlineSeconds=1))
    await node.until(lambda: node.pod().status.phase == "Failed")
    assert node.pod().status.reason == "DeadlineExceeded"
    assert node.pod().status.message == "Pod was active on the node longer than the specified deadline"
    assert not node.runtime.is_running("app")


async def test_a_pod_that_does_not_fit_is_refused(node: Harness) -> None:
    cpu = {"requests": {"cpu": "1000"}}
    node.api.add(make_pod("web", container(resources=cpu)))
    await node.until(lambda: node.pod().status.phase == "Failed")
    status = node.pod().status
    assert status.reason == "OutOfcpu"
    assert status.message and status.message.startswith(
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: "
    )
    assert not node.runtime.sandboxes


async def test_a_pod_for_other_nodes_is_refused(node: Harness) -> None:
    node.api.add(make_pod("web", nodeSelector={"disk": "ssd"}))
    await node.until(lambda: node.pod().status.phase == "Failed")
    assert node.pod().status.reason == "NodeAffinity"


async def test_ephemeral_containers_join_a_running_pod(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    debug = codec.to_dict(node.pod())
    debug["spec"]["ephemeralContainers"] = [
        {"name": "debug", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "targetContainerName": "app"}
    ]
    await node.api.update(codec.from_dict(Pod, debug))
    await node.until(lambda: node.status("debug").state.running)
    assert node.runtime.config("debug").target_container_id == node.runtime.running("app").id
    node.runtime.exit("debug", 0)
    await node.until(lambda: node.status("debug").state.terminated)
    assert len([n for n in node.runtime.called("create_container") if n == "debug"]) == 1


async def test_the_termination_message_is_read(node: Harness) -> None:
    node.api.add(make_pod("web", restartPolicy="Never"))
    await node.until(node.is_ready)
    mount = next(m for m in node.runtime.config("app").mounts if m.container_path == "/dev/termination-log")
    with open(mount.host_path, "w") as file:  # noqa: ASYNC230, PTH123
        file.write("out of luck")
    node.runtime.exit("app", 1)
    await node.until(lambda: node.status().state.terminated)
    ended = node.status().state.terminated
    assert ended and ended.message == "out of luck"


async def test_the_node_is_registered_and_ready(node: Harness) -> None:
    await node.until(lambda: any(c.type == "Ready" and c.status == "True" for c in _node(node).status.conditions or ()))
    found = _node(node)
    assert found.status.node_info.kubelet_version == "v1.36.0"
    assert found.status.node_info.container_runtime_version == "docker://26.1.5"
    assert {a.type: a.address for a in found.status.addresses or ()} == {
        "InternalIP": "192.168.0.9",
        "Hostname": "n1",
    }
    assert (found.metadata.labels or {})["kubernetes.io/hostname"] == "n1"
    assert found.status.daemon_endpoints.kubelet_endpoint
    assert found.status.daemon_endpoints.kubelet_endpoint.port == 10250
    assert set(found.status.capacity or ()) >= {"cpu", "memory", "ephemeral-storage", "pods"}


def _node(node: Harness) -> Node:
    return node.api.objects(Node)[0]


async def test_a_resize_changes_limits_without_a_restart(node: Harness) -> None:
    node.api.add(make_pod("web", container(resources={"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}})))
    await node.until(node.is_ready)
    assert node.status().allocated_resources == {"cpu": "100m"}
    pod = node.pod()
    pod.spec.containers[0].resources.limits = {"cpu": "400m"}
    await node.api.update(pod)
    await node.until(lambda: "app" in node.runtime.resources)
    assert node.runtime.resources["app"].cpu_quota == 40_000
    await node.until(lambda: (r := node.status().resources) and r.limits == {"cpu": "400m"})
    await node.until(lambda: not node.condition("PodResizeInProgress"))
    assert len(node.runtime.called("create_container")) == 1


async def test_a_resize_that_can_never_fit_is_told(node: Harness) -> None:
    node.api.add(make_pod("web", container(resources={"requests": {"cpu": "100m"}})))
    await node.until(node.is_ready)
    pod = node.pod()
    pod.spec.containers[0].resources.requests = {"cpu": "1000"}
    await node.api.update(pod)
    await node.until(lambda: node.condition("PodResizePending") == "True")
    condition = next(c for c in node.pod().status.conditions or () if c.type == "PodResizePending")
    assert condition.reason == "Infeasible"
    assert condition.message and condition.message.startswith(
        "Node didn't have enough capacity: cpu, requested: 1000000"
    )
    assert "app" not in node.runtime.resources
    pod = node.pod()
    pod.spec.containers[0].resources.requests = {"cpu": "100m"}
    await node.api.update(pod)
    await node.until(lambda: not node.condition("PodResizePending"))


async def test_trouble_that_nobody_foresaw_is_met_with_patience(node: Harness) -> None:
    node.runtime.fail("run_sandbox", *[ValueError("what?")] * 50)
    node.api.add(make_pod("web"))
    node.runtime.fail("create_container", *[ValueError("what?")] * 50)
    node.api.add(make_pod("other", hostNetwork=True))
    await asyncio.sleep(0.3)
    assert len(node.runtime.called("run_sandbox")) <= 4
    assert len(node.runtime.called("create_container")) <= 2


async def test_an_api_server_that_is_away_hears_the_newest_status_later(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    failures = [errors.service_unavailable("away") for _ in range(3)]

    def away(_: Action) -> None:
        if failures:
            raise failures.pop()

    node.api.on("patch", "pods", away)
    node.runtime.exit("app", 1)
    await node.until(lambda: node.status().restart_count == 1 and node.is_ready())
    assert not failures


async def test_a_runtime_that_is_away_only_delays(node: Harness) -> None:
    node.runtime.fail("pod", RuntimeFailure("dockerd is away"))
    node.api.add(make_pod())
    await node.until(node.is_ready)
    node.runtime.fail("stop_container", RuntimeFailure("dockerd is away"))
    await node.delete()
    await node.until(lambda: node.find() is None)
    assert not node.runtime.is_running("app")


async def test_a_runtime_class_names_the_runtime(node: Harness) -> None:
    node.api.add(RuntimeClass(metadata=ObjectMeta(name="sandboxed"), handler="io.example.v2"))
    node.api.add(make_pod(runtimeClassName="sandboxed"))
    await node.until(node.is_ready)
    [config] = node.runtime.sandbox_configs.values()
    assert config.runtime_handler == "io.example.v2"


async def test_a_runtime_class_that_is_gone_keeps_the_pod_from_starting(node: Harness) -> None:
    node.api.add(make_pod(runtimeClassName="none"))
    await node.until(lambda: node.events("FailedCreatePodSandBox"))
    assert 'runtimeclass.node.k8s.io "none" not found' in node.events("FailedCreatePodSandBox")[0]
    assert not node.runtime.sandboxes


async def test_the_node_tells_which_pods_it_has(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    listed = codec.decode(pod_list(node.kubelet.pods), PodList)
    assert [(p.metadata.name, p.status.phase) for p in listed.items] == [("web", "Running")]
    [running] = codec.decode(await running_pod_list(node.runtime), PodList).items
    assert (running.metadata.namespace, running.metadata.uid) == ("default", "uid-web")
    assert [c.name for c in running.spec.containers] == ["app"]
    node.runtime.exit("app", 0)
    await node.until(lambda: node.status().restart_count == 1)


async def test_only_the_kubelet_writes_what_follows_the_api(node: Harness) -> None:
    node.api.add(ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"a": "1"}))
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("config", "own")]
    volumes = [{"name": "config", "configMap": {"name": "c"}}, {"name": "own", "emptyDir": {}}]
    node.api.add(make_pod("web", container(volumeMounts=mounts), volumes=volumes))
    await node.until(node.is_ready)
    made = {mount.container_path: mount.read_only for mount in node.runtime.config("app").mounts}
    assert made["/config"] and not made["/own"]
