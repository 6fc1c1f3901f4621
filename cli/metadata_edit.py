"""What `label` and `annotate` share: reading `key=value key-` and changing one map of an object's metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cli.env import Env
from cli.errors import CliError, Object, UsageError
from cli.framework import flag, option
from cli.objects import dig
from cli.resources import Target, fetch, resolve
from cli.writing import (
    Writer,
    dry_run_option,
    each,
    filename_options,
    output_option,
    selector_option,
)


def metadata_options(function: Any) -> Any:
    for decorate in (
        selector_option,
        option("--resource-version", help="The change only succeeds if this is the object's current resource version."),
        flag("--overwrite", help="If true, allow existing values to be overwritten."),
        output_option,
        flag("--local", help="If true, will NOT contact api-server but run locally."),
        flag("--list", "list_only", help="If true, display the values for the given resource."),
        filename_options,
        option("--field-selector", help="Selector (field query) to filter on, supports '=', '==', and '!='."),
        option("--field-manager", help="Name of the manager used to track field ownership."),
        dry_run_option,
        flag("-A", "--all-namespaces", help="If true, check the specified action in all namespaces."),
        flag("--all", help="Select all resources, in the namespace of the specified resource types."),
    ):
        function = decorate(function)
    return function


@dataclass
class Change:
    """Values to set and keys to remove in `metadata.<section>`."""

    section: str
    word: str
    set: dict[str, str]
    remove: list[str]

    def check(self, obj: Object, *, overwrite: bool) -> None:
        have = dig(obj, "metadata", self.section, default={})
        if overwrite:
            return
        if self.section == "labels":
            for key, value in self.set.items():
                if key in have and have[key] != value:
                    raise CliError(f"'{key}' already has a value ({have[key]}), and --overwrite is false")
        else:
            taken = [key for key, value in self.set.items() if key in have and have[key] != value]
            if taken:
                raise CliError(
                    "--overwrite is false but found the following declared annotation(s): "
                    + "; ".join(f"'{key}' already has a value ({have[key]})" for key in taken)
                )

    def patch(self, version: str) -> Object:
        metadata: Object = {self.section: {**self.set, **dict.fromkeys(self.remove)}}
        if version:
            metadata["resourceVersion"] = version
        return {"metadata": metadata}

    def outcome(self, obj: Object, env: Env) -> str:
        """kubectl's last word: `labeled`, `unlabeled`, `not labeled`, `annotated`."""
        have = dig(obj, "metadata", self.section, default={})
        for key in self.remove:
            if key not in have and self.section == "labels":
                env.out(f'{self.word} "{key}" not found.')
        if self.section == "annotations":
            return "annotated"
        changed = any(have.get(key) != value for key, value in self.set.items())
        removed = any(key in have for key in self.remove)
        if changed:
            return "labeled"
        return "unlabeled" if removed else "not labeled"


def split_args(args: tuple[str, ...], section: str) -> tuple[list[str], dict[str, str], list[str]]:
    """Resources, then `key=value` and `key-`."""
    word = "label" if section == "labels" else "annotation"
    resources: list[str] = []
    settings: dict[str, str] = {}
    remove: list[str] = []
    for arg in args:
        key, equals, value = arg.partition("=")
        # A label or annotation key may hold a slash, so `a/b=c` is a setting although `a/b` would be a resource.
        if equals:
            if not key:
                raise CliError(f"invalid {word} spec: {arg}")
            settings[key] = value
        elif arg.endswith("-") and resources:
            remove.append(arg[:-1])
        elif settings or remove:
            raise CliError(f"all resources must be specified before {word} changes: {arg}")
        else:
            resources.append(arg)
    both = sorted(set(settings) & set(remove))
    if both:
        raise CliError(f"can not both modify and remove a{'n' if word[0] == 'a' else ''} {word} in the same command")
    return resources, settings, remove


async def run(env: Env, args: tuple[str, ...], section: str, params: dict[str, Any]) -> None:
    word = "label" if section == "labels" else "annotation"
    resources, settings, remove = split_args(args, section)
    if not resources and not params["filename"]:
        raise UsageError("one or more resources must be specified as <resource> <name> or <resource>/<name>")
    if not settings and not remove and not params["list_only"]:
        raise CliError(f"at least one {word} update is required")
    writer = Writer(
        env,
        dry_run=params["dry_run"],
        output=params["output"],
        manager=params["field_manager"] or ("kubectl-label" if word == "label" else "kubectl-annotate"),
    )
    selector = params["selector"] or params["field_selector"]
    targets = await resolve(
        env,
        resources,
        filenames=params["filename"],
        recursive=params["recursive"],
        all_namespaces=params["all_namespaces"],
        selector=selector,
        select_all=params["all"] or params["all_namespaces"],
        need_name=not params["filename"],
    )
    change = Change(section, word, settings, remove)

    async def one(target: Target) -> None:
        if params["local"] and target.object is not None:
            found = [target]
        else:
            found = [
                item async for item in fetch(env, target, labels=params["selector"], fields=params["field_selector"])
            ]
        for item in found:
            live = item.object or {}
            if params["list_only"]:
                for key, value in sorted(dig(live, "metadata", section, default={}).items()):
                    env.out(f"{key}={value}")
                continue
            change.check(live, overwrite=params["overwrite"])
            outcome = change.outcome(live, env)
            made = live
            if not writer.client_only and not params["local"] and outcome != "not labeled":
                made = await writer.patch(item, change.patch(params["resource_version"]))
            elif outcome != "not labeled":
                from cli.strategic import _overlay

                made = _overlay(live, {"metadata": {section: settings}})
                for key in remove:
                    (made["metadata"].get(section) or {}).pop(key, None)
            writer.report(item.mapping, made, outcome)

    await each(targets, one)
