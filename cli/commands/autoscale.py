"""`autoscale`: a HorizontalPodAutoscaler for a workload."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.errors import CliError, raise_all
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
    kubectl autoscale deployment foo --max=5 --cpu-percent=80
    """,
)
@option("--cpu-percent", type=int, default=-1, help="The target average CPU utilization over all the pods, in percent.")
@dry_run_option
@option("--field-manager", default="kubectl-autoscale", help="Name of the manager used to track field ownership.")
@filename_options
@option("--max", "maximum", type=int, default=-1, help="The upper limit for the number of pods. Required.")
@option("--min", "minimum", type=int, default=-1, help="The lower limit for the number of pods.")
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
        if params["cpu_percent"] >= 0:
            utilization = {"type": "Utilization", "averageUtilization": params["cpu_percent"]}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}]
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
