"""ServiceAccount: every pod runs as an account of its namespace, with a token that is bound to it.

Source: kubernetes/plugin/pkg/admission/serviceaccount; the token volume is KEP-1205's projected volume.
"""

from __future__ import annotations

import asyncio
from typing import Any

from api import codec, errors
from api.names import random_suffix
from api.types.core_v1 import (
    ConfigMapProjection,
    Container,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    KeyToPath,
    ObjectFieldSelector,
    Pod,
    ProjectedVolumeSource,
    ServiceAccount,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from apiserver.admission import Operation
from apiserver.strategy import Context

DEFAULT_ACCOUNT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
#: A second more than an hour, so that the token's refresh can be told from one that a user asked for.
_EXPIRATION_SECONDS = 3607
_MODE = 0o644
_MIRROR = "kubernetes.io/config.mirror"
_ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
#: How often and how long (seconds) a missing account is looked for: the controller makes it just after its namespace.
_TRIES, _PAUSE = 10, 0.1


class ServiceAccountAdmission:
    name = "ServiceAccount"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        if ctx.resource.kind != "Pod" or ctx.resource.group:
            return False
        return operation == "CREATE" and not ctx.subresource

    async def mutate(self, ctx: Context, operation: Operation, new: Pod, old: Any) -> None:
        if _MIRROR in (new.metadata.annotations or {}):
            return
        if not new.spec.service_account_name:
            new.spec.service_account_name = DEFAULT_ACCOUNT
        new.spec.service_account = new.spec.service_account_name
        account = await self._account(ctx, new)
        if _mounts_token(account, new):
            _mount_token(new)
        if not new.spec.image_pull_secrets and account.image_pull_secrets:
            new.spec.image_pull_secrets = [codec.deepcopy(secret) for secret in account.image_pull_secrets]

    async def validate(self, ctx: Context, operation: Operation, new: Pod, old: Any) -> None:
        name = new.metadata.name or ""
        if _MIRROR in (new.metadata.annotations or {}):
            if new.spec.service_account_name:
                raise errors.forbidden("pods", name, "a mirror pod may not reference service accounts")
            return
        account = await self._account(ctx, new)
        if (account.metadata.annotations or {}).get(_ENFORCE_MOUNTABLE) == "true":
            _check_mountable(new, account)

    async def _account(self, ctx: Context, pod: Pod) -> ServiceAccount:
        """The pod's account; a default one that is missing gets a moment to appear. Raises StatusError 403."""
        name = pod.spec.service_account_name or DEFAULT_ACCOUNT
        cached = ctx.registry.cached(ServiceAccount, name, ctx.namespace)
        if cached is not None:
            return cached
        for attempt in range(_TRIES if name == DEFAULT_ACCOUNT else 1):
            if attempt:
                await asyncio.sleep(_PAUSE)
            try:
                return await ctx.registry.get(ServiceAccount, name, namespace=ctx.namespace)
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
        detail = f'error looking up service account {ctx.namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden("pods", pod.metadata.name or "", detail)


def _mounts_token(account: ServiceAccount, pod: Pod) -> bool:
    if pod.spec.automount_service_account_token is not None:
        return pod.spec.automount_service_account_token
    return account.automount_service_account_token is not False


def _mount_token(pod: Pod) -> None:
    """Mount the token into every container that has nothing at its place; add the volume if one does."""
    name = next((v.name for v in pod.spec.volumes or () if v.name.startswith(_VOLUME_PREFIX)), "")
    has_volume = bool(name)
    name = name or f"{_VOLUME_PREFIX}{random_suffix(5)}"
    containers: list[Container] = [*(pod.spec.init_containers or ()), *pod.spec.containers]
    needed = False
    for container in containers:
        if any(m.mount_path == MOUNT_PATH for m in container.volume_mounts or ()):
            continue
        mount = VolumeMount(name=name, read_only=True, mount_path=MOUNT_PATH)
        container.volume_mounts = [*(container.volume_mounts or ()), mount]
        needed = True
    if needed and not has_volume:
        pod.spec.volumes = [*(pod.spec.volumes or ()), token_volume(name)]


def token_volume(name: str) -> Volume:
    """Token, CA and namespace, as pods find them at `MOUNT_PATH`."""
    namespace = DownwardAPIVolumeFile(
        path="namespace", field_ref=ObjectFieldSelector(api_version="v1", field_path="metadata.namespace")
    )
    token = ServiceAccountTokenProjection(path="token", expiration_seconds=_EXPIRATION_SECONDS)
    ca = ConfigMapProjection(name="kube-root-ca.crt", items=[KeyToPath(key="ca.crt", path="ca.crt")])
    sources = [
        VolumeProjection(service_account_token=token),
        VolumeProjection(config_map=ca),
        VolumeProjection(downward_api=DownwardAPIProjection(items=[namespace])),
    ]
    return Volume(name=name, projected=ProjectedVolumeSource(sources=sources, default_mode=_MODE))


def _check_mountable(pod: Pod, account: ServiceAccount) -> None:
    """Only secrets that the account lists, where it asks for that. Raises StatusError 403."""
    allowed = {s.name for s in account.secrets or ()}
    pulls = {s.name for s in account.image_pull_secrets or ()}
    who = f"service account {account.metadata.namespace}/{account.metadata.name}"

    def refuse(detail: str) -> errors.StatusError:
        return errors.forbidden("pods", pod.metadata.name or "", detail)

    for volume in pod.spec.volumes or ():
        secret = volume.secret.secret_name if volume.secret else None
        if secret and secret not in allowed:
            raise refuse(
                f'volume with secret.secretName="{secret}" is not allowed because {who} does not reference that secret'
            )
    for kind, containers in (("init container", pod.spec.init_containers), ("container", pod.spec.containers)):
        for container in containers or ():
            for variable in container.env or ():
                ref = variable.value_from.secret_key_ref if variable.value_from else None
                if ref and ref.name not in allowed:
                    raise refuse(
                        f"{kind} {container.name} with envVar {variable.name} referencing "
                        f'secret.secretName="{ref.name}" is not allowed because {who} does not reference that secret'
                    )
    for pull in pod.spec.image_pull_secrets or ():
        if pull.name not in pulls:
            raise refuse(
                f'imagePullSecrets[].name="{pull.name}" is not allowed because {who} does not reference that '
                "imagePullSecret"
            )
