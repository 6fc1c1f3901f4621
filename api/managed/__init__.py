"""Who set which field: server-side apply and field ownership (KEP-555), on plain JSON values.

`metadata.managedFields` says of every manager which fields it set. An apply merges what a manager wants into what is
there, refuses to take fields from others, and removes what nobody wants any more; any other write just takes what it
changes. The rules are those of sigs.k8s.io/structured-merge-diff and k8s.io/apimachinery's managedfields package.

- `elements`, `sets`: paths, and sets of them, in the very form in which they are stored (FieldsV1);
- `types`: which lists are maps or sets, which structures are atomic; from the generated types, a CRD or the value;
- `check`, `compare`, `fields`, `merge`, `prune`: what can be done with values of a type;
- `entries`: the list of managers of an object; `updater`: what a write does to it; `manager`: the whole, per resource
  and subresource; `scale`: ownership between a Scale and its workload.

Lives here: everything that needs only values and types. May not live here: requests, storage, resources' rules.
"""

from __future__ import annotations

from api.managed.check import TypedError
from api.managed.entries import LAST_APPLIED, Managed, is_reset
from api.managed.manager import FieldManager
from api.managed.sets import Filter, Set
from api.managed.types import Type, deduced, from_openapi, type_of

__all__ = [
    "LAST_APPLIED",
    "FieldManager",
    "Filter",
    "Managed",
    "Set",
    "Type",
    "TypedError",
    "deduced",
    "from_openapi",
    "is_reset",
    "type_of",
]
