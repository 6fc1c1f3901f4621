"""Requests that become streams: logs, exec, attach, port-forward and the HTTP proxy, a file each.

Lives here: translating between a client's stream and the kubelet's. May not live here: whether the user may.
"""

from apiserver.rest.streams import attach, execute, forward, logs, proxy  # noqa: F401
from apiserver.rest.streams.table import STREAMS

__all__ = ["STREAMS"]
