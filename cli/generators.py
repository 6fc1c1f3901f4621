"""What the generators of `create`, `run` and `expose` share: literals, ports, names, objects without empty fields."""

from __future__ import annotations

from typing import Any

from cli.errors import ApiError, CliError, Object, UsageError
from cli.framework import flag, option
from cli.writing import dry_run_option, output_option


def generator_options(function: Any) -> Any:
    """The flags every generator has."""
    for decorate in (
        option("--validate", bare="strict", default="strict", help="strict, warn or ignore unknown fields."),
        flag("--save-config", help="If true, the configuration of current object will be saved in its annotation."),
        output_option,
        option("--field-manager", default="kubectl-create", help="Name of the manager used to track field ownership."),
        dry_run_option,
    ):
        function = decorate(function)
    return function


def one_name(args: tuple[str, ...], command: str) -> str:
    if len(args) != 1:
        raise UsageError(f"exactly one NAME is required, got {len(args)}")
    return args[0]


def required(value: Any, *names: str) -> None:
    if not value:
        shown = '", "'.join(names)
        raise CliError(f'required flag(s) "{shown}" not set')


def metadata(name: str, **more: Any) -> Object:
    return {"name": name, **prune(more)}


def prune(obj: Object) -> Object:
    """Without the fields that were not given."""
    return {
        key: value for key, value in obj.items() if value is not None and value != "" and value != () and value != []
    }


def split_pairs(values: tuple[str, ...], what: str = "key/value") -> dict[str, str]:
    """`a=b,c=d` -> dict."""
    out: dict[str, str] = {}
    for text in values:
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if not key or not equals:
                raise CliError(f"unexpected {what}: {part}")
            out[key] = value
    return out


def split_list(values: tuple[str, ...]) -> list[str]:
    return [part for text in values for part in text.split(",") if part]


def int_or_text(value: str) -> int | str:
    return int(value) if value.lstrip("-").isdigit() else value


async def finish(env: Any, obj: Object, params: dict[str, Any]) -> None:
    """Creates (or prints) a generated object by the generator's common flags."""
    from cli.commands.apply import validation
    from cli.writing import create_generated

    try:
        await create_generated(
            env,
            obj,
            dry_run=params["dry_run"],
            output=params["output"],
            manager=params["field_manager"],
            save_config=params["save_config"],
            validate=validation(params["validate"]),
        )
    except ApiError as problem:
        words = _FAILED.get(obj["kind"])
        if words is None:
            raise
        if obj["kind"] == "Service":
            words = f"{(obj['spec'] or {}).get('type')} service:"
        raise CliError(f"failed to create {words} {problem.message}") from problem


# What kubectl calls the thing it could not create. Its other generators show the server's refusal as it is.
_FAILED = {
    "Deployment": "deployment:",
    "ServiceAccount": "serviceaccount:",
    "ConfigMap": "configmap:",
    "Secret": "secret",
    "Service": "service:",
    "Job": "job:",
    "CronJob": "cronjob:",
    "Ingress": "ingress:",
    "ResourceQuota": "quota:",
    "RoleBinding": "rolebinding:",
    "ClusterRoleBinding": "clusterrolebinding:",
    "PriorityClass": "priorityclass:",
    "PodDisruptionBudget": "poddisruptionbudgets:",
}
