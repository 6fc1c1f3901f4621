"""The name under which a request's changes are kept in managedFields: what it says, or what can be told of it."""

from __future__ import annotations

from api.errors import FieldError
from apiserver.auth import User

_LIMIT = 128  # bytes


def errors_of(name: str) -> list[FieldError]:
    """What is wrong with a name that a client gave (ValidateFieldManager)."""
    found = []
    if len(name.encode()) > _LIMIT:
        found.append(FieldError.too_long("fieldManager", name, _LIMIT))
    at = 0
    for char in name:
        if not char.isprintable():
            found.append(
                FieldError.invalid("fieldManager", name, f"invalid character U+{ord(char):04X} (at position {at})")
            )
        at += len(char.encode())
    return found


def of_user_agent(user_agent: str) -> str:
    """The first part of a User-Agent: `kubectl` of `kubectl/v1.32.0 (linux/amd64) ...` (PrefixFromUserAgent)."""
    name = "".join(char for char in user_agent.partition("/")[0] if char.isprintable())
    if len(name) > _LIMIT or not name.isascii():
        name = name.encode()[:_LIMIT].decode(errors="ignore")
    return name or "unknown"


def of_user(user: User) -> str:
    """The component that a certificate names, for callers that have no User-Agent: `kubelet`, `kube-scheduler`."""
    name = user.name
    if name.startswith("system:node:"):
        return "kubelet"
    return name.rpartition(":")[2][:_LIMIT] or "unknown"
