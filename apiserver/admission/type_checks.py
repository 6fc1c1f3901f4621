"""What is wrong with the types in a ValidatingAdmissionPolicy's expressions, told in its status (KEP-3488).

That an expression names a field that a matched kind does not have would otherwise show when such an object is written,
which is too late; so each generation of a policy is checked against the built-in kinds that it names. Rules with
wildcards are left out, and so are custom kinds. Source: apiserver's validating policy type checker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from api import errors
from api.types.admissionregistration_v1 import ExpressionWarning, TypeChecking, ValidatingAdmissionPolicy
from apiserver.admission.policies import DECLARED
from apiserver.auth.source import RegistrySource
from apiserver.registry import Registry

log = logging.getLogger(__name__)

_MOST = 10  # kinds that one policy is checked against
_RETRY = 1.0  # seconds


class TypeChecks:
    """`running()` is its life. Several servers may do the same: the outcome is."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Check what there is, and what comes, until the end."""
        RegistrySource(self._registry).subscribe(ValidatingAdmissionPolicy, self._changed, self._all)
        self._all()
        task = asyncio.create_task(self._work(), name="types of admission policies")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _all(self) -> None:
        for policy in self._registry.cached_list(ValidatingAdmissionPolicy):
            self._changed(None, policy)

    def _changed(self, _: ValidatingAdmissionPolicy | None, new: ValidatingAdmissionPolicy | None) -> None:
        if new is not None and new.status.observed_generation != new.metadata.generation:
            self._queue.put_nowait(new.metadata.name or "")

    async def _work(self) -> None:
        while True:
            name = await self._queue.get()
            try:
                await self._registry.mutate(ValidatingAdmissionPolicy, name, self._check, subresource="status")
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    log.info("types of the policy %s: %s", name, error)
                    asyncio.get_running_loop().call_later(_RETRY, self._queue.put_nowait, name)
            except Exception:
                log.exception("types of the policy %s", name)

    def _check(self, policy: ValidatingAdmissionPolicy) -> None:
        if policy.status.observed_generation == policy.metadata.generation:
            return
        policy.status.type_checking = TypeChecking(expression_warnings=warnings(self._registry, policy) or None)
        policy.status.observed_generation = policy.metadata.generation


def warnings(registry: Registry, policy: ValidatingAdmissionPolicy) -> list[ExpressionWarning]:
    """What each expression gets wrong, by the kinds that the policy matches."""
    from apiserver.cel.typed import complaint, type_of  # the runtime takes 30 MB: only a policy needs it

    known = {str(gvk): type_of(kind) for gvk, kind in _kinds(registry, policy).items()}
    found = []
    for index, validation in enumerate(policy.spec.validations or ()):
        texts = {"expression": validation.expression, "messageExpression": validation.message_expression}
        for field, text in texts.items():
            if not text:
                continue
            complaints = []
            for gvk, name in sorted(known.items()):
                typed = {**dict(DECLARED), "object": name, "oldObject": name}
                if wrong := complaint(text, tuple(sorted(typed.items()))):
                    complaints.append(f"{gvk}: {wrong}")
            if complaints:
                where = f"spec.validations[{index}].{field}"
                found.append(ExpressionWarning(field_ref=where, warning="\n".join(complaints)))
    return found


def _kinds(registry: Registry, policy: ValidatingAdmissionPolicy) -> dict[str, type]:
    """`apps/v1, Kind=Deployment` and the type, of everything built in that the rules name."""
    found: dict[str, type] = {}
    constraints = policy.spec.match_constraints
    for rule in (constraints.resource_rules if constraints is not None else None) or ():
        for group in rule.api_groups or ():
            for version in rule.api_versions or ():
                for plural in rule.resources or ():
                    endpoint = registry.find(group, version, plural)
                    if endpoint is not None and not endpoint.custom:
                        resource = endpoint.resource
                        shown = f"{group}/{version}" if group else f"/{version}"
                        found[f"{shown}, Kind={resource.kind}"] = resource.type
    return dict(sorted(found.items())[:_MOST])
