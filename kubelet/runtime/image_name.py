"""Image references: `redis` means `docker.io/library/redis:latest`, and what is no reference at all is refused.

Follows the grammar of distribution/reference. Pure functions.
"""

from __future__ import annotations

import re

DEFAULT_DOMAIN = "docker.io"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)
_MAX_NAME = 255


def split(image: str) -> tuple[str, str, str, str]:
    """(domain, path, tag, digest), with defaults; raises ValueError with upstream's words."""
    match = _REFERENCE.fullmatch(image)
    if match is None:
        if _REFERENCE.fullmatch(image.lower()):
            raise ValueError("invalid reference format: repository name must be lowercase")
        raise ValueError("invalid reference format")
    domain, path = match["domain"] or "", match["path"]
    if domain and "." not in domain and ":" not in domain and domain != "localhost" and domain == domain.lower():
        domain, path = "", f"{domain}/{path}"
    domain = domain or DEFAULT_DOMAIN
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    if len(f"{domain}/{path}") > _MAX_NAME:
        raise ValueError(f"invalid reference format: repository name must not be more than {_MAX_NAME} characters")
    digest = match["digest"] or ""
    tag = match["tag"] or ("" if digest else "latest")
    return domain, path, tag, digest


def normalize(image: str) -> str:
    """`redis` -> `docker.io/library/redis:latest`; raises ValueError."""
    domain, path, tag, digest = split(image)
    return f"{domain}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def normalize_known(image: str) -> str:
    """As `normalize`, but gives back what is no reference (an image id) as it is."""
    try:
        return normalize(image)
    except ValueError:
        return image
