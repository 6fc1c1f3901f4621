"""Objects for the tests of rules and defaults: from YAML, as the pipeline would hand them to a strategy."""

from __future__ import annotations

from typing import Any

import yaml

from api import codec
from api.canonical import canonicalize
from api.resources import find_kind, resource_for
from apiserver.auth import User
from apiserver.resources import strategies
from apiserver.strategy import Context, Strategy

STRATEGIES = strategies()
USER = User("jane", uid="1", groups=("system:authenticated",))


def strategy_of(obj: Any) -> Strategy:
    return STRATEGIES[resource_for(obj)]


def context(obj: Any, **more: Any) -> Context:
    meta = obj.metadata
    return Context(
        user=USER,
        registry=None,  # type: ignore[arg-type]
        resource=resource_for(obj),
        namespace=meta.namespace or "",
        name=meta.name or "",
        warnings=[],
        **more,
    )


def merge(base: Any, change: Any) -> Any:
    """`change` over `base`: maps are merged, None removes, everything else replaces."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    merged = {**base}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(base.get(key), value)
    return merged


def make(text: str | dict[str, Any], change: str | dict[str, Any] | None = None) -> Any:
    """A decoded, canonical and defaulted object."""
    document = yaml.safe_load(text) if isinstance(text, str) else text
    if change is not None:
        document = merge(document, yaml.safe_load(change) if isinstance(change, str) else change)
    resource = find_kind(document["apiVersion"], document["kind"])
    assert resource is not None
    obj = codec.from_dict(resource.type, document)
    canonicalize(obj)
    STRATEGIES[resource].default(obj)
    return obj


def created(text: str | dict[str, Any], change: str | dict[str, Any] | None = None) -> Any:
    """The same after the strategy prepared it for creation."""
    obj = make(text, change)
    strategy_of(obj).prepare_create(context(obj), obj)
    return obj


def create_errors(text: str | dict[str, Any], change: str | dict[str, Any] | None = None) -> list[str]:
    obj = created(text, change)
    return [str(error) for error in strategy_of(obj).validate_create(context(obj), obj)]


def update_errors(text: str, before: str | None, after: str | None) -> list[str]:
    """Errors of updating an object (`text` with the change `before`) to `text` with the change `after`."""
    old, new = created(text, before), make(text, after)
    strategy, ctx = strategy_of(old), context(old)
    strategy.prepare_update(ctx, new, old)
    return [str(error) for error in strategy.validate_update(ctx, new, old)]


def status_errors(text: str, before: str, after: str) -> list[str]:
    old, new = make(text, before), make(text, after)
    strategy, ctx = strategy_of(old), context(old)
    strategy.prepare_status_update(ctx, new, old)
    return [str(error) for error in strategy.validate_status_update(ctx, new, old)]


def shown(obj: Any) -> dict[str, Any]:
    """The object as clients read it."""
    return codec.to_dict(obj)
