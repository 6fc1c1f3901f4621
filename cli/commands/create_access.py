"""`create serviceaccount | token | role | rolebinding | clusterrole | clusterrolebinding`."""

from __future__ import annotations

from typing import Any

import click

from cli.env import Env
from cli.errors import ApiError, CliError, Object
from cli.framework import command as declare
from cli.framework import option
from cli.generators import finish, generator_options, one_name, prune, split_list, split_pairs
from cli.human import parse_duration
from cli.objects import dig

VERBS = {
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
    *("use", "bind", "impersonate", "*", "approve", "sign", "escalate", "attest", "link", "unlink"),
}


def add_to(parent: click.Group) -> None:
    for one in (serviceaccount, token, role, rolebinding, clusterrole, clusterrolebinding):
        parent.add_command(one)


@declare(
    "serviceaccount",
    usage="NAME",
    help="Create a service account with the specified name.",
)
@generator_options
async def serviceaccount(env: Env, args: tuple[str, ...], **params: Any) -> None:
    obj = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": one_name(args, "serviceaccount")}}
    await finish(env, obj, params)


@declare("token", usage="SERVICE_ACCOUNT_NAME", help="Request a service account token.")
@option("--audience", multiple=True, help="Audience of the requested token. May be repeated.")
@option("--bound-object-kind", help="Kind of an object to bind the token to: Pod, Secret or Node.")
@option("--bound-object-name", help="Name of an object to bind the token to.")
@option("--bound-object-uid", help="UID of an object to bind the token to.")
@option("--duration", default="0s", help="Requested lifetime of the issued token (e.g. 10m).")
@option("-o", "--output", help="Output format: json, yaml or empty for the token alone.")
async def token(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "token")
    spec: Object = prune({"audiences": list(params["audience"])})
    lifetime = int(parse_duration(params["duration"]))
    if lifetime < 0:
        raise CliError("--duration must be greater than or equal to 0")
    if lifetime:
        spec["expirationSeconds"] = lifetime
    if params["bound_object_kind"]:
        if not params["bound_object_name"]:
            raise CliError("--bound-object-name is required if --bound-object-kind is provided")
        spec["boundObjectRef"] = prune(
            {
                "kind": params["bound_object_kind"],
                "apiVersion": "v1",
                "name": params["bound_object_name"],
                "uid": params["bound_object_uid"],
            }
        )
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}
    path = f"/api/v1/namespaces/{env.namespace}/serviceaccounts/{name}/token"
    try:
        answer = await env.client.request("POST", path, body=body)
    except ApiError as problem:
        raise CliError(f"failed to create token: {problem.message}") from problem
    if params["output"]:
        from cli.printers.objects import render

        env.out(render(answer, params["output"], display="tokenrequest"), end="")
        return
    value = dig(answer, "status", "token")
    if not value:
        raise CliError("failed to create token: no token in server response")
    env.out(value)


def rule_options(function: Any) -> Any:
    for decorate in (
        option("--verb", multiple=True, help="Verb that applies to the resources contained in the rule."),
        option("--resource-name", multiple=True, help="Resource in the white list that the rule applies to."),
        option("--resource", multiple=True, help="Resource that the rule applies to."),
    ):
        function = decorate(function)
    return function


async def _rules(
    env: Env, params: dict[str, Any], *, none: str = "at least one resource must be specified"
) -> list[Object]:
    """Policy rules: one for each API group among the resources, in the order given."""
    verbs = list(dict.fromkeys(split_list(params["verb"])))
    if not verbs:
        raise CliError("at least one verb must be specified")
    words = list(dict.fromkeys(split_list(params["resource"])))
    if not words:
        raise CliError(none)
    if "*" in verbs:
        verbs = ["*"]
    for verb in verbs:
        if verb not in VERBS:
            env.warn(f"'{verb}' is not a standard resource verb")
    groups: dict[str, list[str]] = {}
    for word in words:
        resource, slash, sub = word.partition("/")
        if resource == "*":
            groups.setdefault("*", []).append(word)
            continue
        try:
            mapping = await env.discovery.find(resource)
        except CliError as problem:
            raise CliError(str(problem), prefix="") from problem
        groups.setdefault(mapping.group, []).append(f"{mapping.plural}/{sub}" if slash else mapping.plural)
    names = list(params["resource_name"])
    return [
        {"apiGroups": [group], "resources": resources, "verbs": verbs, **({"resourceNames": names} if names else {})}
        for group, resources in groups.items()
    ]


@declare(
    "role",
    usage="NAME --verb=verb --resource=resource.group/subresource [--resource-name=resourcename]",
    help="Create a role with single rule.",
)
@generator_options
@rule_options
async def role(env: Env, args: tuple[str, ...], **params: Any) -> None:
    obj = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": one_name(args, "role")},
        "rules": await _rules(env, params),
    }
    await finish(env, obj, params)


@declare(
    "clusterrole",
    usage="NAME --verb=verb --resource=resource.group [--resource-name=resourcename] [--non-resource-url=url]",
    help="Create a cluster role.",
)
@generator_options
@rule_options
@option("--aggregation-rule", help="An aggregation label selector for combining ClusterRoles.")
@option("--non-resource-url", multiple=True, help="A partial url that user should have access to.")
async def clusterrole(env: Env, args: tuple[str, ...], **params: Any) -> None:
    obj: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": one_name(args, "clusterrole")},
    }
    urls = split_list(params["non_resource_url"])
    if params["aggregation_rule"]:
        labels = split_pairs((params["aggregation_rule"],))
        obj["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": labels}]}
        obj["rules"] = None
    elif urls and not params["resource"]:
        verbs = split_list(params["verb"])
        if not verbs:
            raise CliError("at least one verb must be specified")
        obj["rules"] = [{"nonResourceURLs": urls, "verbs": verbs}]
    else:
        obj["rules"] = await _rules(env, params, none="one of resource or nonResourceURL must be specified")
        if urls:
            obj["rules"].append({"nonResourceURLs": urls, "verbs": split_list(params["verb"])})
    await finish(env, obj, params)


def subject_options(function: Any) -> Any:
    for decorate in (
        option("--user", "users", multiple=True, help="Usernames to bind to the role. May be repeated."),
        option("--serviceaccount", multiple=True, help="Service accounts, in the format <namespace>:<name>."),
        option("--group", multiple=True, help="Groups to bind to the role. May be repeated."),
        option("--clusterrole", help="ClusterRole this binding should reference."),
    ):
        function = decorate(function)
    return function


def _binding(kind: str, name: str, params: dict[str, Any]) -> Object:
    role_name, cluster_role = params.get("role") or "", params["clusterrole"]
    if bool(role_name) == bool(cluster_role):
        raise CliError(
            "exactly one of clusterrole or role must be specified"
            if kind == "RoleBinding"
            else 'required flag(s) "clusterrole" not set'
        )
    subjects: list[Object] = []
    for subject_kind, key in (("User", "users"), ("Group", "group")):
        for one in split_list(params[key]):
            subjects.append({"apiGroup": "rbac.authorization.k8s.io", "kind": subject_kind, "name": one})
    for one in split_list(params["serviceaccount"]):
        namespace, colon, account = one.partition(":")
        if not colon or not namespace or not account:
            raise CliError("serviceaccount must be <namespace>:<name>")
        subjects.append({"kind": "ServiceAccount", "name": account, "namespace": namespace})
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole" if cluster_role else "Role",
            "name": cluster_role or role_name,
        },
        **({"subjects": subjects} if subjects else {}),
    }


@declare(
    "rolebinding",
    usage="NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname] "
    "[--serviceaccount=namespace:serviceaccountname]",
    help="Create a role binding for a particular role or cluster role.",
)
@generator_options
@subject_options
@option("--role", help="Role this RoleBinding should reference.")
async def rolebinding(env: Env, args: tuple[str, ...], **params: Any) -> None:
    await finish(env, _binding("RoleBinding", one_name(args, "rolebinding"), params), params)


@declare(
    "clusterrolebinding",
    usage="NAME --clusterrole=NAME [--user=username] [--group=groupname] "
    "[--serviceaccount=namespace:serviceaccountname]",
    help="Create a cluster role binding for a particular cluster role.",
)
@generator_options
@subject_options
async def clusterrolebinding(env: Env, args: tuple[str, ...], **params: Any) -> None:
    await finish(env, _binding("ClusterRoleBinding", one_name(args, "clusterrolebinding"), params), params)
