"""The Docker SDK called from asyncio: a bounded pool of threads, one error type, and reconnecting on its own.

Docker's API is request and response for everything but streams (see `wire`), and the SDK blocks. A call takes 0.7 ms
of which most is the SDK's own work, so a few threads carry any load a node sees; what takes long in dockerd (starting,
pulling) is limited by its callers, so that short calls never queue behind long ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import docker.errors
import requests

from kubelet.cri import ContainerNotFound, RuntimeFailure

T = TypeVar("T")

THREADS = 16
TIMEOUT = 120.0  # seconds; starting a container on a machine under heavy load may take tens of seconds


def explain(error: docker.errors.APIError) -> str:
    """The daemon's own words, without the SDK's frame around them."""
    return str(error.explanation or error).strip()


class DockerClient:
    """`await client.call(lambda api: api.start(id))` runs against dockerd in a thread.

    Raises ContainerNotFound for 404 and RuntimeFailure for every other failure, dockerd being away included.
    """

    def __init__(self, host: str, *, threads: int = THREADS) -> None:
        self.host = host
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="docker")
        self._pulls = ThreadPoolExecutor(8, thread_name_prefix="docker-pull")
        self._threads = threads
        self._api: Any = None

    def api(self) -> Any:
        """The SDK's client, made at first use: the kubelet may be up before dockerd is."""
        if self._api is None:
            api = docker.APIClient(
                base_url=self.host, version="auto", timeout=int(TIMEOUT), max_pool_size=self._threads + 8
            )
            # Proxies of the environment are for dockerd's pulls, never for its socket; looking them up is slow.
            api.trust_env = False
            self._api = api
        return self._api

    @property
    def api_version(self) -> tuple[int, int]:
        major, minor = self.api()._version.split(".")
        return int(major), int(minor)

    async def call(self, request: Callable[[Any], T]) -> T:
        return await self._run(self._executor, request)

    async def call_slow(self, request: Callable[[Any], T]) -> T:
        """For calls that last minutes (pulls): they have their own threads."""
        return await self._run(self._pulls, request)

    async def _run(self, executor: ThreadPoolExecutor, request: Callable[[Any], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, lambda: request(self.api()))
        except docker.errors.NotFound as error:
            raise ContainerNotFound(explain(error)) from error
        except docker.errors.APIError as error:
            raise RuntimeFailure(explain(error)) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise RuntimeFailure(f"Cannot connect to the Docker daemon at {self.host}: {error}") from error

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._pulls.shutdown(wait=False, cancel_futures=True)
        if self._api is not None:
            self._api.close()
