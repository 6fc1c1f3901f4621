"""What every changing command does alike: dry runs, field managers, and the line that says what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cli.discovery import Mapping
from cli.env import Env
from cli.errors import ApiError, CliError, Object, raise_all
from cli.framework import flag, option
from cli.objects import LAST_APPLIED, clone, name_of, namespace_of
from cli.printers.json import compact
from cli.printers.objects import STRUCTURED, check, render
from cli.resources import Target


def dry_run_option(function: Any) -> Any:
    return option(
        "--dry-run",
        bare="unchanged",
        shown="'none'",
        help='Must be "none", "server", or "client". If client, only print the object that would be sent, without '
        "sending it. If server, submit the request without persisting the resource.",
    )(function)


def output_option(function: Any) -> Any:
    """`-o` and its companions, which reach the command as one `Output`."""
    for decorate in (
        option("--template", help="Template string or path to template file to use when -o=go-template or jsonpath."),
        flag("--show-managed-fields", help="If true, keep the managedFields when printing objects."),
        option("-o", "--output", help="Output format: json, yaml, kyaml, name, go-template=..., jsonpath=..."),
        flag("--allow-missing-template-keys", default=True, help="If true, ignore missing fields in templates."),
    ):
        function = decorate(function)
    return function


def filename_options(function: Any) -> Any:
    """`-f`, `-R` and `-k`; the last comes to the command as one more file name."""
    for decorate in (
        flag("-R", "--recursive", help="Process the directory used in -f, --filename recursively."),
        option("-k", "--kustomize", help="Process a kustomization directory. This flag can't be used with -f or -R."),
        option("-f", "--filename", multiple=True, help="Filename, directory, or URL to files to use."),
    ):
        function = decorate(function)
    return function


def selector_option(function: Any) -> Any:
    return option(
        "-l", "--selector", help="Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'."
    )(function)


class Writer:
    """Sends changes under one dry-run strategy and reports each in kubectl's words."""

    def __init__(
        self, env: Env, *, dry_run: str = "", output: str = "", manager: str = "kubectl", validate: str = ""
    ) -> None:
        if dry_run == "unchanged":
            env.warn("--dry-run is deprecated and can be replaced with --dry-run=client.")
            dry_run = "client"
        if dry_run in ("none", "false"):
            dry_run = ""
        if dry_run == "true":
            dry_run = "client"
        if dry_run not in ("", "client", "server"):
            raise CliError(f'Invalid dry-run value ({dry_run}). Must be "none", "server", or "client".')
        check(output, allowed=STRUCTURED)
        self.env = env
        self.dry_run = dry_run
        self.output = output
        self.manager = manager
        self.validate = validate
        self.collected: list[tuple[Object, str]] = []

    @property
    def client_only(self) -> bool:
        return self.dry_run == "client"

    def query(self, **more: Any) -> dict[str, Any]:
        query: dict[str, Any] = {"fieldManager": self.manager}
        if self.dry_run == "server":
            query["dryRun"] = "All"
        if self.validate:
            query["fieldValidation"] = self.validate
        return {**query, **more}

    async def create(self, target: Target, obj: Object) -> Object:
        if self.client_only:
            return obj
        path = target.mapping.path(target.namespace)
        return await self.env.client.request("POST", path, query=self.query(), body=obj)

    async def patch(
        self, target: Target, patch: Any, *, kind: str = "merge", subresource: str = "", **more: Any
    ) -> Object:
        from cli.rest import PATCH_TYPES

        path = target.mapping.path(target.namespace, target.name, subresource)
        query = self.query(**more)
        return await self.env.client.request("PATCH", path, query=query, body=patch, content_type=PATCH_TYPES[kind])

    async def replace(self, target: Target, obj: Object, *, subresource: str = "") -> Object:
        path = target.mapping.path(target.namespace, target.name, subresource)
        return await self.env.client.request("PUT", path, query=self.query(), body=obj)

    def report(self, mapping: Mapping, obj: Object, done: str) -> None:
        """`deployment.apps/web scaled`, or the object in the asked format."""
        if self.output and self.output != "name":
            shown = render(obj, self.output, display=mapping.display, first=not self.collected)
            self.collected.append((obj, mapping.display))
            self.env.out(shown, end="")
            return
        line = f"{mapping.display}/{name_of(obj)}"
        if self.output == "name":
            self.env.out(line)
            return
        suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(self.dry_run, "")
        self.env.out(f"{line} {done}{suffix}")


def last_applied(obj: Object) -> str:
    """The text for the last-applied annotation: the object without that annotation, as Go would encode it."""
    plain = clone(obj)
    annotations = (plain.get("metadata") or {}).get("annotations")
    if isinstance(annotations, dict):
        annotations.pop(LAST_APPLIED, None)
    elif annotations is None and isinstance(plain.get("metadata"), dict):
        plain["metadata"]["annotations"] = {}
    return compact(plain) + "\n"


def with_last_applied(obj: Object) -> Object:
    out = clone(obj)
    text = last_applied(obj)
    metadata = out.setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), LAST_APPLIED: text}
    return dict(out)


async def create_generated(
    env: Env,
    obj: Object,
    *,
    dry_run: str,
    output: str,
    manager: str = "kubectl-create",
    done: str = "created",
    save_config: bool = False,
    validate: str = "Strict",
) -> Object:
    """Creates an object a generator made (`create deployment`, `expose`, `run`) and says so.

    A client-side dry run needs no server, as at kubectl.
    """
    writer = Writer(env, dry_run=dry_run, output=output, manager=manager, validate=validate)
    mapping = builtin_mapping(obj)
    namespace = ""
    if mapping.namespaced and (env.namespace_given or not writer.client_only):
        namespace = namespace_of(obj) or env.namespace
        obj.setdefault("metadata", {}).setdefault("namespace", namespace)
    if save_config:
        obj = with_last_applied(obj)
    made = await writer.create(Target(mapping, namespace, name_of(obj)), obj)
    writer.report(mapping, made, done)
    return made


_PLURALS = {
    "Deployment": ("deployments", True),
    "Namespace": ("namespaces", False),
    "ConfigMap": ("configmaps", True),
    "Secret": ("secrets", True),
    "Service": ("services", True),
    "ServiceAccount": ("serviceaccounts", True),
    "Job": ("jobs", True),
    "CronJob": ("cronjobs", True),
    "Role": ("roles", True),
    "RoleBinding": ("rolebindings", True),
    "ClusterRole": ("clusterroles", False),
    "ClusterRoleBinding": ("clusterrolebindings", False),
    "Pod": ("pods", True),
    "HorizontalPodAutoscaler": ("horizontalpodautoscalers", True),
    "Ingress": ("ingresses", True),
    "PodDisruptionBudget": ("poddisruptionbudgets", True),
    "PriorityClass": ("priorityclasses", False),
    "ResourceQuota": ("resourcequotas", True),
}


def builtin_mapping(obj: Object) -> Mapping:
    """The mapping of a kind that every cluster has, without asking discovery."""
    group, _, version = str(obj["apiVersion"]).rpartition("/")
    kind = str(obj["kind"])
    plural, namespaced = _PLURALS[kind]
    return Mapping(group, version, plural, kind, namespaced, singular=kind.lower())


async def each(targets: list[Target], action: Callable[[Target], Any], *, verb: str = "") -> None:
    """Runs an async action on every target; failures are collected and raised at the end."""
    problems: list[Exception] = []
    for target in targets:
        try:
            await action(target)
        except ApiError as problem:
            problems.append(problem.with_source(verb, target.source) if verb else problem)
        except CliError as problem:
            problems.append(problem)
    raise_all(problems)
