"""The RBAC objects that every cluster starts with: upstream's bootstrap policy, and what keeps it there.

Lives here: roles and bindings as data, and their reconciliation at start. May not live here: how rules are evaluated.
"""
