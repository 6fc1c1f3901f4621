"""What the server counts: requests by verb and resource, how long they took, what is stored."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from apiserver.rest.paths import Target

_LABELS = ("verb", "group", "version", "resource", "subresource", "scope", "code")
_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)

REQUESTS = Counter("apiserver_request", "Counter of apiserver requests by verb, resource and code.", _LABELS)
DURATION = Histogram(
    "apiserver_request_duration_seconds",
    "Response latency in seconds for each verb and resource.",
    _LABELS[:-1],
    buckets=_BUCKETS,
)
LONG_RUNNING = Gauge("apiserver_longrunning_requests", "Open watches and streams.", ("verb", "resource"))


class RequestMetrics:
    """Remembers the labelled children: looking them up costs more than counting."""

    def __init__(self) -> None:
        self._counters: dict[tuple[object, ...], tuple[Counter, Histogram]] = {}

    def observe(self, verb: str, target: Target | None, code: int, seconds: float) -> None:
        """One finished request. Names are left out of the key: they are without number."""
        if target is None:
            labels: tuple[str, ...] = (verb, "", "", "", "", "")
        else:
            scope = "resource" if target.name else ("namespace" if target.namespace else "cluster")
            labels = (verb, target.group, target.version, target.resource, target.subresource, scope)
        key = (*labels, code)
        found = self._counters.get(key)
        if found is None:
            if target is not None:
                labels = (verb.upper(), *labels[1:])
            found = self._counters[key] = REQUESTS.labels(*labels, str(code)), DURATION.labels(*labels)
        found[0].inc()
        if verb != "watch":
            found[1].observe(seconds)

    @staticmethod
    def respond(request: web.BaseRequest) -> web.Response:
        """The body of /metrics."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})
