"""A ClusterRole with an aggregationRule has the rules of all ClusterRoles that its selectors match, and no others.

Rules are taken in the order of the roles' names, each once; a role never counts for itself.
"""

from __future__ import annotations

from api import codec
from api.selectors import selector_from
from api.types.rbac_v1 import ClusterRole, PolicyRule
from client.controller import Controller
from controller_manager.context import Context


class ClusterRoleAggregationController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._roles = context.informers.informer(ClusterRole)
        self.controller: Controller[str] = Controller("ClusterRoleAggregator", self.reconcile, workers=5)
        self._roles.add_handler(
            on_add=lambda _: self._wake(), on_update=lambda _, __: self._wake(), on_delete=lambda _: self._wake()
        )

    async def run(self) -> None:
        await self.controller.run()

    def _wake(self) -> None:
        for role in self._roles.list():
            if role.aggregation_rule is not None:
                self.controller.enqueue(role.metadata.name or "")

    async def reconcile(self, name: str) -> float | None:
        role = self._roles.get("", name)
        if role is None or role.aggregation_rule is None:
            return None
        rules: list[PolicyRule] = []
        for selector in map(selector_from, role.aggregation_rule.cluster_role_selectors or ()):
            for other in sorted(self._roles.list(selector=selector), key=lambda r: r.metadata.name or ""):
                if other.metadata.name != name:
                    rules.extend(rule for rule in other.rules or () if rule not in rules)
        if rules == (role.rules or []):
            return None
        changed = codec.deepcopy(role)
        changed.rules = [codec.deepcopy(rule) for rule in rules]
        await self._api.update(changed)
        return None
