"""The tag of an image reference, as the distribution library parses it; the pull policy depends on it."""

from __future__ import annotations

import re
from functools import lru_cache

_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"^(?P<name>(?:{_DOMAIN}/)?{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$",
    re.ASCII,
)


@lru_cache(maxsize=4096)
def image_tag(image: str) -> str:
    """The tag; `latest` if there is neither tag nor digest; empty for a reference that does not parse."""
    match = _REFERENCE.match(image)
    if match is None:
        return ""
    tag = match["tag"] or ""
    if not tag and not match["digest"]:
        return "latest"
    return tag


def default_pull_policy(image: str | None) -> str:
    """`Always` for a moving tag, `IfNotPresent` otherwise."""
    return "Always" if image_tag(image or "") == "latest" else "IfNotPresent"
