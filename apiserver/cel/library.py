"""Kubernetes' CEL functions: lists, regular expressions, URLs, quantities, addresses, versions, sets.

Source: "Common Expression Language in Kubernetes" in the documentation. Every function raises ValueError for what is
an error in the expression.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from cel_expr_python import cel

from api.quantity import Quantity
from apiserver.cel.authorizer import ROWS as AUTHORIZER
from apiserver.cel.messages import ANYTHING, TYPES, message
from apiserver.cel.strings import ROWS as STRINGS

T = cel.Type
_ANY_LIST = T.List(T.DYN)
_STRINGS = T.List(T.STRING)
_Q, _URL, _IP, _CIDR, _SEMVER = (TYPES[name] for name in ("Quantity", "URL", "IP", "CIDR", "Semver"))

Row = tuple[str, bool, Any, tuple[Any, ...], Callable[..., Any]]


def functions() -> list[cel.FunctionDecl]:
    """All of them, as the runtime wants them declared."""
    grouped: dict[str, list[Any]] = {}
    for index, (name, member, answer, parameters, implementation) in enumerate((*_ROWS, *STRINGS, *AUTHORIZER)):
        overload = cel.Overload(f"k8s_{index}_{name}", answer, list(parameters), member, implementation)
        grouped.setdefault(name, []).append(overload)
    return [cel.FunctionDecl(name, overloads) for name, overloads in grouped.items()]


# -- lists -------------------------------------------------------------------------------------------------------------


def _is_sorted(values: list[Any]) -> bool:
    return all(a <= b for a, b in pairwise(values))


def _sum(values: list[Any]) -> Any:
    total: Any = values[0] if values else 0
    for value in values[1:]:
        total = total + value
    return total


def _extreme(pick: Callable[[list[Any]], Any], word: str) -> Callable[[list[Any]], Any]:
    def find(values: list[Any]) -> Any:
        if not values:
            raise ValueError(f"{word} called on empty list")
        return pick(values)

    return find


def _index(values: list[Any], wanted: Any) -> int:
    return next((i for i, value in enumerate(values) if value == wanted), -1)


def _last_index(values: list[Any], wanted: Any) -> int:
    return next((i for i in range(len(values) - 1, -1, -1) if values[i] == wanted), -1)


def _distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _flatten(values: list[Any], depth: int = 1) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, list) and depth > 0:
            found += _flatten(value, depth - 1)
        else:
            found.append(value)
    return found


def _slice(values: list[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(values):
        raise ValueError(f"cannot slice({start}, {end}), list is length {len(values)}")
    return values[start:end]


# -- regular expressions -----------------------------------------------------------------------------------------------


def _find(text: str, expression: str) -> str:
    match = _regex(expression).search(text)
    return match[0] if match else ""


def _find_all(text: str, expression: str, limit: int = -1) -> list[str]:
    found = [match[0] for match in _regex(expression).finditer(text)]
    return found if limit < 0 else found[:limit]


def _regex(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"Illegal regex: {error}") from None


# -- URLs --------------------------------------------------------------------------------------------------------------


def _parse_url(text: str) -> Any:
    if not _is_url(text):
        raise ValueError(
            f"URL parse error during conversion from string: parse {json.dumps(text)}: invalid URI for request"
        )
    return message("URL", text)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return (bool(parts.scheme) and " " not in text) or text.startswith("/")


def _port(url: Any) -> str:
    port = urlsplit(url.text).port
    return "" if port is None else str(port)


def _hostname(url: Any) -> str:
    host: str = urlsplit(url.text).netloc.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


# -- quantities --------------------------------------------------------------------------------------------------------


def _parse_quantity(text: str) -> Any:
    Quantity(text)
    return message("Quantity", text)


def _is(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _amount(value: Any) -> Quantity:
    return Quantity(value.text)


def _compare(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def _whole(value: Any) -> int:
    amount = _amount(value)
    if not _is_whole(value):
        raise ValueError("cannot convert value to integer")
    return amount.value


def _is_whole(value: Any) -> bool:
    amount = _amount(value)
    return Quantity(amount.value) == amount and -(2**63) <= amount.value < 2**63


def _add(a: Any, b: Any) -> Any:
    return message("Quantity", str(_amount(a) + (_amount(b) if hasattr(b, "text") else Quantity(b))))


def _subtract(a: Any, b: Any) -> Any:
    return message("Quantity", str(_amount(a) - (_amount(b) if hasattr(b, "text") else Quantity(b))))


def _approximately(value: Any) -> float:
    return float(_amount(value).milli) / 1000


def _sign(value: Any) -> int:
    return _compare(_amount(value), Quantity(0))


# -- addresses ---------------------------------------------------------------------------------------------------------


def _address(text: str) -> Any:
    if "%" in text:
        raise ValueError(f'IP address with zone value is not allowed: "{text}"')
    return ipaddress.ip_address(text)


def _parse_ip(text: str) -> Any:
    try:
        return message("IP", str(_address(text)))
    except ValueError:
        raise ValueError(f'IP Address "{text}" parse error during conversion from string') from None


def _network(text: str) -> Any:
    if "/" not in text:
        raise ValueError("no '/'")
    return ipaddress.ip_network(text, strict=False)


def _parse_cidr(text: str) -> Any:
    try:
        _network(text)
    except ValueError:
        raise ValueError("network address parse error during conversion from string") from None
    return message("CIDR", text)


def _canonical(text: str) -> bool:
    return str(_address(text)) == text


def _contains_ip(cidr: Any, address: Any) -> bool:
    ip = _address(address if isinstance(address, str) else address.text)
    network = _network(cidr.text)
    return ip.version == network.version and ip in network


def _contains_cidr(cidr: Any, other: Any) -> bool:
    outer, inner = _network(cidr.text), _network(other if isinstance(other, str) else other.text)
    return bool(outer.version == inner.version and inner.subnet_of(outer))


def _of_ip(predicate: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: bool(predicate(_address(value.text)))


def _global_unicast(ip: Any) -> bool:
    broadcast = ip.version == 4 and int(ip) == 2**32 - 1
    return not (broadcast or ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local)


def _local_multicast(ip: Any) -> bool:
    if ip.version == 4:
        return ip in ipaddress.ip_network("224.0.0.0/24")
    return bool(ip.packed[0] == 0xFF and ip.packed[1] & 0x0F == 0x02)


# -- semantic versions -------------------------------------------------------------------------------------------------

_VERSION = re.compile(
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$"
)


def _parse_version(text: str, normalize: bool = False) -> Any:
    if normalize:
        text = text.removeprefix("v")
        head = text.split("-", 1)[0].split("+", 1)[0]
        numbers = [part.lstrip("0") or "0" for part in head.split(".")]
        text = ".".join(numbers + ["0"] * (3 - len(numbers))) + text[len(head) :]
    if not _VERSION.match(text):
        raise ValueError("semver parse error during conversion from string: Invalid Semantic Version")
    return message("Semver", text)


def _order(value: Any) -> tuple[Any, ...]:
    match = _VERSION.match(value.text)
    assert match is not None
    before = match[4]
    identifiers = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split(".")] if before else []
    return (int(match[1]), int(match[2]), int(match[3]), not before, identifiers)


def _compared(a: Any, b: Any) -> int:
    names = {getattr(getattr(value, "DESCRIPTOR", None), "name", "") for value in (a, b)}
    if names == {"Quantity"}:
        return _compare(_amount(a), _amount(b))
    if names == {"Semver"}:
        return _compare(_order(a), _order(b))
    raise ValueError("no such overload")


# -- the table ---------------------------------------------------------------------------------------------------------

_ROWS: tuple[Row, ...] = (
    ("isSorted", True, T.BOOL, (_ANY_LIST,), _is_sorted),
    ("sum", True, T.DYN, (_ANY_LIST,), _sum),
    ("min", True, T.DYN, (_ANY_LIST,), _extreme(min, "min")),
    ("max", True, T.DYN, (_ANY_LIST,), _extreme(max, "max")),
    ("indexOf", True, T.INT, (_ANY_LIST, ANYTHING), _index),
    ("lastIndexOf", True, T.INT, (_ANY_LIST, ANYTHING), _last_index),
    ("distinct", True, _ANY_LIST, (_ANY_LIST,), _distinct),
    ("flatten", True, _ANY_LIST, (_ANY_LIST,), _flatten),
    ("flatten", True, _ANY_LIST, (_ANY_LIST, T.INT), _flatten),
    ("reverse", True, _ANY_LIST, (_ANY_LIST,), lambda values: values[::-1]),
    ("slice", True, _ANY_LIST, (_ANY_LIST, T.INT, T.INT), _slice),
    ("sort", True, _ANY_LIST, (_ANY_LIST,), sorted),
    ("lists.range", False, T.List(T.INT), (T.INT,), lambda end: list(range(end))),
    ("sets.contains", False, T.BOOL, (_ANY_LIST, _ANY_LIST), lambda a, b: all(x in a for x in b)),
    (
        "sets.equivalent",
        False,
        T.BOOL,
        (_ANY_LIST, _ANY_LIST),
        lambda a, b: all(x in a for x in b) and all(x in b for x in a),
    ),
    ("sets.intersects", False, T.BOOL, (_ANY_LIST, _ANY_LIST), lambda a, b: any(x in a for x in b)),
    ("find", True, T.STRING, (T.STRING, T.STRING), _find),
    ("findAll", True, _STRINGS, (T.STRING, T.STRING), _find_all),
    ("findAll", True, _STRINGS, (T.STRING, T.STRING, T.INT), _find_all),
    ("url", False, _URL, (T.STRING,), _parse_url),
    ("isURL", False, T.BOOL, (T.STRING,), _is_url),
    ("getScheme", True, T.STRING, (_URL,), lambda url: urlsplit(url.text).scheme),
    ("getHost", True, T.STRING, (_URL,), lambda url: urlsplit(url.text).netloc.rpartition("@")[2]),
    ("getHostname", True, T.STRING, (_URL,), _hostname),
    ("getPort", True, T.STRING, (_URL,), _port),
    ("getEscapedPath", True, T.STRING, (_URL,), lambda url: quote(urlsplit(url.text).path, safe="/%:@!$&'()*+,;=~")),
    (
        "getQuery",
        True,
        T.Map(T.STRING, _STRINGS),
        (_URL,),
        lambda url: parse_qs(urlsplit(url.text).query, keep_blank_values=True),
    ),
    ("quantity", False, _Q, (T.STRING,), _parse_quantity),
    ("isQuantity", False, T.BOOL, (T.STRING,), _is(_parse_quantity)),
    ("isInteger", True, T.BOOL, (_Q,), _is_whole),
    ("asInteger", True, T.INT, (_Q,), _whole),
    ("asApproximateFloat", True, T.DOUBLE, (_Q,), _approximately),
    ("sign", True, T.INT, (_Q,), _sign),
    ("add", True, _Q, (_Q, _Q), _add),
    ("add", True, _Q, (_Q, T.INT), _add),
    ("sub", True, _Q, (_Q, _Q), _subtract),
    ("sub", True, _Q, (_Q, T.INT), _subtract),
    # To the runtime all messages are alike: these take quantities or versions, and look which.
    ("isGreaterThan", True, T.BOOL, (ANYTHING, ANYTHING), lambda a, b: _compared(a, b) > 0),
    ("isLessThan", True, T.BOOL, (ANYTHING, ANYTHING), lambda a, b: _compared(a, b) < 0),
    ("compareTo", True, T.INT, (ANYTHING, ANYTHING), lambda a, b: _compared(a, b)),
    ("ip", False, _IP, (T.STRING,), _parse_ip),
    ("isIP", False, T.BOOL, (T.STRING,), _is(_address)),
    ("ip.isCanonical", False, T.BOOL, (T.STRING,), _canonical),
    ("family", True, T.INT, (_IP,), lambda ip: _address(ip.text).version),
    ("isUnspecified", True, T.BOOL, (_IP,), _of_ip(lambda ip: ip.is_unspecified)),
    ("isLoopback", True, T.BOOL, (_IP,), _of_ip(lambda ip: ip.is_loopback)),
    ("isLinkLocalMulticast", True, T.BOOL, (_IP,), _of_ip(_local_multicast)),
    ("isLinkLocalUnicast", True, T.BOOL, (_IP,), _of_ip(lambda ip: ip.is_link_local)),
    ("isGlobalUnicast", True, T.BOOL, (_IP,), _of_ip(_global_unicast)),
    ("cidr", False, _CIDR, (T.STRING,), _parse_cidr),
    ("isCIDR", False, T.BOOL, (T.STRING,), _is(_network)),
    ("containsIP", True, T.BOOL, (_CIDR, _IP), _contains_ip),
    ("containsIP", True, T.BOOL, (_CIDR, T.STRING), _contains_ip),
    ("containsCIDR", True, T.BOOL, (_CIDR, _CIDR), _contains_cidr),
    ("containsCIDR", True, T.BOOL, (_CIDR, T.STRING), _contains_cidr),
    ("ip", True, _IP, (_CIDR,), lambda cidr: message("IP", cidr.text.partition("/")[0])),
    ("masked", True, _CIDR, (_CIDR,), lambda cidr: message("CIDR", str(_network(cidr.text)))),
    ("prefixLength", True, T.INT, (_CIDR,), lambda cidr: _network(cidr.text).prefixlen),
    ("semver", False, _SEMVER, (T.STRING,), _parse_version),
    ("semver", False, _SEMVER, (T.STRING, T.BOOL), _parse_version),
    ("isSemver", False, T.BOOL, (T.STRING,), _is(_parse_version)),
    ("major", True, T.INT, (_SEMVER,), lambda v: _order(v)[0]),
    ("minor", True, T.INT, (_SEMVER,), lambda v: _order(v)[1]),
    ("patch", True, T.INT, (_SEMVER,), lambda v: _order(v)[2]),
)
