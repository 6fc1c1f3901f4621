"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy: admission by CEL expressions that are objects of the cluster.

A policy says what; its bindings say where, with which parameters, and what follows. Source: k8s.io/apiserver's
admission/plugin/policy (KEP-3488, KEP-3962).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api import codec, errors
from api import patch as patches
from api.managed import from_openapi, type_of
from api.managed.check import TypedError
from api.managed.merge import merge
from api.resources import find_kind
from api.selectors import selector_from
from api.types.admissionregistration_v1 import (
    MatchResources,
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    ParamKind,
    ParamRef,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from api.types.core_v1 import Namespace
from api.types.meta_v1 import StatusCause
from apiserver.admission import Operation
from apiserver.admission.reviewed import VARIABLES, Reviewed, endpoint_of, exempt, matched, rule_matches, selected
from apiserver.cel import CompileError, EvaluationError, compile_
from apiserver.endpoint import Endpoint
from apiserver.strategy import Context

log = logging.getLogger(__name__)

#: The variables of a policy's expressions, and their types.
DECLARED = tuple(sorted((*VARIABLES, ("namespaceObject", "dyn"), ("params", "dyn"), ("variables", "dyn"))))
#: The audit annotation of what a binding only wants noted.
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
_NOTE = 10 * 1024  # characters of an audit annotation of a policy
_CODES = {
    "Unauthorized": 401,
    "Forbidden": 403,
    "Invalid": 422,
    "RequestEntityTooLarge": 413,
}


class Undecided(Exception):
    """A policy could not be evaluated; its failurePolicy says what that means."""


@dataclass
class _Matched:
    """A policy and one of its bindings, in the version of the object that the policy wants to see."""

    policy: Any
    binding: Any
    endpoint: Endpoint


class _Policies:
    policies: type[Any]
    bindings: type[Any]

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return bool(len(ctx.registry.cache(self.bindings))) and not exempt(ctx)

    def _relevant(self, review: Reviewed) -> Iterator[_Matched]:
        registry = review.ctx.registry
        for binding in sorted(registry.cached_list(self.bindings), key=lambda b: b.metadata.name):
            policy = registry.cached(self.policies, binding.spec.policy_name or "")
            if policy is None:
                continue
            endpoint = _matches(review, policy.spec.match_constraints)
            if endpoint is None:
                continue
            narrowed = binding.spec.match_resources
            if narrowed is not None and _matches(review, narrowed, all_if_empty=True) is None:
                continue
            yield _Matched(policy, binding, endpoint)

    async def _evaluations(self, review: Reviewed, found: _Matched) -> list[dict[str, Any]]:
        """The variables for each parameter; empty if match conditions say no. Raises Undecided."""
        await review.convertible(found.endpoint)
        base = review.variables(found.endpoint)
        namespace = review.ctx.registry.cached(Namespace, review.ctx.namespace) if review.ctx.namespace else None
        base["namespaceObject"] = codec.to_dict(namespace) if namespace is not None else None
        try:
            parameters = _parameters(review.ctx, found.policy.spec.param_kind, found.binding.spec.param_ref)
        except LookupError as error:
            raise Undecided(f"failed to configure binding: {error.args[0]}") from None
        made = []
        for params in parameters:
            variables = {**base, "params": params, "variables": {}}
            try:
                if review.conditions_hold(found.policy.spec.match_conditions, variables, DECLARED):
                    made.append(variables)
            except ValueError as error:
                raise Undecided(str(error)) from None
        return made


class ValidatingPolicies(_Policies):
    name = "ValidatingAdmissionPolicy"
    policies = ValidatingAdmissionPolicy
    bindings = ValidatingAdmissionPolicyBinding

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """They look at the final object only."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        review = Reviewed(ctx, operation, new, old)
        denied: list[tuple[str, str]] = []
        notes: dict[str, dict[str, None]] = {}
        for found in self._relevant(review):
            for index, message, reason in await self._failures(review, found, notes):
                actions = found.binding.spec.validation_actions
                names = f"'{found.policy.metadata.name}' with binding '{found.binding.metadata.name}'"
                if "Deny" in actions:
                    denied.append((f"ValidatingAdmissionPolicy {names} denied request: {message}", reason))
                if "Warn" in actions:
                    ctx.warn(f"Validation failed for ValidatingAdmissionPolicy {names}: {message}")
                if "Audit" in actions:
                    failure = {
                        "message": message,
                        "policy": found.policy.metadata.name,
                        "binding": found.binding.metadata.name,
                        "expressionIndex": index,
                        "validationActions": actions,
                    }
                    ctx.annotate(_FAILURE, json.dumps([failure], separators=(",", ":")))
        for key, values in notes.items():
            ctx.annotate(key, ", ".join(values))
        if denied:
            raise _denied(ctx, denied)

    async def _failures(
        self, review: Reviewed, found: _Matched, notes: dict[str, dict[str, None]]
    ) -> list[tuple[int, str, str]]:
        """Position, message and reason of each validation that does not hold; `notes` gets audit annotations."""
        spec = found.policy.spec
        failures: list[tuple[int, str, str]] = []
        try:
            evaluations = await self._evaluations(review, found)
        except Undecided as error:
            return [] if spec.failure_policy == "Ignore" else [(0, str(error), "Invalid")]
        for variables in evaluations:
            for index, validation in enumerate(spec.validations or ()):
                message = ""
                try:
                    holds = evaluate(validation.expression, variables, spec.variables, result="bool")
                except Undecided as error:
                    if spec.failure_policy != "Ignore":
                        words = f"expression '{validation.expression.strip()}' resulted in error: {error}"
                        failures.append((index, words, "Invalid"))
                    continue
                if holds is True:
                    continue
                if validation.message_expression:
                    try:
                        made = evaluate(validation.message_expression, variables, spec.variables, result="string")
                        message = str(made).strip()
                    except Undecided as error:
                        log.info("policy %s: messageExpression: %s", found.policy.metadata.name, error)
                message = message or (validation.message or "").strip()
                message = message or f"failed expression: {validation.expression.strip()}"
                failures.append((index, message, validation.reason or "Invalid"))
            failures += _annotate(found.policy, variables, notes)
        return failures


def _annotate(
    policy: ValidatingAdmissionPolicy, variables: dict[str, Any], notes: dict[str, dict[str, None]]
) -> list[tuple[int, str, str]]:
    """Add a policy's audit annotations to `notes`; answers those that failed and are to refuse the request."""
    failures = []
    for index, annotation in enumerate(policy.spec.audit_annotations or ()):
        try:
            value = evaluate(annotation.value_expression, variables, policy.spec.variables)
        except Undecided as error:
            if policy.spec.failure_policy != "Ignore":
                failures.append((index, f"auditAnnotation '{annotation.key}' resulted in error: {error}", "Invalid"))
            continue
        text = value.strip() if isinstance(value, str) else ""
        if text:
            notes.setdefault(f"{policy.metadata.name}/{annotation.key}", {})[text[:_NOTE]] = None
    return failures


class MutatingPolicies(_Policies):
    name = "MutatingAdmissionPolicy"
    policies = MutatingAdmissionPolicy
    bindings = MutatingAdmissionPolicyBinding

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        if new is None:
            return
        review = Reviewed(ctx, operation, new, old)
        relevant = list(self._relevant(review))
        changed_after: dict[int, bool] = {}
        for index, found in enumerate(relevant):
            if await self._run(review, found):
                for earlier in changed_after:
                    changed_after[earlier] = True
            if found.policy.spec.reinvocation_policy == "IfNeeded":
                changed_after[index] = False
        for index, again in changed_after.items():
            if again:
                await self._run(review, relevant[index])

    async def _run(self, review: Reviewed, found: _Matched) -> bool:
        """Whether the policy changed the object. Raises StatusError if it fails and has to hold."""
        changed = False
        try:
            for variables in await self._evaluations(review, found):
                changed |= self._apply(review, found, variables)
        except Undecided as error:
            if found.policy.spec.failure_policy != "Ignore":
                names = f"'{found.policy.metadata.name}' with binding '{found.binding.metadata.name}'"
                words = f"MutatingAdmissionPolicy {names} denied request: {error}"
                raise _denied(review.ctx, [(words, "Invalid")]) from None
        return changed

    def _apply(self, review: Reviewed, found: _Matched, variables: dict[str, Any]) -> bool:
        spec = found.policy.spec
        changed = False
        for mutation in spec.mutations or ():
            document = review.document(review.new, found.endpoint)
            variables = {**variables, "object": document}
            if mutation.patch_type == "ApplyConfiguration" and mutation.apply_configuration is not None:
                text = as_maps(mutation.apply_configuration.expression or "")
                applied = evaluate(text, variables, spec.variables)
                if not isinstance(applied, dict):
                    raise Undecided("must evaluate to Object")
                kind: Any = found.endpoint.resource.type
                shape = from_openapi(kind.openapi) if found.endpoint.custom else type_of(kind)
                try:
                    after = merge(document, {"metadata": {}, **applied}, shape)
                except (TypedError, KeyError, ValueError) as error:
                    raise Undecided(f"error applying patch: {error}") from None
            elif mutation.json_patch is not None:
                text = as_maps(mutation.json_patch.expression or "")
                operations = evaluate(text, variables, spec.variables)
                if not isinstance(operations, list):
                    raise Undecided("must evaluate to a list of JSONPatch")
                try:
                    after = patches.json_patch(document, [_operation(step) for step in operations])
                except errors.StatusError as error:
                    raise Undecided(f"JSON Patch: {error.message}") from None
            else:
                continue
            if after != document:
                review.replace(after, found.endpoint)
                changed = True
        return changed

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """They refuse nothing."""


# -- matching ----------------------------------------------------------------------------------------------------------


def _matches(review: Reviewed, match: MatchResources | None, *, all_if_empty: bool = False) -> Endpoint | None:
    ctx = review.ctx
    if match is None:
        return endpoint_of(ctx) if all_if_empty else None
    if not selected(ctx, match.namespace_selector, match.object_selector, review.new, review.old):
        return None
    own = endpoint_of(ctx)
    for rule in match.exclude_resource_rules or ():
        if rule_matches(rule, own, ctx, review.operation) and _named(rule, ctx):
            return None
    if all_if_empty and not match.resource_rules:
        return own
    rules = [rule for rule in match.resource_rules or () if _named(rule, ctx)]
    return matched(rules, match.match_policy, ctx, review.operation)


def _named(rule: Any, ctx: Context) -> bool:
    return not rule.resource_names or ctx.name in rule.resource_names


def _parameters(ctx: Context, kind: ParamKind | None, reference: ParamRef | None) -> list[Any]:
    """The objects that the binding names as parameters. Raises LookupError if there has to be one and is none."""
    if kind is None or reference is None:
        return [None]
    registry = ctx.registry
    known = find_kind(kind.api_version or "", kind.kind or "")
    endpoint = None
    if known is not None:
        endpoint = registry.find(known.group, known.version, known.plural)
    else:
        for other in registry.endpoints:
            if (other.resource.api_version, other.resource.kind) == (kind.api_version, kind.kind):
                endpoint = other
    if endpoint is None:
        raise LookupError(f"failed to find resource referenced by paramKind: '{kind.api_version}, Kind={kind.kind}'")
    namespace = (reference.namespace or ctx.namespace) if endpoint.resource.namespaced else ""
    if endpoint.resource.namespaced and not namespace:
        raise LookupError("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    found = []
    if reference.name:
        entry = endpoint.cache.get(endpoint.key(namespace, reference.name))
        found = [entry] if entry is not None else []
    elif reference.selector is not None:
        selector = selector_from(reference.selector)
        found = [e for e in endpoint.cache.range(endpoint.range_prefix(namespace)) if selector.matches(e.labels)]
    if not found:
        if reference.parameter_not_found_action == "Allow":
            return []
        raise LookupError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return [codec.to_dict(endpoint.served(endpoint.cache.decoder.decode(entry.json))) for entry in found]


# -- expressions -------------------------------------------------------------------------------------------------------


def evaluate(expression: str, given: dict[str, Any], variables: Any, *, result: str = "") -> Any:
    """The value of an expression, with the policy's own variables, each made when it is first named."""
    names = {variable.name: variable.expression for variable in variables or ()}
    made: dict[str, Any] = {}
    failed: dict[str, str] = {}
    try:
        for name in names:
            if f"variables.{name}" in expression or any(f"variables.{name}" in text for text in names.values()):
                try:
                    program = compile_(names[name].strip(), DECLARED)
                    made[name] = program.run({**given, "variables": made})
                except EvaluationError as error:
                    failed[name] = str(error)
        return compile_(expression.strip(), DECLARED, result=result).run({**given, "variables": made})
    except CompileError as error:
        raise Undecided(str(error)) from None
    except EvaluationError as error:
        missing = str(error).removeprefix("no such key: ")
        if missing in failed:
            raise Undecided(f'composited variable "{missing}" fails to evaluate: {failed[missing]}') from None
        raise Undecided(str(error)) from None


def as_maps(expression: str) -> str:
    """`Object.spec{replicas: 3}` as the map that it stands for: the runtime knows no types made up by schemas."""
    found: list[str] = []
    open_: list[bool] = []  # whether this brace belongs to such a type, whose keys are names
    at, key = 0, False
    while at < len(expression):
        char = expression[at]
        if char in "\"'":
            end = at + 1
            while end < len(expression) and expression[end] != char:
                end += 2 if expression[end] == "\\" else 1
            found.append(expression[at : end + 1])
            at, key = end + 1, False
            continue
        if char.isalpha() or char == "_":
            end = at
            while end < len(expression) and (expression[end].isalnum() or expression[end] in "_."):
                end += 1
            word = expression[at:end]
            rest = expression[end:].lstrip()
            typed = word == "JSONPatch" or word == "Object" or word.startswith("Object.")
            if typed and rest.startswith("{"):
                found.append("{")
                open_.append(True)
                at, key = end + expression[end:].index("{") + 1, True
                continue
            if key and rest.startswith(":"):
                found.append(json.dumps(word))
            else:
                found.append(word)
            at, key = end, False
            continue
        if char in "{[(":
            open_.append(False)
        elif char in "}])" and open_:
            open_.pop()
        found.append(char)
        if char == "," and open_ and open_[-1]:
            key = True
        elif not char.isspace() and char != "?":
            key = False
        at += 1
    return "".join(found)


def _operation(step: Any) -> dict[str, Any]:
    if not isinstance(step, dict):
        raise Undecided("must evaluate to a list of JSONPatch")
    return {key: value for key, value in step.items() if key in ("op", "path", "from", "value")}


def _denied(ctx: Context, failures: list[tuple[str, str]]) -> errors.StatusError:
    message, reason = failures[0]
    name = ctx.name
    refusal = errors.forbidden(ctx.resource.group_resource, name, message)
    refusal.status.reason = reason
    refusal.status.code = _CODES.get(reason, 422)
    if refusal.status.details is not None:
        refusal.status.details.causes = [StatusCause(message=text) for text, _ in failures]
    return refusal
