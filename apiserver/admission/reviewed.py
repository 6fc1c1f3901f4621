"""One write as webhooks and policies see it: an AdmissionRequest, in the version that their rules ask for.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook (rules, generic, request packages).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from api import codec
from api.selectors import selector_from
from api.types.core_v1 import Namespace
from api.types.meta_v1 import LabelSelector
from api.unstructured import Unstructured
from apiserver.admission import Operation
from apiserver.cel import CompileError, EvaluationError, compile_
from apiserver.endpoint import Endpoint
from apiserver.strategy import Context

_GROUP = "admissionregistration.k8s.io"
#: Kinds that no webhook or policy may keep from being repaired.
_EXEMPT = frozenset(
    {
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    }
)
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
VARIABLES = (("authorizer", "kubernetes.Authorizer"), ("object", "dyn"), ("oldObject", "dyn"), ("request", "dyn"))


class Rule(Protocol):
    api_groups: list[str] | None
    api_versions: list[str] | None
    operations: list[str] | None
    resources: list[str] | None
    scope: str | None


def exempt(ctx: Context) -> bool:
    return ctx.resource.group == _GROUP and ctx.resource.plural in _EXEMPT


def endpoint_of(ctx: Context) -> Endpoint:
    """Of the request's resource."""
    resource = ctx.resource
    return ctx.registry.find(resource.group, resource.version, resource.plural) or ctx.registry.virtual(resource)


def rule_matches(rule: Rule, endpoint: Endpoint, ctx: Context, operation: Operation) -> bool:
    """Whether a rule names this version of the resource."""
    resource = endpoint.resource
    if not _has(rule.operations, operation) or not _has(rule.api_groups, resource.group):
        return False
    if not _has(rule.api_versions, resource.version):
        return False
    cluster = not resource.namespaced or (resource.plural == "namespaces" and not resource.group)
    if (rule.scope == "Namespaced" and cluster) or (rule.scope == "Cluster" and not cluster):
        return False
    return any(_names(pattern, resource.plural, ctx.subresource) for pattern in rule.resources or ())


def _has(values: Iterable[str] | None, wanted: str) -> bool:
    return any(value in ("*", wanted) for value in values or ())


def _names(pattern: str, plural: str, subresource: str) -> bool:
    resource, _, sub = pattern.partition("/")
    if resource not in ("*", plural):
        return False
    return sub in ("*", subresource) if "/" in pattern else not subresource


def matched(rules: Iterable[Rule] | None, policy: str | None, ctx: Context, operation: Operation) -> Endpoint | None:
    """The version in which the rules want to see the object: the request's, or (Equivalent) another of the same."""
    rules = list(rules or ())
    own = endpoint_of(ctx)
    if any(rule_matches(rule, own, ctx, operation) for rule in rules):
        return own
    if policy != "Equivalent":
        return None
    for other in ctx.registry.endpoints:
        same = other is not own and other.stored == own.stored
        if same and any(rule_matches(rule, other, ctx, operation) for rule in rules):
            return other
    return None


def selected(ctx: Context, namespaces: LabelSelector | None, objects: LabelSelector | None, new: Any, old: Any) -> bool:
    """Whether labels of the namespace and of the object match."""
    if objects is not None and (objects.match_labels or objects.match_expressions):
        selector = selector_from(objects)
        given = [obj.metadata.labels for obj in (new, old) if getattr(obj, "metadata", None) is not None]
        if not any(selector.matches(labels) for labels in given):
            return False
    if namespaces is None or not (namespaces.match_labels or namespaces.match_expressions):
        return True
    return _namespace_selected(ctx, namespaces, new, old)


def _namespace_selected(ctx: Context, namespaces: LabelSelector, new: Any, old: Any) -> bool:
    if isinstance(new or old, Namespace):
        return selector_from(namespaces).matches((new or old).metadata.labels)
    if not ctx.namespace:
        return True
    found = ctx.registry.cached(Namespace, ctx.namespace)
    return selector_from(namespaces).matches(found.metadata.labels if found is not None else None)


@dataclass
class Reviewed:
    """A write in hand. `new` and `old` are of the stored type, as the pipeline has them."""

    ctx: Context
    operation: Operation
    new: Any
    old: Any
    _documents: dict[tuple[int, int], Any] = field(default_factory=dict)

    async def convertible(self, endpoint: Endpoint) -> None:
        """Ask for the conversions that showing the object takes."""
        documents = [codec.encode(obj) for obj in (self.new, self.old) if obj is not None]
        await endpoint.prepare(documents)

    def document(self, obj: Any, endpoint: Endpoint) -> Any:
        """Plain values of an object in this version; None if there is none."""
        if obj is None:
            return None
        if isinstance(obj, Unstructured) and not endpoint.custom:
            return codec.to_dict(obj)
        typed = isinstance(obj, endpoint.stored.type) or endpoint.custom
        shown = codec.to_dict(endpoint.served(obj) if typed else obj)
        shown["metadata"] = {key: value for key, value in shown.get("metadata", {}).items() if value is not None}
        return shown

    def request(self, endpoint: Endpoint, **objects: Any) -> dict[str, Any]:
        """The AdmissionRequest without its uid."""
        ctx, resource = self.ctx, endpoint.resource
        body = self.new if self.new is not None else self.old
        kind = _kind(resource.group, resource.version, resource.kind)
        if body is not None and not endpoint.custom and not isinstance(body, endpoint.stored.type):
            group, _, version = str(getattr(body, "api_version", "")).rpartition("/")
            kind = _kind(group, version, getattr(body, "kind", ""))
        own = ctx.resource
        asked = kind if own is resource else _kind(own.group, own.version, own.kind)
        name = ctx.name or (getattr(getattr(self.new, "metadata", None), "name", None) or "")
        found: dict[str, Any] = {
            "kind": kind,
            "resource": _resource(resource.group, resource.version, resource.plural),
            "requestKind": asked,
            "requestResource": _resource(own.group, own.version, own.plural),
            "operation": self.operation,
            "userInfo": user_info(ctx),
            **objects,
            "dryRun": ctx.dry_run,
            "options": self._options(),
        }
        if ctx.subresource:
            found["subResource"] = found["requestSubResource"] = ctx.subresource
        if name:
            found["name"] = name
        namespace = ctx.namespace or (name if own.plural == "namespaces" and not own.group else "")
        if namespace:
            found["namespace"] = namespace
        return found

    def _options(self) -> Any:
        kind = _OPTIONS.get(self.operation)
        if kind is None:
            return None
        given = codec.to_dict(self.ctx.options) if isinstance(self.ctx.options, msgspec.Struct) else {}
        options = {**given, "kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if self.ctx.field_manager and self.operation != "DELETE":
            options["fieldManager"] = self.ctx.field_manager
        if self.ctx.dry_run:
            options["dryRun"] = ["All"]
        return options

    def variables(self, endpoint: Endpoint) -> dict[str, Any]:
        """What expressions see."""
        from apiserver.cel.authorizer import ASKING, authorizer

        ctx, resource = self.ctx, self.ctx.resource
        ASKING.set((ctx.registry.services.authorizer, ctx.user))
        return {
            "object": self.document(self.new, endpoint),
            "oldObject": self.document(self.old, endpoint),
            "request": self.request(endpoint),
            "authorizer": authorizer(resource.group, resource.plural, ctx.subresource, ctx.namespace, ctx.name),
        }

    def conditions_hold(self, conditions: Iterable[Any] | None, variables: dict[str, Any], declared: Any) -> bool:
        """Match conditions: false if one of them is false. Raises ValueError if it takes one that fails to tell."""
        failure: ValueError | None = None
        for condition in conditions or ():
            try:
                if compile_(condition.expression.strip(), declared, result="bool").run(variables) is not True:
                    return False
            except (CompileError, EvaluationError) as error:
                failure = ValueError(f"expression '{condition.expression}' resulted in error: {error}")
        if failure is not None:
            raise failure
        return True

    def replace(self, document: dict[str, Any], endpoint: Endpoint) -> None:
        """Take the changed object over, in place. Raises StatusError (400) for one that does not fit its kind."""
        new = self.new
        typed = endpoint.custom or isinstance(new, endpoint.stored.type)
        made: Any = codec.from_dict(endpoint.resource.type if typed else type(new), document)
        if typed:
            made = endpoint.to_stored(made)
            endpoint.strategy.default(made)
        made.metadata.managed_fields = new.metadata.managed_fields
        if isinstance(new, Unstructured):
            new.metadata, new.content = made.metadata, made.content
        else:
            for name in new.__struct_fields__:
                setattr(new, name, getattr(made, name))


def user_info(ctx: Context) -> dict[str, Any]:
    """authentication.k8s.io/v1 UserInfo."""
    user = ctx.user
    found: dict[str, Any] = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def new_uid() -> str:
    return str(uuid.uuid4())


def _kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}


def _resource(group: str, version: str, resource: str) -> dict[str, str]:
    return {"group": group, "version": version, "resource": resource}
