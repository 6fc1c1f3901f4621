"""`-v=6` and more: what was asked and answered, in the form of kubectl's log lines (klog). Credentials never appear."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable
from datetime import datetime

_SECRET = {"authorization", "proxy-authorization", "cookie", "set-cookie"}
LIMIT = 1024


class Trace:
    """Lines on standard error: 6 says what was answered, 7 what was asked, 8 adds bodies, 9 whole, and as curl."""

    def __init__(self, verbosity: int) -> None:
        self.verbosity = verbosity

    def request(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes | None) -> None:
        if self.verbosity >= 9:
            words = ["curl", "-v", "-X", method]
            for name, value in headers:
                words += ["-H", f"{name}: {_masked(name, value)}"]
            self._line(shlex.join([*words, url]))
        if self.verbosity >= 8 and body:
            self.body("Request Body", body)
        if self.verbosity >= 7:
            self._line(f'"Request" verb="{method}" url="{url}" headers=<\n{_listed(headers)} >')

    def response(self, method: str, url: str, status: str, headers: Iterable[tuple[str, str]], seconds: float) -> None:
        if self.verbosity >= 6:
            shown = f" headers=<\n{_listed(headers)} >" if self.verbosity >= 8 else ""
            took = round(seconds * 1000)
            self._line(f'"Response" verb="{method}" url="{url}" status="{status}"{shown} milliseconds={took}')

    def body(self, title: str, data: bytes) -> None:
        if self.verbosity >= 8:
            text = data.decode(errors="replace")
            cut = len(text) - LIMIT if self.verbosity == 8 else 0
            more = f" [truncated {cut} chars]" if cut > 0 else ""
            self._line(f'"{title}" body={json.dumps(text[:LIMIT] + more if cut > 0 else text, ensure_ascii=False)}')

    def _line(self, text: str) -> None:
        now = datetime.now()
        print(f"I{now:%m%d %H:%M:%S.%f} {os.getpid():>7} rest.py] {text}", file=sys.stderr)


def _listed(headers: Iterable[tuple[str, str]]) -> str:
    return "".join(f"\t{name}: {_masked(name, value)}\n" for name, value in sorted(headers))


def _masked(name: str, value: str) -> str:
    """The kind of credential is told, itself never."""
    if name.lower() not in _SECRET:
        return value
    kind, space, _ = value.partition(" ")
    return f"{kind} <masked>" if space else "<masked>"
