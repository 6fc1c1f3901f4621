"""What most strategies share: a spec that users write, a status that the system writes, a generation that counts.

A kind with nothing but rules is one `BuiltIn(...)` in its family's file, described by functions; a kind that prepares
or allocates something subclasses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from api.errors import FieldError
from api.resources import Resource, resource_for
from apiserver.printers import CREATED_AT, created_at_cells
from apiserver.strategy import Column, Context, Strategy
from apiserver.validation.common import semantic_equal

ObjectRules = Callable[[Any], list[FieldError]]
UpdateRules = Callable[[Any, Any], list[FieldError]]


class BuiltIn(Strategy):
    """A kind described by functions; what is left out is upstream's default (no rules, Name and Created At)."""

    def __init__(
        self,
        resource: Resource | type[Any],
        *,
        defaults: Callable[[Any], None] | None = None,
        columns: Sequence[Column] = CREATED_AT,
        cells: Callable[[Any], list[Any]] = created_at_cells,
        name: Callable[[str], list[str]] | None = None,
        create: ObjectRules | None = None,
        update: UpdateRules | None = None,
        status: UpdateRules | None = None,
        generation_of: Sequence[str] = (),
        create_on_update: bool = False,
        unconditional_update: bool = True,
        fields: Mapping[str, Callable[[Any], str]] | None = None,
        orphans_by_default: bool = False,
        deprecation: str = "",
    ) -> None:
        super().__init__(resource if isinstance(resource, Resource) else resource_for(resource))
        self.columns = columns
        self.create_on_update = create_on_update
        self.unconditional_update = unconditional_update
        self.deprecation = deprecation
        self.selectable_fields = tuple(fields or ())
        self._defaults = defaults
        self._cells = cells
        self._name = name
        self._create, self._update, self._status = create, update, status
        self._generation_of = generation_of
        self._fields = fields or {}
        self._orphans = orphans_by_default
        names = self.resource.type.__struct_fields__
        self._has_status = "status" in names and "status" in self.resource.subresources
        self._outside_status = [n for n in names if n not in ("api_version", "kind", "metadata", "status")]

    def default(self, obj: Any) -> None:
        if self._defaults is not None:
            self._defaults(obj)

    def cells(self, obj: Any) -> list[Any]:
        return self._cells(obj)

    def validate_name(self, name: str) -> list[str]:
        return self._name(name) if self._name is not None else super().validate_name(name)

    def field_values(self, obj: Any) -> Mapping[str, str]:
        return {name: value(obj) for name, value in self._fields.items()} if self._fields else {}

    def prepare_create(self, ctx: Context, obj: Any) -> None:
        if self._has_status:
            obj.status = type(obj.status)()
        if self._generation_of:
            obj.metadata.generation = 1

    def prepare_update(self, ctx: Context, new: Any, old: Any) -> None:
        if self._has_status:
            new.status = old.status
        self.count_generation(new, old)

    def prepare_status_update(self, ctx: Context, new: Any, old: Any) -> None:
        for name in self._outside_status:
            setattr(new, name, getattr(old, name))

    def count_generation(self, new: Any, old: Any) -> None:
        """A new generation if anything in `generation_of` changed."""
        if self._generation_of:
            changed = any(not semantic_equal(getattr(new, n), getattr(old, n)) for n in self._generation_of)
            new.metadata.generation = (old.metadata.generation or 0) + changed

    def validate_create(self, ctx: Context, obj: Any) -> list[FieldError]:
        return self._create(obj) if self._create is not None else []

    def validate_update(self, ctx: Context, new: Any, old: Any) -> list[FieldError]:
        return self._update(new, old) if self._update is not None else []

    def validate_status_update(self, ctx: Context, new: Any, old: Any) -> list[FieldError]:
        return self._status(new, old) if self._status is not None else []

    def default_finalizers(self, ctx: Context, obj: Any, options: Any) -> Sequence[str] | None:
        return ("orphan",) if self._orphans else None
