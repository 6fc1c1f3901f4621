"""LimitRanger: gives containers the defaults of their namespace's limit ranges and holds pods and claims to the bounds.

Source: kubernetes/plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from api import errors
from api.quantity import Quantity
from api.types.core_v1 import Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod
from apiserver.admission import Operation
from apiserver.defaults.pods import aggregate
from apiserver.strategy import Context

ANNOTATION = "kubernetes.io/limit-ranger"
_Amounts = dict[str, Quantity]


class LimitRanger:
    name = "LimitRanger"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        if ctx.subresource or ctx.resource.group:
            return False
        if ctx.resource.kind == "Pod":
            return operation == "CREATE"  # the containers of a pod never change
        return ctx.resource.kind == "PersistentVolumeClaim" and operation in ("CREATE", "UPDATE")

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        if isinstance(new, Pod):
            for limits in self._ranges(ctx):
                _set_defaults(new, limits)

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403 with all that is out of bounds."""
        if old is not None and new.metadata.deletion_timestamp:
            return
        for limits in self._ranges(ctx):
            problems = list(_problems(new, limits))
            if problems:
                detail = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
                raise errors.forbidden(ctx.resource.group_resource, new.metadata.name or "", detail)

    @staticmethod
    def _ranges(ctx: Context) -> list[LimitRange]:
        return ctx.registry.cached_list(LimitRange, ctx.namespace)


def _set_defaults(pod: Pod, limits: LimitRange) -> None:
    requests: dict[str, Any] = {}
    bounds: dict[str, Any] = {}
    for item in limits.spec.limits:
        if item.type == "Container":
            requests.update(item.default_request or {})
            bounds.update(item.default or {})
    if not requests and not bounds:
        return
    notes: list[str] = []
    for word, containers in (("container", pod.spec.containers), ("init container", pod.spec.init_containers or ())):
        for container in containers:
            notes += _merge(container, requests, bounds, word)
    if notes:
        text = f"LimitRanger plugin set: {'; '.join(notes)}"
        pod.metadata.annotations = {**(pod.metadata.annotations or {}), ANNOTATION: text}


def _merge(container: Container, requests: dict[str, Any], limits: dict[str, Any], word: str) -> list[str]:
    notes = []
    resources = container.resources
    for side, defaults in (("request", requests), ("limit", limits)):
        have = (resources.requests if side == "request" else resources.limits) or {}
        missing = sorted(name for name in defaults if name not in have)
        if not missing:
            continue
        merged = {**have, **{name: defaults[name] for name in missing}}
        if side == "request":
            resources.requests = merged
        else:
            resources.limits = merged
        notes.append(f"{', '.join(missing)} {side} for {word} {container.name}")
    return notes


def _problems(obj: Any, limits: LimitRange) -> Iterable[str]:
    for item in limits.spec.limits:
        if isinstance(obj, PersistentVolumeClaim):
            if item.type == "PersistentVolumeClaim":
                yield from _claim(obj, item)
        elif item.type == "Container":
            for container in (*(obj.spec.containers), *(obj.spec.init_containers or ())):
                amounts = _amounts(container.resources.requests), _amounts(container.resources.limits)
                yield from _check(item, *amounts)
        elif item.type == "Pod":
            yield from _check(item, *_pod_amounts(obj))


def _amounts(resources: dict[str, Any] | None) -> _Amounts:
    return {name: Quantity(value) for name, value in (resources or {}).items()}


def _pod_amounts(pod: Pod) -> tuple[_Amounts, _Amounts]:
    requests, limits = aggregate(pod.spec, "requests"), aggregate(pod.spec, "limits")
    if pod.spec.resources is not None:
        requests.update(_amounts(pod.spec.resources.requests))
        limits.update(_amounts(pod.spec.resources.limits))
    return requests, limits


def _claim(claim: PersistentVolumeClaim, item: LimitRangeItem) -> Iterable[str]:
    requests = _amounts(claim.spec.resources.requests)
    for name, value in _amounts(item.min).items():
        yield from _minimum(item.type, name, value, requests, {})
    for name, value in _amounts(item.max).items():
        if name not in requests:
            yield f"maximum {name} usage per {item.type} is {value}.  No request is specified"
        elif requests[name] > value:
            yield f"maximum {name} usage per {item.type} is {value}, but request is {requests[name]}"


def _check(item: LimitRangeItem, requests: _Amounts, limits: _Amounts) -> Iterable[str]:
    for name, value in _amounts(item.min).items():
        yield from _minimum(item.type, name, value, requests, limits)
    for name, value in _amounts(item.max).items():
        yield from _maximum(item.type, name, value, requests, limits)
    for name, value in _amounts(item.max_limit_request_ratio).items():
        yield from _ratio(item.type, name, value, requests, limits)


def _minimum(kind: str, name: str, value: Quantity, requests: _Amounts, limits: _Amounts) -> Iterable[str]:
    if name not in requests:
        yield f"minimum {name} usage per {kind} is {value}.  No request is specified"
    elif requests[name] < value:
        yield f"minimum {name} usage per {kind} is {value}, but request is {requests[name]}"
    elif name in limits and limits[name] < value:
        yield f"minimum {name} usage per {kind} is {value}, but limit is {limits[name]}"


def _maximum(kind: str, name: str, value: Quantity, requests: _Amounts, limits: _Amounts) -> Iterable[str]:
    if name not in limits:
        yield f"maximum {name} usage per {kind} is {value}.  No limit is specified"
    elif limits[name] > value:
        yield f"maximum {name} usage per {kind} is {value}, but limit is {limits[name]}"
    elif name in requests and requests[name] > value:
        yield f"maximum {name} usage per {kind} is {value}, but request is {requests[name]}"


def _ratio(kind: str, name: str, value: Quantity, requests: _Amounts, limits: _Amounts) -> Iterable[str]:
    head = f"{name} max limit to request ratio per {kind} is {value}"
    if not requests.get(name):
        yield f"{head}, but no request is specified or request is 0"
    elif not limits.get(name):
        yield f"{head}, but no limit is specified or limit is 0"
    else:
        ratio = limits[name].fraction / requests[name].fraction
        if ratio > value.fraction:
            yield f"{head}, but provided ratio is {float(ratio):f}"
