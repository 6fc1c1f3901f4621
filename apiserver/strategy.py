"""What makes a resource different from the others: its strategy.

The pipeline in `apiserver.registry` is the same for every resource; it asks the resource's `Strategy` at each step.
A resource with nothing special uses `Strategy` as it is. One file per resource under `apiserver/resources/`
subclasses it; adding a resource is adding one such file. Objects here are always typed structs of `api.types`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api import names
from api.errors import FieldError
from api.resources import Resource
from apiserver.auth import User

if TYPE_CHECKING:
    from apiserver.registry import Registry


@dataclass(slots=True)
class Context:
    """One request as the strategies and the admission plugins see it."""

    user: User
    registry: Registry  # every other resource: `await ctx.registry.get("namespaces", name)`, its caches, its writes
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    field_manager: str = ""  # who the client says it is, for managedFields
    dry_run: bool = False
    options: Any = None  # CreateOptions, UpdateOptions, PatchOptions or DeleteOptions
    warnings: list[str] | None = None  # sent as Warning headers
    audit: Callable[[str, str], None] | None = None  # adds an annotation to the request's audit events

    def annotate(self, key: str, value: str) -> None:
        """Say something in the audit log; of several values for one key the first stays."""
        if self.audit is not None:
            self.audit(key, value)

    def warn(self, message: str) -> None:
        if self.warnings is not None and message not in self.warnings:
            self.warnings.append(message)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a server-side Table, as in meta/v1 TableColumnDefinition."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0  # above 0: shown by `-o wide` only


class Strategy:
    """Defaults of every hook: accept, change nothing, Name and Age as columns."""

    columns: Sequence[Column] = (
        Column("Name", format="name", description="Name must be unique within a namespace."),
        Column("Age", description="CreationTimestamp is a timestamp representing when this object was created."),
    )
    #: May PUT create the object if it is not there (upstream's AllowCreateOnUpdate: Lease, RBAC and the like)?
    create_on_update: bool = False
    #: May an update leave metadata.resourceVersion empty and overwrite whatever is stored (AllowUnconditionalUpdate)?
    unconditional_update: bool = True
    #: Said in a Warning header to whoever uses this resource; empty for all that are not deprecated.
    deprecation: str = ""
    #: Fields other than metadata.name and metadata.namespace that field selectors may use.
    selectable_fields: Sequence[str] = ()

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    # -- defaults and preparation ---------------------------------------------------------------------------------

    def default(self, obj: Any) -> None:
        """Set upstream's defaults in place (SetObjectDefaults_X). Runs on every decoded object, also on update."""

    def prepare_create(self, ctx: Context, obj: Any) -> None:
        """Drop what a client may not set on creation (status, ...), set generation and the like (PrepareForCreate)."""

    def prepare_update(self, ctx: Context, new: Any, old: Any) -> None:
        """Put back what this update may not change (status), bump generation if spec changed (PrepareForUpdate)."""

    def prepare_status_update(self, ctx: Context, new: Any, old: Any) -> None:
        """For writes through `status`: put back everything but status (and what else upstream lets through)."""

    # -- validation -----------------------------------------------------------------------------------------------

    def validate_create(self, ctx: Context, obj: Any) -> list[FieldError]:
        return []

    def validate_update(self, ctx: Context, new: Any, old: Any) -> list[FieldError]:
        return []

    def validate_status_update(self, ctx: Context, new: Any, old: Any) -> list[FieldError]:
        return []

    def validate_name(self, name: str) -> list[str]:
        """Upstream's messages for a bad metadata.name; DNS-1123 subdomain unless the resource overrides it."""
        return names.dns1123_subdomain(name)

    def warnings(self, ctx: Context, obj: Any, old: Any | None) -> list[str]:
        """Warnings that upstream sends for accepted objects."""
        return []

    # -- allocation and side effects ------------------------------------------------------------------------------

    async def before_create(self, ctx: Context, obj: Any) -> None:
        """After admission and validation, before the object is stored (allocate addresses, ...)."""

    async def after_create_failed(self, ctx: Context, obj: Any) -> None:
        """Undo `before_create` if the object could not be stored."""

    async def before_update(self, ctx: Context, new: Any, old: Any) -> None: ...

    async def after_update_failed(self, ctx: Context, new: Any, old: Any) -> None: ...

    async def after_update(self, ctx: Context, new: Any, old: Any) -> None:
        """The update is stored (release what it gave up, ...)."""

    async def after_delete(self, ctx: Context, obj: Any) -> None:
        """The object is gone from the store (release addresses, ...)."""

    # -- deletion -------------------------------------------------------------------------------------------------

    def prepare_delete(self, ctx: Context, obj: Any) -> None:
        """Change an object that is about to be deleted, in place (put a finalizer on it, say)."""

    def graceful_deletion(self, ctx: Context, obj: Any, options: Any) -> int | None:
        """Seconds of grace for this deletion, or None if the resource knows no graceful deletion (most)."""
        return None

    def default_finalizers(self, ctx: Context, obj: Any, options: Any) -> Sequence[str] | None:
        """Default garbage-collection finalizers if `propagationPolicy` is unset (DefaultGarbageCollection)."""
        return None

    # -- views ----------------------------------------------------------------------------------------------------

    def field_values(self, obj: Any) -> Mapping[str, str]:
        """Values of `selectable_fields`."""
        return {}

    def cells(self, obj: Any) -> list[Any]:
        """The Table row of this object, one cell per column."""
        from apiserver.printers import age

        return [obj.metadata.name, age(obj.metadata.creation_timestamp)]

    def row_conditions(self, obj: Any) -> list[dict[str, str]] | None:
        """`conditions` of the Table row: that a pod has finished, say."""
        return None
