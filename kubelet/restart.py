"""Whether a container that has ended starts again: the pod's restartPolicy, the container's own, and its rules."""

from __future__ import annotations

from api.types.core_v1 import Container, Pod
from kubelet import podutil
from kubelet.podutil import AnyContainer


def restarts(pod: Pod, container: AnyContainer, exit_code: int) -> bool:
    """Would the container run again after it has ended with `exit_code`? (KEP-5307 for rules, KEP-753 for sidecars.)"""
    if _is_ephemeral(pod, container):
        return False
    for rule in container.restart_policy_rules or ():
        if rule.exit_codes is None:
            continue
        listed = exit_code in (rule.exit_codes.values or ())
        if listed == (rule.exit_codes.operator == "In"):
            return rule.action == "Restart"
    policy = container.restart_policy or podutil.restart_policy(pod)
    if policy == "Always":
        # An init container that has done its work is done, whatever the pod's policy is.
        return container.restart_policy == "Always" or not _is_init(pod, container) or exit_code != 0
    return policy == "OnFailure" and exit_code != 0


def may_restart(pod: Pod) -> bool:
    """Can anything in this pod ever run a second time?"""
    if podutil.restart_policy(pod) != "Never":
        return True
    containers: list[Container] = [*pod.spec.containers, *(pod.spec.init_containers or ())]
    return any(c.restart_policy not in (None, "Never") or c.restart_policy_rules for c in containers)


def _is_init(pod: Pod, container: AnyContainer) -> bool:
    return any(c.name == container.name for c in pod.spec.init_containers or ())


def _is_ephemeral(pod: Pod, container: AnyContainer) -> bool:
    return any(c.name == container.name for c in pod.spec.ephemeral_containers or ())
