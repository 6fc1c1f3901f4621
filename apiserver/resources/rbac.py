"""rbac.authorization.k8s.io. Names may be anything that fits into a URL: `system:node` is one."""

from __future__ import annotations

from api.types import rbac_v1
from apiserver.defaults import others as defaults
from apiserver.printers import others as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Strategy
from apiserver.validation import names
from apiserver.validation import rbac as rules


def strategies() -> list[Strategy]:
    return [
        BuiltIn(
            rbac_v1.Role,
            name=names.path_segment,
            create=rules.validate_role,
            update=lambda new, old: rules.validate_role(new),
            create_on_update=True,
        ),
        BuiltIn(
            rbac_v1.ClusterRole,
            name=names.path_segment,
            create=rules.validate_cluster_role,
            update=lambda new, old: rules.validate_cluster_role(new),
            create_on_update=True,
        ),
        BuiltIn(
            rbac_v1.RoleBinding,
            defaults=defaults.default_binding,
            columns=rows.BINDING,
            cells=rows.binding_cells,
            name=names.path_segment,
            create=rules.validate_role_binding,
            update=rules.validate_role_binding_update,
            create_on_update=True,
        ),
        BuiltIn(
            rbac_v1.ClusterRoleBinding,
            defaults=defaults.default_binding,
            columns=rows.BINDING,
            cells=rows.binding_cells,
            name=names.path_segment,
            create=rules.validate_cluster_role_binding,
            update=rules.validate_role_binding_update,
            create_on_update=True,
        ),
    ]
