"""`autoscale`: a HorizontalPodAutoscaler for a workload."""

from __future__ import annotations

from typing import Any

from api.quantity import Quantity
from cli.env import Env
from cli.errors import CliError, Object, raise_all
from cli.framework import command as declare
from cli.framework import option
from cli.resources import fetch_all, resolve
from cli.writing import create_generated, dry_run_option, filename_options, output_option


@declare(
    "autoscale",
    usage="(-f FILENAME | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [--cpu-percent=CPU]",
    help="Creates an autoscaler that automatically chooses and sets the number of pods that run in the cluster.",
    examples="""
    # Auto scale a deployment "foo", with the number of pods between 2 and 10
    kubectl autoscale deployment foo --min=2 --max=10

    # Auto scale a deployment "foo", with target CPU utilization at 80%
    kubectl autoscale deployment foo --max=5 --cpu=80%
    """,
)
@option("--cpu", help="Target CPU over all the pods: a share of what they request (70%) or an amount (500m).")
@option("--cpu-percent", type=int, default=-1, help="The target average CPU utilization. Deprecated: use --cpu.")
@dry_run_option
@option("--field-manager", default="kubectl-autoscale", help="Name of the manager used to track field ownership.")
@filename_options
@option("--max", "maximum", type=int, default=-1, help="The upper limit for the number of pods. Required.")
@option("--min", "minimum", type=int, default=-1, help="The lower limit for the number of pods.")
@option("--memory", help="Target memory over all the pods: a share of what they request (70%) or an amount (500Mi).")
@option("--name", help="The name for the newly created object. If not specified, the name of the resource is used.")
@output_option
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if params["maximum"] < 1:
        raise CliError(f"--max=MAXPODS is required and must be at least 1, max: {params['maximum']}")
    if params["maximum"] < params["minimum"]:
        raise CliError(
            f"--max=MAXPODS must be larger or equal to --min=MINPODS, max: {params['maximum']}, "
            f"min: {params['minimum']}"
        )
    if params["cpu"] and params["cpu_percent"] >= 0:
        raise CliError("--cpu-percent and --cpu are mutually exclusive")
    wanted = {"cpu": params["cpu"] or (f"{params['cpu_percent']}%" if params["cpu_percent"] >= 0 else "")}
    wanted["memory"] = params["memory"]
    metrics = [_metric(name, text) for name, text in wanted.items() if text]
    targets = await resolve(
        env, args, filenames=params["filename"], recursive=params["recursive"], need_name=not params["filename"]
    )
    found, problems = await fetch_all(env, targets)
    raise_all(problems)
    for target in found:
        if target.mapping.subresources and "scale" not in target.mapping.subresources:
            raise CliError(f"cannot autoscale a {target.mapping.kind}: it has no scale subresource")
        spec: dict[str, Any] = {
            "scaleTargetRef": {
                "apiVersion": target.mapping.api_version,
                "kind": target.mapping.kind,
                "name": target.name,
            },
            "maxReplicas": params["maximum"],
        }
        if params["minimum"] > 0:
            spec["minReplicas"] = params["minimum"]
        if metrics:
            spec["metrics"] = metrics
        obj = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": params["name"] or target.name, "namespace": target.namespace},
            "spec": spec,
        }
        await create_generated(
            env,
            obj,
            dry_run=params["dry_run"],
            output=params["output"],
            manager=params["field_manager"],
            done="autoscaled",
        )


def _metric(name: str, text: str) -> Object:
    """A share of the pods' requests, or an amount for each of them."""
    if text.endswith("%"):
        if not text[:-1].isdigit() or int(text[:-1]) < 1:
            raise CliError(f"failed to create HPA: invalid percentage: {text}")
        target: Object = {"type": "Utilization", "averageUtilization": int(text[:-1])}
    else:
        try:
            Quantity(text)
        except ValueError as problem:
            raise CliError(f"failed to create HPA: invalid resource quantity {text}: {problem}") from problem
        target = {"type": "AverageValue", "averageValue": text}
    return {"type": "Resource", "resource": {"name": name, "target": target}}
