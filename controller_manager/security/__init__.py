"""Roles, tokens and certificates that the cluster looks after by itself."""
