"""/healthz, /livez and /readyz with their checks, and /version."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from aiohttp import web

from api import codec
from api.types.meta_v1 import Info
from api.version import GIT_VERSION
from apiserver.rest.answers import text

#: Answers "" if all is well, else what is wrong.
Check = Callable[[], str]

VERSION = Info(
    major="1",
    minor="36",
    emulation_major="1",
    emulation_minor="36",
    min_compatibility_major="1",
    min_compatibility_minor="35",
    git_version=GIT_VERSION,
    git_commit="",
    git_tree_state="clean",
    build_date="2026-04-22T00:00:00Z",
    go_version=f"python{platform.python_version()}",
    compiler="cpython",
    platform=f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }",
)


class Health:
    """`live` checks count everywhere, `ready` ones for /readyz only."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._live = live
        self._ready = ready

    def respond(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a health path, or None if the path is none."""
        parts = request.path.strip("/").split("/", 1)
        kind = parts[0]
        if kind not in ("healthz", "livez", "readyz"):
            return None
        checks = {"ping": lambda: "", "log": lambda: "", **self._live}
        if kind == "readyz":
            checks |= self._ready
        if len(parts) == 2 and parts[1]:
            check = checks.get(parts[1])
            if check is None:
                return text("404 page not found\n", 404)
            failed = check()
            return text(f"internal server error: {failed}\n", 500) if failed else text("ok")
        excluded = set(request.query.getall("exclude", []))
        lines, healthy = [], True
        for name, check in checks.items():
            if name in excluded:
                excluded.discard(name)
                lines.append(f"[+]{name} excluded: ok")
            elif check():
                healthy = False
                lines.append(f"[-]{name} failed: reason withheld")
            else:
                lines.append(f"[+]{name} ok")
        for name in sorted(excluded):
            lines.append(f'warn: some health checks cannot be excluded: no matches for "{name}"')
        if not healthy:
            return text("\n".join([*lines, f"{kind} check failed"]) + "\n", 500)
        if "verbose" in request.query:
            return text("\n".join([*lines, f"{kind} check passed"]) + "\n")
        return text("ok")


def version() -> bytes:
    """The body of /version."""
    return codec.encode(VERSION)
