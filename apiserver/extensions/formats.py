"""The string formats that upstream checks in custom resources; any other format says nothing.

Source: apiextensions-apiserver's supported formats, which are those of kube-openapi's strfmt registry.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from email.utils import parseaddr
from urllib.parse import urlsplit

from api import duration, names
from api import time as api_time

_HEX_COLOR = re.compile(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$")
_RGB_COLOR = re.compile(
    r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,"
    r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
)
_UUID = re.compile(r"^(?i:[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})$")
_SSN = re.compile(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$")
_CARD = re.compile(
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9]{2})[0-9]{12}|3[47][0-9]{13}|"
    r"3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
)
_ISBN10 = re.compile(r"^(?:[0-9]{9}X|[0-9]{10})$")
_ISBN13 = re.compile(r"^(?:[0-9]{13})$")
_MAC = re.compile(
    r"^([0-9A-Fa-f]{2}([-:])(?:[0-9A-Fa-f]{2}\2){4,6}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2,3}[0-9A-Fa-f]{4})$"
)
_HOST = re.compile(r"^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62}))*\.?)$")
_WORDS = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Zµ]+)\s*")
_UNITS = frozenset(
    [
        "ns",
        "us",
        "µs",
        "ms",
        "s",
        "m",
        "h",
        "d",
        "w",
        "nano",
        "nanos",
        "nanosecond",
        "nanoseconds",
        "micro",
        "micros",
        "microsecond",
        "microseconds",
        "milli",
        "millis",
        "millisecond",
        "milliseconds",
        "sec",
        "secs",
        "second",
        "seconds",
        "min",
        "mins",
        "minute",
        "minutes",
        "hr",
        "hrs",
        "hour",
        "hours",
        "day",
        "days",
        "wk",
        "wks",
        "week",
        "weeks",
    ]
)


def _raises(parse: Callable[[str], object], *errors: type[Exception]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except errors:
            return False
        return True

    return check


def _duration(text: str) -> bool:
    try:
        duration.parse(text)
    except ValueError:
        rest = text.strip()
        if not rest:
            return False
        matches = _WORDS.findall(rest)
        return "".join(_WORDS.split(rest)[::3]) == "" and all(unit in _UNITS for _, unit in matches) and bool(matches)
    return True


def _base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(text)


def _isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not _ISBN10.match(digits):
        return False
    return sum((10 - i) * (10 if c == "X" else int(c)) for i, c in enumerate(digits)) % 11 == 0


def _isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not _ISBN13.match(digits):
        return False
    return sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(digits)) % 10 == 0


def _date_time(text: str) -> bool:
    if "T" not in text.upper():
        return False
    try:
        api_time.parse(text)
    except ValueError:
        return False
    return True


def _email(text: str) -> bool:
    _, address = parseaddr(text)
    return bool(address) and "@" in address and " " not in address


def _uuid(version: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        plain = text.replace("-", "")
        return bool(_UUID.match(text)) and plain[12] == version

    return check


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": lambda text: bool(re.fullmatch(r"[0-9a-fA-F]{24}", text)),
    "uri": lambda text: bool(urlsplit(text).scheme) or text.startswith("/"),
    "email": _email,
    "hostname": lambda text: len(text) <= 255 and bool(_HOST.match(text)),
    "ipv4": _raises(ipaddress.IPv4Address, ValueError),
    "ipv6": _raises(ipaddress.IPv6Address, ValueError),
    "cidr": lambda text: "/" in text and _raises(lambda t: ipaddress.ip_network(t, strict=False), ValueError)(text),
    "mac": lambda text: bool(_MAC.match(text)),
    "uuid": lambda text: bool(_UUID.match(text)),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": lambda text: bool(_CARD.match(re.sub(r"[^0-9]+", "", text))),
    "ssn": lambda text: bool(_SSN.match(text)),
    "hexcolor": lambda text: bool(_HEX_COLOR.match(text)),
    "rgbcolor": lambda text: bool(_RGB_COLOR.match(text)),
    "byte": _base64,
    "password": lambda text: True,
    "date": _raises(date.fromisoformat, ValueError),
    "duration": _duration,
    "datetime": _date_time,
    "date-time": _date_time,
    "k8s-short-name": lambda text: not names.dns1123_label(text),
    "k8s-long-name": lambda text: not names.dns1123_subdomain(text),
}
