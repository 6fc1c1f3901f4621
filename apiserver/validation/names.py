"""Formats of names, keys and values, as k8s.io/apimachinery/pkg/util/validation has them.

Every function answers the list of messages, empty for a valid value. What clients need too is in `api.names`; here are
the rest, and memory for the checks on every write's path: the same few names and labels are checked again and again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from api import names as api_names
from api.names import (
    config_map_key,
    dns1035_label,
    environment_name,
    path_segment,
    port_name,
    port_number,
    wildcard_subdomain,
)

__all__ = [
    "config_map_key",
    "dns1035_label",
    "environment_name",
    "path_segment",
    "port_name",
    "port_number",
    "wildcard_subdomain",
]

Check = Callable[[str], list[str]]
EMPTY = "must be non-empty"
max_length = api_names.max_length_message

_HTTP_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_is_http_header = re.compile(_HTTP_HEADER, re.ASCII).fullmatch
_is_percent = re.compile(_PERCENT, re.ASCII).fullmatch

_subdomain = lru_cache(maxsize=16384)(api_names.dns1123_subdomain)
_label = lru_cache(maxsize=16384)(api_names.dns1123_label)
_qualified_name = lru_cache(maxsize=16384)(api_names.qualified_name)
_label_value = lru_cache(maxsize=16384)(api_names.label_value)


def regex_error(message: str, pattern: str, *examples: str) -> str:
    """Upstream's RegexError, double spaces and all."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {listed}regex used for validation is '{pattern}')"


def in_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def dns1123_label(value: str) -> list[str]:
    errors = _label(value)
    if errors and "." in value and not _subdomain(value):
        # A valid subdomain, so that only the dots are wrong: easier to see than a regular expression.
        return [*errors[:-1], "must not contain dots"]
    return list(errors)


def dns1123_subdomain(value: str) -> list[str]:
    return list(_subdomain(value))


def qualified_name(value: str) -> list[str]:
    return list(_qualified_name(value))


def label_value(value: str) -> list[str]:
    return list(_label_value(value))


def valid_labels(labels: dict[str, str]) -> bool:
    """The quick answer that every write needs; the messages come from the functions above."""
    return not any(_qualified_name(key) or _label_value(value) for key, value in labels.items())


def http_header_name(value: str) -> list[str]:
    if _is_http_header(value):
        return []
    message = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [regex_error(message, _HTTP_HEADER, "X-Header-Name")]


def percent(value: str) -> list[str]:
    if _is_percent(value):
        return []
    message = "a valid percent string must be a numeric string followed by an ending '%'"
    return [regex_error(message, _PERCENT, "1%", "93%")]


IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if "%" in value else ipaddress.ip_address(value)
    except ValueError:
        return None


def ip_address(value: str) -> list[str]:
    return [] if parse_ip(value) is not None else [IP_MESSAGE]


def masked(check: Check, prefix: str) -> list[str]:
    """Check a generateName: its trailing dash will be followed by more, so it is no fault."""
    return check(f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix)


def go_strings(values: Iterable[str]) -> str:
    """Go's %#v of a []string."""
    listed = ", ".join(f'"{value}"' for value in values)
    return f"[]string{{{listed}}}"
