"""`auth`: may I, and who am I."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.errors import ApiError, CliError, Object, SilentExit, UsageError
from cli.framework import command as declare
from cli.framework import flag, group, option
from cli.generators import prune
from cli.objects import dig
from cli.printers.tabwriter import align
from cli.resources import resolve
from cli.writing import Writer, dry_run_option, filename_options, output_option

command = group("auth", help="Inspect authorization.")
ROOT = "/apis/authorization.k8s.io/v1"


@declare(
    "can-i",
    usage="VERB [TYPE | TYPE/NAME | NONRESOURCEURL]",
    help="Check whether an action is allowed. Prints yes or no; with --quiet only the exit code tells.",
    examples="""
    # Check to see if I can create pods in any namespace
    kubectl auth can-i create pods --all-namespaces

    # Check to see if a service account can list deployments
    kubectl auth can-i list deployments.apps --as=system:serviceaccount:dev:foo -n prod

    # List all allowed actions in namespace "foo"
    kubectl auth can-i --list --namespace=foo
    """,
    group=command,
)
@flag("-A", "--all-namespaces", help="If true, check the specified action in all namespaces.")
@flag("--list", "list_all", help="If true, prints all allowed actions.")
@flag("--no-headers", help="If true, prints allowed actions without headers.")
@flag("-q", "--quiet", help="If true, suppress output and just return the exit code.")
@option("--subresource", help="SubResource such as pod/log or deployment/scale.")
async def can_i(env: Env, args: tuple[str, ...], **params: Any) -> None:
    namespace = "" if params["all_namespaces"] else env.namespace
    if params["list_all"]:
        await _list(env, namespace, params["no_headers"])
        return
    if len(args) not in (2, 3):
        raise UsageError("you must specify two arguments: verb resource or verb resource/resourceName.")
    verb, what = args[0], args[1]
    spec: Object
    if what.startswith("/"):
        spec = {"nonResourceAttributes": {"verb": verb, "path": what}}
    else:
        resource, _, name = what.partition("/")
        name = name or (args[2] if len(args) == 3 else "")
        group_name, plural = "", resource
        if resource != "*":
            try:
                mapping = await env.discovery.find(resource)
            except CliError:
                env.warn(f"the server doesn't have a resource type '{resource}'\n")
                plural, _, group_name = resource.partition(".")
            else:
                group_name, plural = mapping.group, mapping.plural
                if not mapping.namespaced:
                    if not params["quiet"] and namespace:
                        where = f" group '{mapping.group}'" if mapping.group else ""
                        env.warn(f"resource '{plural}' is not namespace scoped{where}\n")
                    namespace = ""
        spec = {
            "resourceAttributes": prune(
                {
                    "namespace": namespace,
                    "verb": verb,
                    "group": group_name,
                    "resource": plural,
                    "subresource": params["subresource"],
                    "name": name,
                }
            )
        }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    status = (await env.client.request("POST", f"{ROOT}/selfsubjectaccessreviews", body=body)).get("status") or {}
    allowed = bool(status.get("allowed"))
    if not params["quiet"]:
        text = "yes" if allowed else "no"
        if status.get("reason") and not allowed:
            text += f" - {status['reason']}"
        if status.get("evaluationError"):
            text += f" - {status['evaluationError']}"
        env.out(text)
    if not allowed:
        raise SilentExit(1)


async def _list(env: Env, namespace: str, no_headers: bool) -> None:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    status = (await env.client.request("POST", f"{ROOT}/selfsubjectrulesreviews", body=body)).get("status") or {}
    if status.get("incomplete"):
        env.warn(f"the list may be incomplete: {status.get('evaluationError', '')}")
    rows = [
        "\t".join(
            [
                ".".join(
                    part for part in ((rule.get("resources") or [""])[0], (rule.get("apiGroups") or [""])[0]) if part
                ),
                *(f"[{' '.join(rule.get(key) or [])}]" for key in ("nonResourceURLs", "resourceNames", "verbs")),
            ]
        )
        for rule in _compact([*(status.get("resourceRules") or []), *(status.get("nonResourceRules") or [])])
    ]
    lines = [] if no_headers else ["Resources\tNon-Resource URLs\tResource Names\tVerbs"]
    env.out(align("\n".join([*lines, *rows]), minwidth=6, padding=3))


def _compact(rules: list[Object]) -> list[Object]:
    """One rule for each resource with all of its verbs, one for each URL and verb; ordered as Go's text of them."""
    from cli.reconcile import parts

    found: dict[tuple[Any, ...], Object] = {}
    for rule in rules:
        for part in parts(rule):
            simple = "resources" in part and "resourceNames" not in part
            key = (part["apiGroups"][0], part["resources"][0]) if simple else (len(found), "rule")
            known = found.setdefault(key, part)
            known["verbs"] += [verb for verb in part["verbs"] if verb not in known["verbs"]]
    order = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    return sorted(found.values(), key=lambda rule: ",".join(f"{' '.join(rule.get(key) or [])}]" for key in order))


@declare("whoami", usage="[flags]", help="Experimental: Check self subject attributes.", group=command)
@output_option
async def whoami(env: Env, args: tuple[str, ...], **params: Any) -> None:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await env.client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
    except ApiError as problem:
        if problem.is_not_found:
            raise CliError(
                "the selfsubjectreviews API is not enabled in the cluster\nenable APISelfSubjectReview feature gate "
                "and authentication.k8s.io/v1alpha1 or authentication.k8s.io/v1beta1 API"
            ) from problem
        if problem.reason == "Forbidden":
            raise CliError(
                "the selfsubjectreviews API is not enabled in the cluster or you do not have permission to call it"
            ) from problem
        raise
    if params["output"]:
        from cli.printers.objects import render

        env.out(render(answer, params["output"], display="selfsubjectreview"), end="")
        return
    user = dig(answer, "status", "userInfo", default={})
    rows = ["ATTRIBUTE\tVALUE"]
    for title, key in (("Username", "username"), ("UID", "uid")):
        if user.get(key):
            rows.append(f"{title}\t{user[key]}")
    if user.get("groups"):
        rows.append(f"Groups\t[{' '.join(user['groups'])}]")
    for key, values in sorted((user.get("extra") or {}).items()):
        rows.append(f"Extra: {key}\t[{' '.join(values)}]")
    env.out(align("\n".join(rows), minwidth=6, padding=3))


@declare(
    "reconcile",
    usage="-f FILENAME",
    help="""
    Reconciles rules for RBAC role, role binding, cluster role, and cluster role binding objects.

    Missing objects are created, and the containing namespace is created for namespaced objects, if required. Existing
    roles are updated to include the permissions in the input objects, and existing bindings the subjects; what they
    have beyond that goes only if asked.
    """,
    examples="""
    # Reconcile RBAC resources from a file
    kubectl auth reconcile -f my-rbac-rules.yaml
    """,
    group=command,
)
@dry_run_option
@filename_options
@output_option
@flag("--remove-extra-permissions", help="If true, removes extra permissions added to roles")
@flag("--remove-extra-subjects", help="If true, removes extra subjects added to rolebindings")
async def reconcile(env: Env, args: tuple[str, ...], **params: Any) -> None:
    from cli import reconcile as rules

    if args:
        raise UsageError(f"unexpected arguments: [{' '.join(args)}]")
    if not params["filename"]:
        raise CliError("must specify one of -f and -k")
    writer = Writer(env, dry_run=params["dry_run"], output=params["output"], manager="kubectl-auth-reconcile")
    for target in await resolve(env, (), filenames=params["filename"], recursive=params["recursive"]):
        kind = target.mapping.kind
        if kind not in (*rules.ROLES, *rules.BINDINGS):
            # Files mix RBAC objects with others; those are for `apply`.
            continue
        if target.mapping.version != "v1":
            raise CliError(f"only rbac.authorization.k8s.io/v1 is supported: not *{target.mapping.version}.{kind}")
        role = kind in rules.ROLES
        remove = params["remove_extra_permissions" if role else "remove_extra_subjects"]
        outcome = await rules.reconcile(env, writer, target, remove_extra=remove)
        writer.report(target.mapping, outcome.object, "reconciled")
        if not outcome.operation:
            continue
        caveat = f", but object opted out ({rules.PROTECTED}: false)" if outcome.protected else ""
        env.err(f"\treconciliation required {outcome.operation}{caveat}")
        word, show = ("rules", rules.shown_rule) if role else ("subjects", rules.shown_subject)
        for title, found in (("missing", outcome.missing), ("extra", outcome.extra)):
            if found:
                env.err(f"\t{title} {word} {'added' if title == 'missing' else 'removed'}:")
            for one in found:
                env.err(f"\t\t{show(one)}")
