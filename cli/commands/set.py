"""`set`: image, env, resources, selector, serviceaccount and subject of live objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cli.env import Env
from cli.errors import CliError, Object, UsageError, raise_all
from cli.framework import command as declare
from cli.framework import flag, group, option
from cli.generators import split_list, split_pairs
from cli.objects import clone, dig
from cli.resources import Target, fetch_all, resolve
from cli.strategic import json_merge, schema_for, two_way
from cli.writing import Writer, dry_run_option, each, filename_options, output_option, selector_option

command = group("set", help="Configure application resources. These commands help you make changes to existing ones.")


def _options(function: Any) -> Any:
    for decorate in (
        flag("--local", help="If true, set will NOT contact api-server but run locally."),
        output_option,
        filename_options,
        dry_run_option,
        selector_option,
        option("--field-manager", default="kubectl-set", help="Name of the manager used to track field ownership."),
        flag("--all", help="Select all resources, in the namespace of the specified resource types."),
    ):
        function = decorate(function)
    return function


def pod_spec(obj: Object) -> Object:
    """The pod spec inside any kind that has one. Raises `CliError` for others."""
    for path in (("spec", "jobTemplate", "spec", "template", "spec"), ("spec", "template", "spec"), ("spec",)):
        found = dig(obj, *path)
        if isinstance(found, dict) and "containers" in found:
            return found
    raise CliError(f"the object is not a pod or does not have a pod template: {obj.get('kind')}")


async def _change(
    env: Env, words: list[str], params: dict[str, Any], done: str, change: Callable[[Object], None]
) -> None:
    writer = Writer(env, dry_run=params["dry_run"], output=params["output"], manager=params["field_manager"])
    named = await resolve(
        env,
        words,
        filenames=params["filename"],
        recursive=params["recursive"],
        selector=params["selector"],
        select_all=params["all"],
        need_name=not params["filename"],
    )
    if params["local"]:
        targets: list[Target] = named
        problems: list[Exception] = []
    else:
        targets, problems = await fetch_all(env, named, labels=params["selector"])

    async def one(target: Target) -> None:
        before = target.object or {}
        after = clone(before)
        change(after)
        if params["local"] or writer.client_only:
            writer.report(target.mapping, after, done)
            return
        schema = schema_for(target.mapping.api_version, target.mapping.kind)
        patch = two_way(before, after, schema) if schema else json_merge(before, after)
        if not patch:
            # Nothing differs: kubectl says nothing either.
            return
        made = await writer.patch(target, patch, kind="strategic" if schema else "merge")
        writer.report(target.mapping, made, done)

    await each(targets, one)
    raise_all(problems)


def _containers(spec: Object, names: str) -> list[Object]:
    """Containers by name; `*` for all, with a trailing `*` for a prefix."""
    every = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    if names in ("*", ""):
        return every if names else list(spec.get("containers") or [])
    if names.endswith("*"):
        return [one for one in every if one["name"].startswith(names[:-1])]
    return [one for one in every if one["name"] == names]


@declare(
    "image",
    usage="(-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N",
    help="Update existing container image(s) of resources.",
    examples="""
    # Set a deployment's nginx container image to 'nginx:1.9.1'
    kubectl set image deployment/nginx nginx=nginx:1.9.1

    # Update all containers of daemonset abc
    kubectl set image daemonset abc *=nginx:1.9.1
    """,
    group=command,
)
@_options
async def image(env: Env, args: tuple[str, ...], **params: Any) -> None:
    words = [arg for arg in args if "=" not in arg]
    images = dict(arg.split("=", 1) for arg in args if "=" in arg)
    if not images:
        raise UsageError("at least one image update is required")
    if not words and not params["filename"]:
        raise UsageError("one or more resources must be specified as <resource> <name> or <resource>/<name>")

    def change(obj: Object) -> None:
        spec = pod_spec(obj)
        for name, wanted in images.items():
            found = _containers(spec, name)
            if not found:
                raise CliError(f'unable to find container named "{name}"')
            for one in found:
                one["image"] = wanted

    await _change(env, words, params, "image updated", change)


@declare(
    "env",
    usage="RESOURCE/NAME KEY_1=VAL_1 ... KEY_N=VAL_N",
    help="Update environment variables on a pod template. KEY- removes a variable; --list shows them.",
    examples="""
    # Update deployment 'registry' with a new environment variable
    kubectl set env deployment/registry STORAGE_DIR=/local

    # Import environment from a config map with a prefix
    kubectl set env --from=configmap/myconfigmap --prefix=MYSQL_ deployment/myapp

    # Remove the environment variable ENV from all containers of a deployment
    kubectl set env deployment/registry ENV-
    """,
    group=command,
)
@_options
@option("-c", "--containers", default="*", help="The names of containers in the selected pod templates to change.")
@option("-e", "--env", "pairs", multiple=True, help="Specify a key-value pair for an environment variable to set.")
@option("--from", "source", help="The name of a resource from which to inject environment variables.")
@option("--keys", multiple=True, help="Comma-separated list of keys to import from specified resource.")
@flag("--list", "list_only", help="If true, display the environment and any changes in the standard format.")
@flag("--overwrite", default=True, help="If true, allow environment to be overwritten.")
@option("--prefix", help="Prefix to append to variable names.")
async def env_command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    settings = [arg for arg in (*args, *params["pairs"]) if "=" in arg]
    words = [arg for arg in args if "=" not in arg and not (arg.endswith("-") and "/" not in arg)]
    removed = [arg[:-1] for arg in args if arg.endswith("-") and "=" not in arg and "/" not in arg]
    variables: list[Object] = [{"name": k, "value": v} for k, _, v in (text.partition("=") for text in settings)]
    if params["source"]:
        variables.extend(await _imported(env, params))
    if params["list_only"]:
        targets, problems = await fetch_all(env, await resolve(env, words, selector=params["selector"]))
        raise_all(problems)
        for target in targets:
            for one in _containers(pod_spec(target.object or {}), params["containers"]):
                env.out(f"# {target.mapping.kind} {target.name}, container {one['name']}")
                for variable in one.get("env") or []:
                    env.out(
                        f"{variable['name']}={variable.get('value', '')}"
                        if "valueFrom" not in variable
                        else f"# {variable['name']} from {_source_text(variable['valueFrom'])}"
                    )
        return
    if not variables and not removed:
        raise UsageError("at least one environment variable must be provided")

    def change(obj: Object) -> None:
        found = _containers(pod_spec(obj), params["containers"])
        if not found:
            raise CliError(
                f"{obj.get('kind')}/{dig(obj, 'metadata', 'name')} does not have any containers matching "
                f'"{params["containers"]}"'
            )
        for one in found:
            have = {item["name"]: item for item in one.get("env") or []}
            for variable in variables:
                if variable["name"] in have and not params["overwrite"] and have[variable["name"]] != variable:
                    raise CliError(f"'{variable['name']}' already has a value, and --overwrite is false")
                have[variable["name"]] = variable
            for name in removed:
                have.pop(name, None)
            one["env"] = list(have.values())
            if not one["env"]:
                one.pop("env")

    await _change(env, words, params, "env updated", change)


def _source_text(source: Object) -> str:
    """Where the value of a variable comes from, in kubectl's words."""
    for field, kind in (("configMapKeyRef", "configmap"), ("secretKeyRef", "secret")):
        if ref := source.get(field):
            return f"{kind} {ref.get('name', '')}, key {ref.get('key', '')}"
    if ref := source.get("fieldRef"):
        return f"field path {ref.get('fieldPath', '')}"
    if ref := source.get("resourceFieldRef"):
        container = f"{ref['containerName']}/" if ref.get("containerName") else ""
        return f"resource field {container}{ref.get('resource', '')}"
    return "invalid valueFrom"


async def _imported(env: Env, params: dict[str, Any]) -> list[Object]:
    """References to the keys of a ConfigMap or Secret."""
    targets, problems = await fetch_all(env, await resolve(env, (params["source"],)))
    raise_all(problems)
    out: list[Object] = []
    keys = set(split_list(params["keys"]))
    for target in targets:
        kinds = {"ConfigMap": "configMapKeyRef", "Secret": "secretKeyRef"}
        if target.mapping.kind not in kinds:
            raise CliError(f"unsupported resource specified in --from: {target.mapping.kind}")
        for key in sorted((target.object or {}).get("data") or {}):
            if keys and key not in keys:
                continue
            name = params["prefix"] + "".join(c if c.isalnum() else "_" for c in key).upper()
            out.append({"name": name, "valueFrom": {kinds[target.mapping.kind]: {"key": key, "name": target.name}}})
    return out


@declare(
    "resources",
    usage="(-f FILENAME | TYPE NAME)  ([--limits=LIMITS & --requests=REQUESTS]",
    help="Specify compute resource requirements (CPU, memory) for any resource that defines a pod template.",
    examples="""
    # Set a deployments nginx container cpu limits to "200m" and memory to "512Mi"
    kubectl set resources deployment nginx -c=nginx --limits=cpu=200m,memory=512Mi

    # Remove the resource requests for resources on containers in nginx
    kubectl set resources deployment nginx --limits=cpu=0,memory=0 --requests=cpu=0,memory=0
    """,
    group=command,
)
@_options
@option("-c", "--containers", default="*", help="The names of containers in the selected pod templates to change.")
@option("--limits", help="The resource requirement limits for this container: 'cpu=100m,memory=256Mi'.")
@option("--requests", help="The resource requirement requests for this container: 'cpu=100m,memory=256Mi'.")
async def resources(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not params["limits"] and not params["requests"]:
        raise UsageError("you must specify an update to requests or limits (in the form of --requests/--limits)")
    wanted = {key: split_pairs((params[key],)) for key in ("limits", "requests") if params[key]}

    def change(obj: Object) -> None:
        found = _containers(pod_spec(obj), params["containers"])
        if not found:
            raise CliError(f"unable to find container named {params['containers']}")
        for one in found:
            have = one.setdefault("resources", {})
            for key, amounts in wanted.items():
                kept = {**(have.get(key) or {}), **amounts}
                have[key] = {name: amount for name, amount in kept.items() if amount != "0"}

    await _change(env, list(args), params, "resource requirements updated", change)


@declare(
    "serviceaccount",
    usage="(-f FILENAME | TYPE NAME) SERVICE_ACCOUNT",
    help="Update the service account of pod template resources.",
    group=command,
)
@_options
async def serviceaccount(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not args:
        raise UsageError("serviceaccount is required")

    def change(obj: Object) -> None:
        spec = pod_spec(obj)
        spec["serviceAccountName"] = args[-1]
        if "serviceAccount" in spec:
            spec["serviceAccount"] = args[-1]

    await _change(env, list(args[:-1]), params, "serviceaccount updated", change)


command.aliases = {"sa": "serviceaccount"}


@declare(
    "selector",
    usage="(-f FILENAME | TYPE NAME) EXPRESSIONS",
    help="Set the selector on a resource. The new selector replaces the old one. Only services are supported.",
    group=command,
)
@_options
async def selector(env: Env, args: tuple[str, ...], **params: Any) -> None:
    words = [arg for arg in args if "=" not in arg]
    wanted = split_pairs(tuple(arg for arg in args if "=" in arg), "selector")

    def change(obj: Object) -> None:
        if obj.get("kind") != "Service":
            raise CliError("setting a selector is only supported for Services")
        obj["spec"]["selector"] = wanted

    await _change(env, words, params, "selector updated", change)


@declare(
    "subject",
    usage="(-f FILENAME | TYPE NAME) [--user=username] [--group=groupname] [--serviceaccount=namespace:name]",
    help="Update the user, group, or service account in a role binding or cluster role binding.",
    group=command,
)
@_options
@option("--group", "groups", multiple=True, help="Groups to bind to the role.")
@option("--serviceaccount", "accounts", multiple=True, help="Service accounts to bind to the role (namespace:name).")
@option("--user", "users", multiple=True, help="Usernames to bind to the role.")
async def subject(env: Env, args: tuple[str, ...], **params: Any) -> None:
    added: list[Object] = []
    for kind, key in (("User", "users"), ("Group", "groups")):
        added.extend({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name} for name in params[key])
    for text in params["accounts"]:
        namespace, colon, name = text.partition(":")
        if not colon:
            raise CliError("serviceaccount must be <namespace>:<name>")
        added.append({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    if not added:
        raise UsageError("you must specify at least one value of user, group or serviceaccount")

    def change(obj: Object) -> None:
        if obj.get("kind") not in ("RoleBinding", "ClusterRoleBinding"):
            raise CliError("setting subjects is only supported for RoleBinding/ClusterRoleBinding")
        have = obj.setdefault("subjects", [])
        have.extend(one for one in added if one not in have)

    await _change(env, list(args), params, "subjects updated", change)
