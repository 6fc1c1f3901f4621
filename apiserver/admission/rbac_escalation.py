"""Refuses roles and bindings that give more than their writer has.

Upstream does this in the storage of the RBAC resources; it is admission here, as it depends on who writes.
"""

from __future__ import annotations

from typing import Any

from apiserver.admission import Operation
from apiserver.auth.escalation import EscalationCheck
from apiserver.strategy import Context

_GROUP = "rbac.authorization.k8s.io"


class RBACEscalation:
    """Takes part only where RBAC decides."""

    name = "RBACEscalation"

    def __init__(self, check: EscalationCheck) -> None:
        self._check = check

    def handles(self, ctx: Context, operation: Operation) -> bool:
        """All four kinds of the RBAC group."""
        return ctx.resource.group == _GROUP and operation in ("CREATE", "UPDATE")

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403 with the permissions that are missing, 404 for a role that isn't there."""
        self._check.check(ctx.user, new, old)
