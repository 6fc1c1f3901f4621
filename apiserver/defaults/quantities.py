"""Resource lists as upstream stores them: quantities rounded up to a thousandth (SetDefaults_ResourceList)."""

from __future__ import annotations

from functools import lru_cache

from api.quantity import Quantity, canonical

__all__ = ["canonical", "default_resource_list"]


@lru_cache(maxsize=8192, typed=True)
def _rounded(value: str | int | float) -> str:
    text = canonical(value)
    milli = Quantity.from_milli(Quantity(text).milli)
    return text if milli == Quantity(text) else str(milli)


def default_resource_list(resources: dict[str, str | int | float] | None) -> None:
    """Bring every quantity of a resource list into its stored form."""
    if resources:
        for name, value in resources.items():
            resources[name] = _rounded(value)
