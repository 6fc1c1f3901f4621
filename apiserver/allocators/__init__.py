"""Addresses and ports that Services own: handed out once in the whole cluster, however many API servers there are.

Exactness rests on the store alone: an address or a port is taken by creating its key, which only one writer can. What
the caches know merely makes the first try a good one. If it is unknown whether a Service was stored, nothing is given
back; `repair` finds later what no Service holds.

Lives here: the allocators and their repair. May not live here: which addresses and ports a Service needs
(`apiserver.resources.services`).
"""

from __future__ import annotations

import sys

from api.errors import StatusError
from apiserver.store import Conflict, Exists


class Taken(Exception):
    """Somebody else has it."""


class OutOfRange(Exception):
    """It is not for Services to have."""


class Full(Exception):
    """Nothing is left."""


def certainly_failed() -> bool:
    """Inside an `except`: whether the write that failed can't have been applied, so that giving back is safe."""
    return isinstance(sys.exc_info()[1], StatusError | Conflict | Exists)
