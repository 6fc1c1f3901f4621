"""The answer to one probe."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Result(enum.Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    WARNING = "warning"  # counts as success, and an event says what is odd
    UNKNOWN = "unknown"  # the probe itself could not be made; counts as neither


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    output: str = ""


MAX_OUTPUT = 10 * 1024  # bytes read of an answer, as upstream


def port_number(ports: dict[str, int], port: int | str) -> int:
    """A port given by number or by the name it has in the container. Raises ValueError in upstream's words."""
    if isinstance(port, int) or port.isdigit():
        number = int(port)
    elif port in ports:
        number = ports[port]
    else:
        raise ValueError(f"couldn't find port: {port}")
    if not 0 < number < 65536:
        raise ValueError(f"invalid port number: {number}")
    return number


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
