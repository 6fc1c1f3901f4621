"""Names: what is a legal one, and how new ones are made.

The checks return a list of upstream's messages (k8s.io/apimachinery/pkg/util/validation), empty for a legal value.
Lengths are in bytes.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import msgspec

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_BASE = 58
_SUFFIX = 5

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(" + _QUALIFIED + ")?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_PORT_CHARS = re.compile("[-a-z0-9]+", re.ASCII)


def random_suffix(length: int = _SUFFIX) -> str:
    """Random characters that spell no words and can't be mistaken for each other."""
    # One read of the system's randomness; the spare bytes make all characters equally likely to within 2^-32.
    number = int.from_bytes(secrets.token_bytes(length + 4), "big")
    characters = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return "".join(characters)


def generate(base: str) -> str:
    """A name for `generateName`: the base, cut so that the whole fits into 63 characters, and five random ones."""
    return base[:_GENERATED_BASE] + random_suffix()


def safe_encode(text: str) -> str:
    """Text to the characters of generated names, one to one (k8s.io/apimachinery rand.SafeEncodeString)."""
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in text.encode())


def fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a hash."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def object_hash(obj: Any, collision_count: int | None = None) -> str:
    """A short hash of an object's JSON, the same for equal objects; the collision count makes another one."""
    data = msgspec.json.encode(obj, order="sorted")
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    return safe_encode(str(fnv32a(data)))


def pod_template_hash(template: Any, collision_count: int | None = None) -> str:
    """The `pod-template-hash` of a ReplicaSet's template."""
    return object_hash(template, collision_count)


def max_length_message(length: int, unit: str = "characters") -> str:
    """What is wrong with a text that is too long; upstream counts labels in bytes and names in characters."""
    return f"must be no more than {length} {unit}"


def _regex_message(message: str, regex: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{regex}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{regex}')"


_LABEL_MESSAGE = _regex_message(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_MESSAGE = _regex_message(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_DNS1035_MESSAGE = _regex_message(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _DNS1035,
    "my-name",
    "abc-123",
)
_QUALIFIED_MESSAGE = _regex_message(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_MESSAGE = _regex_message(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_MESSAGE = _regex_message(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_WILDCARD_MESSAGE = _regex_message(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    r"\*\." + _SUBDOMAIN,
    "*.example.com",
)


def _check(value: str, maximum: int, regex: re.Pattern[str], message: str, unit: str = "characters") -> list[str]:
    found = [] if len(value.encode()) <= maximum else [max_length_message(maximum, unit)]
    return found if regex.fullmatch(value) else [*found, message]


def _compile(regex: str) -> re.Pattern[str]:
    return re.compile(regex, re.ASCII)


_label, _subdomain, _dns1035 = _compile(_LABEL), _compile(_SUBDOMAIN), _compile(_DNS1035)
_qualified, _label_value, _config_key = _compile(_QUALIFIED), _compile(_LABEL_VALUE), _compile(_CONFIG_KEY)
_wildcard = _compile(r"\*\." + _SUBDOMAIN)
_environment = _compile("[ -<>-~]+")


def dns1123_label(value: str) -> list[str]:
    """A label as of RFC 1123: what a Namespace is called."""
    return _check(value, 63, _label, _LABEL_MESSAGE)


def dns1123_subdomain(value: str) -> list[str]:
    """A subdomain as of RFC 1123: what most objects are called."""
    return _check(value, 253, _subdomain, _SUBDOMAIN_MESSAGE)


def dns1035_label(value: str) -> list[str]:
    """A label as of RFC 1035: what a Service is called."""
    return _check(value, 63, _dns1035, _DNS1035_MESSAGE)


def wildcard_subdomain(value: str) -> list[str]:
    """`*.` and a subdomain, as in the rules of an Ingress."""
    return _check(value, 253, _wildcard, _WILDCARD_MESSAGE)


def qualified_name(value: str) -> list[str]:
    """A label key, an annotation key, a resource name: a name with, perhaps, a DNS subdomain and a slash before it."""
    parts = value.split("/")
    found: list[str] = []
    if len(parts) > 2:
        message = (
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character"
        )
        examples = _regex_message(message, _QUALIFIED, "MyName", "my.name", "123-abc")
        return [f"{examples} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    if len(parts) == 2:
        if not parts[0]:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {message}" for message in dns1123_subdomain(parts[0])]
    name = parts[-1]
    if not name:
        found.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        found.append(f"name part {max_length_message(63, 'bytes')}")
    if not _qualified.fullmatch(name):
        found.append(f"name part {_QUALIFIED_MESSAGE}")
    return found


def label_value(value: str) -> list[str]:
    """The value of a label."""
    return _check(value, 63, _label_value, _LABEL_VALUE_MESSAGE, "bytes")


def config_map_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    found = _check(value, 253, _config_key, _CONFIG_KEY_MESSAGE)
    return found + _dots(value)


def environment_name(value: str) -> list[str]:
    """The name of an environment variable, as relaxed since v1.34: anything printable but `=`."""
    if not value:
        return ["environment variable name must be non-empty"]
    if _environment.fullmatch(value):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def _dots(value: str) -> list[str]:
    if value == ".":
        return ["must not be '.'"]
    if value == "..":
        return ["must not be '..'"]
    return ["must not start with '..'"] if value.startswith("..") else []


def path_segment(value: str) -> list[str]:
    """A name that may be anything that fits between two slashes of a URL: RBAC's objects."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in value]


def port_name(value: str) -> list[str]:
    """An IANA service name: what a port is called."""
    found: list[str] = []
    if len(value.encode()) > 15:
        found.append(max_length_message(15))
    if not _PORT_CHARS.fullmatch(value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def port_number(value: int) -> list[str]:
    """A port that can be listened on."""
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]
