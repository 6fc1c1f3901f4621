"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: admission that others decide, over HTTPS.

Configurations come in the order of their names; mutating webhooks are asked one after the other, validating ones all at
once. Source: k8s.io/apiserver/pkg/admission/plugin/webhook/{mutating,validating}.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import copy
import logging
from typing import Any

import msgspec

from api import errors
from api import patch as patches
from api.types.admissionregistration_v1 import (
    MutatingWebhook,
    MutatingWebhookConfiguration,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
)
from api.types.meta_v1 import Status
from apiserver.admission import Operation
from apiserver.admission.reviewed import VARIABLES, Reviewed, exempt, matched, new_uid, selected
from apiserver.endpoint import Endpoint
from apiserver.outbound import CallFailed
from apiserver.strategy import Context

log = logging.getLogger(__name__)

Webhook = MutatingWebhook | ValidatingWebhook
_DEFAULT_TIMEOUT = 10  # seconds


class Failed(Exception):
    """A webhook that could not be asked, or answered nonsense."""


class _Webhooks:
    kind: type[Any]

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return bool(len(ctx.registry.cache(self.kind))) and not exempt(ctx)

    def _relevant(self, review: Reviewed) -> list[tuple[str, Any, Endpoint]]:
        """The webhooks whose rules and selectors match, each with the version it wants to see."""
        found = []
        configurations = sorted(review.ctx.registry.cached_list(self.kind), key=lambda c: c.metadata.name)
        for configuration in configurations:
            for webhook in configuration.webhooks or ():
                endpoint = matched(webhook.rules, webhook.match_policy, review.ctx, review.operation)
                selectors = webhook.namespace_selector, webhook.object_selector
                if endpoint is not None and selected(review.ctx, *selectors, review.new, review.old):
                    found.append((configuration.metadata.name, webhook, endpoint))
        return found

    async def _ask(self, review: Reviewed, webhook: Webhook, endpoint: Endpoint) -> dict[str, Any] | None:
        """The response of a webhook that lets the write through; None if it need not be, or could not be asked.

        Raises StatusError if it refuses, or could not be asked and has to be.
        """
        ignore = webhook.failure_policy == "Ignore"
        await review.convertible(endpoint)
        try:
            if webhook.match_conditions:
                variables = review.variables(endpoint)
                if not review.conditions_hold(webhook.match_conditions, variables, VARIABLES):
                    return None
        except ValueError as error:
            if ignore:
                return None
            raise errors.forbidden(
                review.ctx.resource.group_resource, review.ctx.name, f"match conditions: {error}"
            ) from None
        if review.ctx.dry_run and webhook.side_effects not in ("None", "NoneOnDryRun"):
            raise errors.bad_request(f'admission webhook "{webhook.name}" does not support dry run')
        try:
            response = await _call(review, webhook, endpoint)
        except Failed as error:
            if ignore:
                log.warning("failed calling webhook, failing open %s: %s", webhook.name, error)
                return None
            raise errors.internal(f'failed calling webhook "{webhook.name}": {error}') from None
        for warning in response.get("warnings") or ():
            review.ctx.warn(str(warning)[:4096])
        for key, value in (response.get("auditAnnotations") or {}).items():
            review.ctx.annotate(f"{webhook.name}/{key}", str(value))
        if response.get("allowed") is not True:
            raise _denied(webhook.name, response.get("status") or {})
        return response


class MutatingAdmissionWebhook(_Webhooks):
    name = "MutatingAdmissionWebhook"
    kind = MutatingWebhookConfiguration

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        review = Reviewed(ctx, operation, new, old)
        changed_after: dict[int, bool] = {}
        relevant = self._relevant(review)
        for index, (_, webhook, endpoint) in enumerate(relevant):
            if await self._apply(review, webhook, endpoint):
                for earlier in changed_after:
                    changed_after[earlier] = True
            if webhook.reinvocation_policy == "IfNeeded":
                changed_after[index] = False
        for index, again in changed_after.items():
            if again:
                _, webhook, endpoint = relevant[index]
                await self._apply(review, webhook, endpoint)

    async def _apply(self, review: Reviewed, webhook: MutatingWebhook, endpoint: Endpoint) -> bool:
        """Whether the webhook changed the object."""
        response = await self._ask(review, webhook, endpoint)
        encoded = response.get("patch") if response else None
        if not response or not encoded:
            return False
        try:
            if response.get("patchType") != "JSONPatch":
                raise Failed(f'received invalid webhook response: unsupported patch type "{response.get("patchType")}"')
            if review.new is None:
                raise Failed("webhook attempted to modify the object, which is not supported for this operation")
            operations = msgspec.json.decode(base64.b64decode(encoded, validate=True))
            before = review.document(review.new, endpoint)
            after = patches.json_patch(copy.deepcopy(before), operations)
            if after == before:
                return False
            review.replace(after, endpoint)
        except (Failed, binascii.Error, msgspec.MsgspecError, errors.StatusError) as error:
            if webhook.failure_policy == "Ignore":
                log.warning("failed calling webhook, failing open %s: %s", webhook.name, error)
                return False
            raise errors.internal(f'failed calling webhook "{webhook.name}": {error}') from None
        return True

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Those who only refuse have a configuration of their own."""


class ValidatingAdmissionWebhook(_Webhooks):
    name = "ValidatingAdmissionWebhook"
    kind = ValidatingWebhookConfiguration

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """They look at the final object only."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        review = Reviewed(ctx, operation, new, old)
        asked = [self._ask(review, webhook, endpoint) for _, webhook, endpoint in self._relevant(review)]
        if len(asked) == 1:
            await asked[0]
            return
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


async def _call(review: Reviewed, webhook: Webhook, endpoint: Endpoint) -> dict[str, Any]:
    version = next((v for v in webhook.admission_review_versions if v in ("v1", "v1beta1")), "")
    if not version:
        raise Failed("webhook does not accept known AdmissionReview versions (v1, v1beta1)")
    uid, timeout = new_uid(), webhook.timeout_seconds or _DEFAULT_TIMEOUT
    objects = {
        "object": review.document(review.new, endpoint),
        "oldObject": review.document(review.old, endpoint),
    }
    body = {
        "kind": "AdmissionReview",
        "apiVersion": f"admission.k8s.io/{version}",
        "request": {"uid": uid, **review.request(endpoint, **objects)},
    }
    caller = review.ctx.registry.services.caller
    if caller is None:
        raise Failed("this server calls no webhooks")
    try:
        answer = await caller.post(
            webhook.client_config, body, timeout=float(timeout), query={"timeout": f"{timeout}s"}
        )
    except CallFailed as error:
        raise Failed(f"failed to call webhook: {error}") from None
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise Failed("failed to call webhook: webhook response was absent")
    if version == "v1":
        expected = f"admission.k8s.io/{version}, Kind=AdmissionReview"
        got = f"{answer.get('apiVersion', '')}, Kind={answer.get('kind', '')}"
        if got != expected:
            raise Failed(f"received invalid webhook response: expected webhook response of {expected}, got {got}")
        if response.get("uid") != uid:
            raise Failed(
                f'received invalid webhook response: expected response.uid="{uid}", got "{response.get("uid", "")}"'
            )
        if response.get("patch") and not response.get("patchType"):
            raise Failed(
                "received invalid webhook response: webhook returned response.patch but not response.patchType"
            )
    elif response.get("patch"):
        response.setdefault("patchType", "JSONPatch")
    return response


def _denied(name: str, result: dict[str, Any]) -> errors.StatusError:
    by = f'admission webhook "{name}" denied the request'
    words = result.get("message") or result.get("reason")
    message = f"{by}: {words}" if words else f"{by} without explanation"
    code = result.get("code")
    status = Status(
        status="Failure",
        code=code if isinstance(code, int) and code >= 400 else 400,
        reason=result.get("reason") or None,
        message=message,
    )
    return errors.StatusError(status)
