"""`wait`: blocks until objects meet a condition, have a value somewhere, or are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cli.commands.delete import wait_gone
from cli.env import Env
from cli.errors import ApiError, CliError, Object, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, option
from cli.human import parse_duration
from cli.jsonpath import Template, format_value, relaxed
from cli.objects import dig
from cli.resources import Target, fetch_all, resolve
from cli.watching import until
from cli.writing import filename_options, output_option, selector_option

Test = Callable[[Object], bool]


@declare(
    "wait",
    usage="([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) "
    "[--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]",
    help="Wait for a specific condition on one or many resources.",
    examples="""
    # Wait for the pod "busybox1" to contain the status condition of type "Ready"
    kubectl wait --for=condition=Ready pod/busybox1

    # Wait for the pod "busybox1" to contain the status phase to be "Running"
    kubectl wait --for=jsonpath='{.status.phase}'=Running pod/busybox1

    # Wait for the pod "busybox1" to be deleted, with a timeout of 60s
    kubectl wait --for=delete pod/busybox1 --timeout=60s
    """,
)
@flag("--all", help="Select all resources in the namespace of the specified resource types.")
@flag("-A", "--all-namespaces", help="If present, list the requested object(s) across all namespaces.")
@option("--field-selector", help="Selector (field query) to filter on, supports '=', '==', and '!='.")
@filename_options
@option(
    "--for", "what", help="The condition to wait on: create, delete, condition=NAME[=value], jsonpath='{...}'[=value]."
)
@output_option
@selector_option
@option("--timeout", default="30s", help="The length of time to wait. Zero means check once; negative means a week.")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not params["what"]:
        raise UsageError("one of --for must be provided")
    limit = parse_duration(params["timeout"])
    limit = 7 * 24 * 3600.0 if limit < 0 else limit
    if not args and not params["filename"]:
        raise UsageError("arguments in resource/name form must have a single resource and name")
    named = await resolve(
        env,
        args,
        filenames=params["filename"],
        recursive=params["recursive"],
        all_namespaces=params["all_namespaces"],
        selector=params["selector"] or params["field_selector"],
        select_all=params["all"],
        need_name=not params["filename"],
    )
    kind, _, rest = params["what"].partition("=")
    if kind.lower() == "create":
        targets = await _created(env, named, params, limit)
        for target in targets:
            env.out(f"{target.display} condition met")
        return
    targets, problems = await fetch_all(env, named, labels=params["selector"], fields=params["field_selector"])
    if kind.lower() == "delete":
        await _deleted(env, targets, problems, limit)
        return
    raise_all(problems)
    if not targets:
        raise CliError("no matching resources found")
    test = _test(kind, rest)
    failures: list[Exception] = []
    deadline = asyncio.get_running_loop().time() + limit
    for target in targets:
        try:
            async with asyncio.timeout_at(deadline if limit else None):
                await _until(env, target, test, once=not limit)
        except TimeoutError:
            failures.append(CliError(f"timed out waiting for the condition on {target.mapping.plural}/{target.name}"))
            continue
        except (ApiError, CliError) as problem:
            failures.append(problem)
            continue
        env.out(f"{target.display} condition met")
    raise_all(failures)


def _test(kind: str, rest: str) -> Test:
    if kind == "condition":
        name, _, value = rest.partition("=")
        wanted = (value or "true").lower()

        def condition(obj: Object) -> bool:
            for one in dig(obj, "status", "conditions", default=[]):
                if str(one.get("type", "")).lower() != name.lower():
                    continue
                generation = dig(obj, "metadata", "generation", default=0)
                seen = one.get("observedGeneration") or dig(obj, "status", "observedGeneration", default=generation)
                return int(seen) >= int(generation) and str(one.get("status", "")).lower() == wanted
            return False

        return condition
    if kind == "jsonpath":
        expression, equals, wanted = rest.partition("}=") if "}=" in rest else (rest, "", "")
        if equals:
            expression += "}"
        if "}=" not in rest and "{" not in rest:
            expression, equals, wanted = rest.partition("=")
        wanted = wanted.strip("'\"")
        template = Template(relaxed(expression.strip("'\"")))

        def path(obj: Object) -> bool:
            values = [value for result in template.find(obj) for value in result]
            if not equals:
                return bool(values)
            return len(values) == 1 and not isinstance(values[0], (dict, list)) and format_value(values[0]) == wanted

        return path
    raise CliError(f'unrecognized condition: "{kind}{"=" + rest if rest else ""}"')


async def _until(env: Env, target: Target, test: Test, *, once: bool) -> None:
    obj = target.object or {}
    if once and not test(obj):
        raise CliError(f"condition not met for {target.mapping.plural}/{target.name}")
    if not await until(env, target, test, start=obj):
        raise ApiError(
            {
                "reason": "NotFound",
                "code": 404,
                "message": f'{target.mapping.group_resource} "{target.name}" not found',
            }
        )


async def _created(env: Env, named: list[Target], params: dict[str, Any], limit: float) -> list[Target]:
    try:
        async with asyncio.timeout(limit or None):
            while True:
                found, problems = await fetch_all(
                    env, named, labels=params["selector"], fields=params["field_selector"]
                )
                other = [p for p in problems if not (isinstance(p, ApiError) and p.is_not_found)]
                raise_all(other)
                if found and not problems:
                    return found
                await asyncio.sleep(0.3)
    except TimeoutError as problem:
        raise CliError("timed out waiting for the condition") from problem


async def _deleted(env: Env, targets: list[Target], problems: list[Exception], limit: float) -> None:
    raise_all([p for p in problems if not (isinstance(p, ApiError) and p.is_not_found)])
    for target in targets:
        uid = dig(target.object, "metadata", "uid", default="")
        await wait_gone(env, [(target, uid)], timeout=limit or 0.001)
        env.out(f"{target.display} condition met")
