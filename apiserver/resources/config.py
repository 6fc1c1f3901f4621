"""ConfigMaps, Secrets, limit ranges and quotas: what configures pods and namespaces."""

from __future__ import annotations

import base64

from api.types import core_v1
from apiserver.defaults import core as defaults
from apiserver.printers import cluster as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Strategy
from apiserver.validation import config as rules
from apiserver.validation import quotas


def default_secret(secret: core_v1.Secret) -> None:
    """`stringData` is for writing only: it is merged into `data`, and wins."""
    if secret.string_data:
        data = dict(secret.data or {})
        for key, value in secret.string_data.items():
            data[key] = base64.b64encode(value.encode()).decode()
        secret.data = data
    secret.string_data = None
    defaults.default_secret(secret)


def strategies() -> list[Strategy]:
    return [
        BuiltIn(
            core_v1.ConfigMap,
            columns=rows.CONFIG_MAP,
            cells=rows.config_map_cells,
            create=rules.validate_config_map,
            update=rules.validate_config_map_update,
        ),
        BuiltIn(
            core_v1.Secret,
            defaults=default_secret,
            columns=rows.SECRET,
            cells=rows.secret_cells,
            create=rules.validate_secret,
            update=rules.validate_secret_update,
            fields={"type": lambda secret: secret.type or ""},
        ),
        BuiltIn(
            core_v1.LimitRange,
            defaults=defaults.default_limit_range,
            create=quotas.validate_limit_range,
            update=lambda new, old: quotas.validate_limit_range(new),
            create_on_update=True,
        ),
        BuiltIn(
            core_v1.ResourceQuota,
            defaults=defaults.default_resource_quota,
            columns=rows.RESOURCE_QUOTA,
            cells=rows.resource_quota_cells,
            create=quotas.validate_resource_quota,
            update=quotas.validate_resource_quota_update,
            status=quotas.validate_resource_quota_status_update,
        ),
    ]
