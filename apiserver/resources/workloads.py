"""The kinds that keep pods running: the apps group and replication controllers."""

from __future__ import annotations

from api.types import apps_v1, core_v1
from apiserver.defaults import apps as defaults
from apiserver.defaults import core as core_defaults
from apiserver.printers import workloads as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import apps as rules
from apiserver.validation import names
from apiserver.validation.warnings import template_warnings


class TemplateStrategy(BuiltIn):
    """A kind with a pod template: warns of what its pods will warn of."""

    def warnings(self, ctx: Context, obj: apps_v1.Deployment, old: apps_v1.Deployment | None) -> list[str]:
        return template_warnings(obj.spec.template, None if old is None else old.spec.template)


class DeploymentStrategy(TemplateStrategy):
    """A change of annotations counts as a generation too: some of them the controller passes on."""

    def __init__(self) -> None:
        super().__init__(
            apps_v1.Deployment,
            defaults=defaults.default_deployment,
            columns=rows.DEPLOYMENT,
            cells=rows.deployment_cells,
            create=rules.validate_deployment,
            update=rules.validate_deployment_update,
            status=rules.validate_deployment_status_update,
            generation_of=("spec",),
        )

    def count_generation(self, new: apps_v1.Deployment, old: apps_v1.Deployment) -> None:
        super().count_generation(new, old)
        same_spec = new.metadata.generation == old.metadata.generation
        if same_spec and (new.metadata.annotations or {}) != (old.metadata.annotations or {}):
            new.metadata.generation = (old.metadata.generation or 0) + 1

    def prepare_status_update(self, ctx: Context, new: apps_v1.Deployment, old: apps_v1.Deployment) -> None:
        super().prepare_status_update(ctx, new, old)
        new.metadata.labels = old.metadata.labels


def strategies() -> list[Strategy]:
    return [
        DeploymentStrategy(),
        TemplateStrategy(
            apps_v1.ReplicaSet,
            defaults=defaults.default_replica_set,
            columns=rows.REPLICAS,
            cells=rows.replica_set_cells,
            create=rules.validate_replica_set,
            update=rules.validate_replica_set_update,
            status=rules.validate_replica_set_status_update,
            generation_of=("spec",),
            fields={"status.replicas": lambda replica_set: str(replica_set.status.replicas)},
        ),
        TemplateStrategy(
            apps_v1.StatefulSet,
            defaults=defaults.default_stateful_set,
            columns=rows.STATEFUL_SET,
            cells=rows.stateful_set_cells,
            name=names.dns1123_label,
            create=rules.validate_stateful_set,
            update=rules.validate_stateful_set_update,
            status=rules.validate_stateful_set_status_update,
            generation_of=("spec",),
        ),
        TemplateStrategy(
            apps_v1.DaemonSet,
            defaults=defaults.default_daemon_set,
            columns=rows.DAEMON_SET,
            cells=rows.daemon_set_cells,
            create=rules.validate_daemon_set,
            update=rules.validate_daemon_set_update,
            status=rules.validate_daemon_set_status_update,
            generation_of=("spec",),
        ),
        BuiltIn(
            apps_v1.ControllerRevision,
            columns=rows.CONTROLLER_REVISION,
            cells=rows.controller_revision_cells,
            create=rules.validate_controller_revision,
            update=rules.validate_controller_revision_update,
        ),
        BuiltIn(
            core_v1.ReplicationController,
            defaults=core_defaults.default_replication_controller,
            columns=rows.REPLICAS,
            cells=rows.replication_controller_cells,
            create=rules.validate_replication_controller,
            update=lambda new, old: rules.validate_replication_controller(new),
            status=rules.validate_replica_set_status_update,
            generation_of=("spec",),
            fields={"status.replicas": lambda controller: str(controller.status.replicas)},
            orphans_by_default=True,
        ),
    ]
