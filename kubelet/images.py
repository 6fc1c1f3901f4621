"""Images for containers: present, or pulled by the policy, with upstream's events, reasons and backoff.

Pulls of different images run side by side; containers that want the same image at the same time share one pull.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from api import errors
from api.types.core_v1 import Pod, Secret
from client.events import EventRecorder
from kubelet import podutil
from kubelet.backoff import Backoff
from kubelet.cri import ImageAuth, ImageError, ImageStatus, Runtime
from kubelet.objects import Objects
from kubelet.podutil import AnyContainer

log = logging.getLogger(__name__)

PULL_BACKOFF_INITIAL, PULL_BACKOFF_MAXIMUM = 10.0, 300.0  # seconds
_OWN_REASONS = ("InvalidImageName", "ErrImageNeverPull", "SignatureValidationFailed")

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?|\[[a-fA-F0-9:]+\](?::[0-9]+)?"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?:(?:{_DOMAIN})/)?{_COMPONENT}(?:/{_COMPONENT})*(?::{_TAG})?(?:@{_DIGEST})?")


def normalize(image: str) -> str:
    """The image with its default tag. Raises ImageError (InvalidImageName)."""
    if not _REFERENCE.fullmatch(image):
        reason = "invalid reference format"
        if re.search(r"[A-Z]", image.split("@")[0].rsplit(":", 1)[0].split("/", 1)[-1]):
            reason = "invalid reference format: repository name must be lowercase"
        raise ImageError(
            "InvalidImageName",
            f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {reason}',
        )
    last = image.rsplit("/", 1)[-1]
    return image if "@" in image or ":" in last else f"{image}:latest"


def default_policy(image: str) -> str:
    """What the API server defaults `imagePullPolicy` to; for static pods nobody else does."""
    tag = image.rsplit("/", 1)[-1]
    if "@" in image:
        return "IfNotPresent"
    return "Always" if ":" not in tag or tag.endswith(":latest") else "IfNotPresent"


def registry_of(image: str) -> str:
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def credentials(image: str, secrets: Sequence[Secret]) -> list[ImageAuth]:
    """What the pull secrets hold for the image's registry, most specific path first."""
    registry, repository = registry_of(image), image.split("@")[0]
    found: list[tuple[int, ImageAuth]] = []
    for secret in secrets:
        for server, entry in _docker_config(secret).items():
            pattern = re.sub(r"^https?://", "", server).rstrip("/")
            pattern = "docker.io" if pattern.startswith("index.docker.io") else pattern
            host, _, path = pattern.partition("/")
            path = "" if path in ("v1", "v2") else path
            if not re.fullmatch(re.escape(host).replace(r"\*", "[^.]*"), registry):
                continue
            if path and not repository.removeprefix(f"{registry}/").startswith(path):
                continue
            user, password = entry.get("username", ""), entry.get("password", "")
            if entry.get("auth"):
                try:
                    user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                except (binascii.Error, UnicodeDecodeError):
                    continue
            auth = ImageAuth(user, password, entry.get("identitytoken", ""), server)
            found.append((-len(pattern), auth))
    return [auth for _, auth in sorted(found, key=lambda pair: pair[0])]


def _docker_config(secret: Secret) -> dict[str, dict[str, str]]:
    data = secret.data or {}
    try:
        if ".dockerconfigjson" in data:
            config: dict[str, Any] = json.loads(base64.b64decode(data[".dockerconfigjson"]))
            return dict(config.get("auths") or {})
        if ".dockercfg" in data:
            return dict(json.loads(base64.b64decode(data[".dockercfg"])))
    except (ValueError, TypeError):
        log.warning("secret %s/%s holds no registry credentials", secret.metadata.namespace, secret.metadata.name)
    return {}


class Images:
    def __init__(
        self,
        runtime: Runtime,
        objects: Objects,
        recorder: EventRecorder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._objects = objects
        self._recorder = recorder
        self._clock = clock
        self._backoff = Backoff(PULL_BACKOFF_INITIAL, PULL_BACKOFF_MAXIMUM, clock)
        self._failures: dict[str, str] = {}  # what the last pull said, for as long as another one is held back
        self._pulls: dict[str, asyncio.Task[ImageStatus]] = {}

    async def ensure(self, pod: Pod, container: AnyContainer) -> ImageStatus:
        """The image, ready to run. Raises ImageError with upstream's reason; the caller tries again later."""
        return await self.ensure_named(pod, container.image or "", container.image_pull_policy, container.name)

    async def ensure_named(self, pod: Pod, name: str, policy: str | None, container: str) -> ImageStatus:
        """As `ensure`, for an image that this container of the pod needs besides its own."""
        events = podutil.container_reference(pod, container)

        def warn(reason: str, message: str) -> None:
            self._recorder.event(events, "Warning", reason, message)

        try:
            image = normalize(name)
        except ImageError as error:
            warn("InspectFailed", str(error))
            raise
        policy = policy or default_policy(name)
        present = None if policy == "Always" else await self._runtime.image(image)
        if present is not None:
            self._recorder.event(
                events,
                "Normal",
                "Pulled",
                f'Container image "{name}" already present on machine and can be accessed by the pod',
            )
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            warn("ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message)
        key = f"{podutil.uid(pod)}_{image}"
        if self._backoff.remaining(key) > 0:
            message = f'Back-off pulling image "{name}"'
            self._recorder.event(events, "Normal", "BackOff", message)
            raise ImageError("ImagePullBackOff", f"{message}: {self._failures[key]}")
        self._recorder.event(events, "Normal", "Pulling", f'Pulling image "{name}"')
        started = self._clock()
        try:
            pulled, took = await self._pull(image, await self._credentials(pod, image))
        except ImageError as error:
            self._backoff.next(key)
            reason = error.reason if error.reason in _OWN_REASONS else "ErrImagePull"
            self._failures[key] = f"{reason}: {error}"
            warn("Failed", f'Failed to pull image "{name}": {error}')
            raise ImageError(reason, str(error)) from None
        self._backoff.reset(key)
        self._failures.pop(key, None)
        waited = self._clock() - started
        self._recorder.event(
            events,
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in {_seconds(took)} '
            f"({_seconds(waited)} including waiting). Image size: {pulled.size} bytes.",
        )
        return pulled

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        for key in [key for key in self._failures if key.startswith(f"{uid}_")]:
            del self._failures[key]
            self._backoff.reset(key)

    def retry_after(self, pod: Pod, image: str) -> float:
        """Seconds until another pull is worth trying."""
        try:
            return self._backoff.remaining(f"{podutil.uid(pod)}_{normalize(image)}")
        except ImageError:
            return PULL_BACKOFF_INITIAL

    async def _pull(self, image: str, auth: Sequence[ImageAuth]) -> tuple[ImageStatus, float]:
        key = f"{image}\0{[(a.server, a.username) for a in auth]}"
        task = self._pulls.get(key)
        started = self._clock()
        if task is None:
            task = asyncio.create_task(self._runtime.pull_image(image, auth), name=f"pull {image}")
            self._pulls[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        # A pod that is deleted stops waiting; the pull goes on for the others and for the next time.
        return await asyncio.shield(task), self._clock() - started

    def _finished(self, key: str, task: asyncio.Task[ImageStatus]) -> None:
        self._pulls.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen by those who wait; none may be left

    async def _credentials(self, pod: Pod, image: str) -> list[ImageAuth]:
        secrets: list[Secret] = []
        for reference in pod.spec.image_pull_secrets or ():
            try:
                secrets.append(await self._objects.secret(podutil.namespace(pod), reference.name or ""))
            except errors.StatusError as error:
                self._recorder.event(
                    pod,
                    "Warning",
                    "FailedToRetrieveImagePullSecret",
                    f"Unable to retrieve some image pull secrets ({reference.name}); attempting to pull the image may "
                    "not succeed.",
                )
                log.info("pull secret %s of pod %s: %s", reference.name, podutil.key(pod), error)
        return credentials(image, secrets)


def _seconds(value: float) -> str:
    """As Go prints a duration rounded to milliseconds: 85ms, 1.2s, 1m3.5s."""
    milliseconds = round(value * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{seconds}" if minutes else seconds
