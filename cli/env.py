"""What one run of a command works with: its flags, the cluster they lead to, and where output goes.

Everything is made on first use: a command that never talks to the server pays for no TLS context, no event loop and no
YAML parser.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cli.errors import Object

if TYPE_CHECKING:
    from cli.discovery import Discovery
    from cli.kubeconfig import Kubeconfig, RestConfig
    from cli.rest import Client


class Env:
    def __init__(self, flags: Object, *, command_path: str = "pykubectl") -> None:
        self.flags = flags
        self.command_path = command_path
        self.deferred: list[Exception] = []  # told of when the command has done the rest
        self._kubeconfig: Kubeconfig | None = None
        self._rest: RestConfig | None = None
        self._client: Client | None = None
        self._discovery: Discovery | None = None

    @property
    def verbosity(self) -> int:
        return int(self.flags.get("verbosity") or 0)

    @property
    def kubeconfig(self) -> Kubeconfig:
        if self._kubeconfig is None:
            from cli.kubeconfig import Kubeconfig

            self._kubeconfig = Kubeconfig.load(self.flags.get("kubeconfig") or "")
        return self._kubeconfig

    @property
    def rest_config(self) -> RestConfig:
        if self._rest is None:
            self._rest = self.kubeconfig.rest_config(self.flags)
        return self._rest

    @property
    def namespace(self) -> str:
        return self.rest_config.namespace

    @property
    def namespace_given(self) -> bool:
        """Whether -n was used: then a manifest that names another namespace is an error."""
        return self.rest_config.namespace_given

    @property
    def client(self) -> Client:
        if self._client is None:
            from cli.rest import Client

            self._client = Client(self.rest_config, verbosity=self.verbosity)
        return self._client

    @property
    def discovery(self) -> Discovery:
        if self._discovery is None:
            from cli.discovery import Discovery, cache_directory

            where = cache_directory(self.flags.get("cache_dir") or "", self.rest_config.server)
            self._discovery = Discovery(self.client, where)
        return self._discovery

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def out(self, text: Any = "", *, end: str = "\n") -> None:
        sys.stdout.write(f"{text}{end}")

    def err(self, text: Any = "", *, end: str = "\n") -> None:
        sys.stdout.flush()
        sys.stderr.write(f"{text}{end}")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        self.err(f"Warning: {text}")
