"""Subresources: a file each, with its own rules for what a write through it may change.

Importing this package registers them all with `apiserver.operations`. Lives here: scale, binding, eviction and the
like, and resources that are answered instead of stored. May not live here: `status`, which is generic, and streams,
which belong to the REST face.
"""

from apiserver.subresources import (  # noqa: F401
    binding,
    component_statuses,
    eviction,
    parts,
    reviews,
    scale,
    token,
)
