"""Images: asking for them, pulling them with one secret after the other, saying in upstream's words why not."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Sequence
from typing import Any

import docker.errors

from kubelet.cri import ContainerNotFound, ImageAuth, ImageError, ImageStatus, RuntimeFailure
from kubelet.runtime import image_name, status
from kubelet.runtime.client import DockerClient

log = logging.getLogger(__name__)

ERR_IMAGE_PULL = "ErrImagePull"
INVALID_NAME = "InvalidImageName"
UNAVAILABLE = "RegistryUnavailable"

_UNAUTHORIZED = re.compile(r"unauthorized|authentication required|access denied|denied|no basic auth|403|401", re.I)
_UNREACHABLE = re.compile(
    r"connection refused|no such host|i/o timeout|no route to host|network is unreachable|"
    r"server misbehaving|Client\.Timeout|TLS handshake timeout|\b50[234]\b|Service Unavailable|Bad Gateway",
    re.I,
)


class Images:
    def __init__(self, client: DockerClient) -> None:
        self._client = client
        # What each pull that is under way does, in dockerd's words.
        self.progress: dict[str, str] = {}

    async def get(self, image: str) -> ImageStatus | None:
        """By name, name with digest, or id. Raises RuntimeFailure if dockerd can't say."""
        try:
            return status.image_status(await self._client.call(lambda api: api.inspect_image(image)))
        except ContainerNotFound:
            return None
        except RuntimeFailure as error:
            if "invalid reference format" in str(error):
                raise invalid_name(image, str(error)) from error
            raise

    async def list(self) -> list[ImageStatus]:
        listed = await self._client.call(lambda api: api.images())
        return [
            status.image_status(
                entry
                | {"RepoTags": [tag for tag in entry.get("RepoTags") or () if not tag.endswith("<none>")]}
                | {"RepoDigests": [d for d in entry.get("RepoDigests") or () if not d.startswith("<none>")]}
            )
            for entry in listed
        ]

    async def remove(self, image_id: str) -> None:
        """All its names; idempotent. Raises RuntimeFailure if a container uses it."""
        try:
            await self._client.call(lambda api: api.remove_image(image_id, force=True))
        except ContainerNotFound:
            pass

    async def pull(self, image: str, auth: Sequence[ImageAuth] = ()) -> ImageStatus:
        """Tries the credentials in order, without any if there are none. Raises ImageError."""
        try:
            domain, path, tag, digest = image_name.split(image)
        except ValueError as error:
            raise invalid_name(image, str(error)) from error
        attempts: list[ImageAuth | None] = list(auth) or [None]
        for number, credentials in enumerate(attempts, 1):
            pull = functools.partial(
                self._pull, image=image, repository=f"{domain}/{path}", tag=digest or tag, credentials=credentials
            )
            try:
                await self._client.call_slow(pull)
                break
            except RuntimeFailure as error:
                # Other credentials help against a refusal, and against nothing else.
                if number == len(attempts) or not _UNAUTHORIZED.search(str(error)):
                    raise pull_error(image, str(error)) from error
            finally:
                self.progress.pop(image, None)
        found = await self.get(image)
        if found is None:
            raise ImageError(ERR_IMAGE_PULL, f'failed to pull image "{image}": it was pulled but is not there')
        return found

    def _pull(self, api: Any, *, image: str, repository: str, tag: str, credentials: ImageAuth | None) -> None:
        """In a thread of its own."""
        config = {} if credentials is None else _auth_config(credentials)
        stream = api.pull(repository, tag=tag, stream=True, decode=True, auth_config=config)
        started = time.monotonic()
        for event in stream:
            if "error" in event:
                raise docker.errors.APIError(
                    str(event["error"]),
                    explanation=str((event.get("errorDetail") or {}).get("message", event["error"])),
                )
            progress = event.get("progress") or event.get("status") or ""
            self.progress[image] = f"{event.get('id', '')}: {progress}".strip(": ")
        log.info("pulled %s in %.1f s", image, time.monotonic() - started)


def _auth_config(credentials: ImageAuth) -> dict[str, str]:
    if credentials.identity_token:
        return {"identitytoken": credentials.identity_token, "serveraddress": credentials.server}
    return {
        "username": credentials.username,
        "password": credentials.password,
        "serveraddress": credentials.server,
    }


def invalid_name(image: str, why: str) -> ImageError:
    why = why[why.rfind("invalid reference format") :] if "invalid reference format" in why else why
    return ImageError(
        INVALID_NAME, f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {why}'
    )


def pull_error(image: str, why: str) -> ImageError:
    """Upstream's shape: `failed to pull and unpack image "docker.io/library/x:latest": <why>`."""
    if "invalid reference format" in why:
        return invalid_name(image, why)
    name = image_name.normalize_known(image)
    if "manifest unknown" in why or ("not found" in why.lower() and not _UNREACHABLE.search(why)):
        why = f'failed to resolve reference "{name}": {name}: not found'
    message = f'failed to pull and unpack image "{name}": {why}'
    return ImageError(UNAVAILABLE if _UNREACHABLE.search(why) else ERR_IMAGE_PULL, message)
