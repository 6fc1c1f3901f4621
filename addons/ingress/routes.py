"""Which backend a request means: hosts and paths of all ingresses, merged.

Invariants:
- the most specific host alone decides: a name, then a wildcard of exactly one label, then rules without a host;
- within it an Exact path comes first, then the longest prefix, counted in path elements;
- what no path of the host takes goes to the default backend of an ingress that names the host, then to anybody's;
- where two ingresses claim the same, the older one has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from api.types.networking_v1 import Ingress, IngressBackend

ANNOTATIONS = ("ingress.pykube.dev/", "nginx.ingress.kubernetes.io/")
"""Our annotations are also understood under the prefix that most manifests use."""

ANY = ""
"""The host of rules that name none."""


@dataclass(frozen=True)
class Backend:
    """A port of a Service, by name or number."""

    namespace: str
    service: str
    port: str | int


@dataclass(frozen=True)
class Route:
    """Where a request goes. Without a backend it is known that nobody can serve it."""

    namespace: str
    ingress: str
    backend: Backend | None
    ssl_redirect: bool = True


@dataclass
class _Host:
    exact: dict[str, Route] = field(default_factory=dict)
    prefixes: dict[tuple[str, ...], Route] = field(default_factory=dict)
    default: Route | None = None

    def find(self, path: str) -> Route | None:
        found = self.exact.get(path)
        if found is not None:
            return found
        parts = elements(path)
        for length in range(len(parts), -1, -1):
            found = self.prefixes.get(parts[:length])
            if found is not None:
                return found
        return self.default


class Routes:
    """`find` is called for each request; the ingresses are gone through once."""

    def __init__(self, ingresses: Iterable[Ingress] = ()) -> None:
        self._hosts: dict[str, _Host] = {}
        self._default: Route | None = None
        self.tls_hosts: set[str] = set()
        """Hosts, wildcards among them, that an ingress wants served over TLS."""
        ordered = sorted(ingresses, key=_age)
        for ingress in ordered:
            self._add(ingress)
        # One without rules is meant for everybody; others' defaults come after it.
        for ingress in sorted(ordered, key=lambda i: bool(i.spec.rules)):
            if self._default is None and ingress.spec.default_backend is not None:
                self._default = _route(ingress, ingress.spec.default_backend)

    def find(self, host: str, path: str) -> Route | None:
        """The route for a request's host (as `hostname` gives it) and path (as `normal` gives it)."""
        rules = self._hosts.get(host) or self._hosts.get(wildcard(host)) or self._hosts.get(ANY)
        return (rules.find(path) if rules is not None else None) or self._default

    def wants_tls(self, host: str) -> bool:
        return host in self.tls_hosts or wildcard(host) in self.tls_hosts

    def _add(self, ingress: Ingress) -> None:
        for entry in ingress.spec.tls or ():
            self.tls_hosts.update(host.lower() for host in entry.hosts or ())
        default = ingress.spec.default_backend
        for rule in ingress.spec.rules or ():
            rules = self._hosts.setdefault((rule.host or ANY).lower(), _Host())
            if rules.default is None and default is not None:
                rules.default = _route(ingress, default)
            for path in rule.http.paths if rule.http is not None else ():
                route = _route(ingress, path.backend)
                wanted = path.path or "/"
                if path.path_type == "Exact":
                    rules.exact.setdefault(wanted, route)
                else:
                    rules.prefixes.setdefault(elements(wanted), route)


def backends(ingress: Ingress) -> list[IngressBackend]:
    """All that an ingress names."""
    found = [ingress.spec.default_backend] if ingress.spec.default_backend is not None else []
    for rule in ingress.spec.rules or ():
        found += [path.backend for path in (rule.http.paths if rule.http is not None else ())]
    return found


def annotation(ingress: Ingress, name: str, default: str = "") -> str:
    """One of our annotations, under whichever prefix."""
    given = ingress.metadata.annotations or {}
    return next((given[prefix + name] for prefix in ANNOTATIONS if prefix + name in given), default)


def elements(path: str) -> tuple[str, ...]:
    """A path's elements; one slash more at its end changes nothing."""
    return tuple(part for part in path.split("/") if part)


def wildcard(host: str) -> str:
    """The wildcard that covers a host."""
    _, dot, parent = host.partition(".")
    return f"*.{parent}" if dot else ""


def hostname(header: str) -> str:
    """The name in a Host header: without port and final dot, in lower case."""
    name = header.partition("]")[0] + "]" if header.startswith("[") else header.partition(":")[0]
    return name.rstrip(".").lower()


def normal(raw_path: str) -> str:
    """A request's path as rules see it: decoded, without dot segments and doubled slashes.

    Rules must not see less than the backend will: `/public/../admin` is `/admin` (RFC 3986, 5.2.4).
    """
    kept: list[str] = []
    parts = unquote(raw_path.partition("?")[0]).split("/")
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    slash = "/" if kept and parts[-1] in ("", ".", "..") else ""
    return "/" + "/".join(kept) + slash


def _route(ingress: Ingress, backend: IngressBackend) -> Route:
    namespace, name = ingress.metadata.namespace or "", ingress.metadata.name or ""
    found = None
    if backend.service is not None and backend.service.port is not None:
        port = backend.service.port
        found = Backend(namespace, backend.service.name, port.name or port.number or 0)
    return Route(namespace, name, found, annotation(ingress, "ssl-redirect", "true") != "false")


def _age(ingress: Ingress) -> tuple[str, str, str]:
    meta = ingress.metadata
    return str(meta.creation_timestamp or ""), meta.namespace or "", meta.name or ""
