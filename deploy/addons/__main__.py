"""Applies the addon manifests and waits until what they start works: `python -m deploy.addons [FILE...]`.

Runs as a one-shot service at every start of the cluster, so it must be safe to repeat, and must not mind that the API
server is still starting. Images of the cluster's own registry are pinned to what the registry holds now: a new build of
the same version then rolls out, and an unchanged one does not.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from api import codec, errors, resources
from api.types.apps_v1 import Deployment
from client.api import Api
from client.transport import TLS
from deploy.addons import cluster_info

T = TypeVar("T")

LOCAL = "localhost:5000/"
WAIT = "pykube.dev/wait"
"""A Deployment with this annotation `false` is not waited for: a cluster is of use before it works."""

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
RETRY = 0.3
"""Seconds between attempts, and between looks at what is being waited for."""

Objects = list[dict[str, Any]]


def load(files: list[Path]) -> Objects:
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def local_images(objects: Objects) -> set[str]:
    """The images of the cluster's own registry that workloads name, as `repository:tag`."""
    return {
        container["image"].removeprefix(LOCAL)
        for obj in objects
        for container in containers(obj)
        if container["image"].startswith(LOCAL) and "@" not in container["image"]
    }


def containers(obj: dict[str, Any]) -> Objects:
    spec = obj.get("spec", {}).get("template", {}).get("spec", {})
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def pin(objects: Objects, digests: dict[str, str]) -> None:
    """Adds the digests to the images that have one."""
    for obj in objects:
        for container in containers(obj):
            digest = digests.get(container["image"].removeprefix(LOCAL))
            if digest and container["image"].startswith(LOCAL):
                container["image"] += f"@{digest}"


def digest(registry: str, image: str) -> str:
    """What the registry holds under this name. Raises OSError if it does not answer or does not have it."""
    repository, _, tag = image.rpartition(":")
    if not re.fullmatch(r"[\w./-]+", repository):
        raise ValueError(f"{image!r} has no tag")
    request = urllib.request.Request(
        f"http://{registry}/v2/{repository}/manifests/{tag}", method="HEAD", headers={"Accept": MANIFEST}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(answer.headers["Docker-Content-Digest"])


async def patiently(attempt: Callable[[], Awaitable[T]], deadline: float) -> T:
    """Tries until it works; what only waiting can cure (nobody answers, not there yet) is tried again."""
    while True:
        try:
            return await attempt()
        except (errors.StatusError, OSError) as error:
            passing = isinstance(error, OSError) or error.code >= 500 or error.code in (403, 404, 409, 429)
            if not passing or time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY)


async def apply(api: Api, document: dict[str, Any]) -> None:
    """Creates an object, or brings one that exists to what the manifest says."""
    resource = resources.find_kind(document["apiVersion"], document["kind"])
    if resource is None:
        raise click.ClickException(f"unknown kind {document['apiVersion']} {document['kind']}")
    metadata = document["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    try:
        await api.get(resource.type, name, namespace=namespace)
    except errors.StatusError as error:
        if not errors.is_not_found(error):
            raise
        # not create-and-see: a Service that exists is refused for its address, not for its name
        await api.create(codec.from_dict(resource.type, document))
        return
    # not strategic: that merges ports by number, and DNS has one number for two protocols
    await api.patch(resource.type, name, document, namespace=namespace, type="merge")


async def available(api: Api, namespace: str, name: str) -> None:
    """Returns once the Deployment's newest generation is available; else raises a StatusError that is worth a retry."""
    found = await api.get(Deployment, name, namespace=namespace)
    state = {condition.type: condition.status for condition in found.status.conditions or []}
    behind = (found.status.observed_generation or 0) < (found.metadata.generation or 0)
    if behind or state.get("Available") != "True":
        raise errors.service_unavailable(f"deployment {namespace}/{name} is not available")


def optional(document: dict[str, Any]) -> bool:
    """Whether this is a Deployment that a cluster is of use without."""
    annotations = document["metadata"].get("annotations", {})
    return bool(document["kind"] == "Deployment" and annotations.get(WAIT) == "false")


async def run(objects: Objects, *, api: Api, registry: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    digests = {
        image: await patiently(lambda image=image: asyncio.to_thread(digest, registry, image), deadline)  # type: ignore[misc]
        for image in (local_images(objects) if registry else ())
    }
    pin(objects, digests)

    async def put(documents: Objects) -> None:
        for document in documents:
            await patiently(lambda document=document: apply(api, document), deadline)  # type: ignore[misc]
            click.echo(f"applied {document['kind'].lower()}/{document['metadata']['name']}")

    # What nobody waits for starts when what is waited for works: it would only slow that down.
    late = [document for document in objects if optional(document)]
    await put([document for document in objects if document not in late])
    for document in objects:
        if document["kind"] == "Deployment" and document not in late:
            metadata = document["metadata"]
            await patiently(lambda at=metadata: available(api, at["namespace"], at["name"]), deadline)  # type: ignore[misc]
            click.echo(f"deployment/{metadata['name']} is available")
    await put(late)


@click.command(context_settings={"auto_envvar_prefix": "PYKUBE"})
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--server", required=True, help="host:port of the API server's gRPC face.")
@click.option("--ca-file", required=True)
@click.option("--cert-file", required=True)
@click.option("--key-file", required=True)
@click.option("--url", default="", help="of the API, for machines that join; default: https://HOST:6443 of the server.")
@click.option("--registry", default="", help="host:port of the cluster's registry; without it images stay as written.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds until giving up.")
@click.option("--log-level", default="info", hidden=True)
def main(
    files: tuple[Path, ...],
    server: str,
    ca_file: str,
    cert_file: str,
    key_file: str,
    url: str,
    registry: str,
    timeout: float,
    log_level: str,
) -> None:
    """Applies FILES (all addons by default) and waits until their Deployments are available."""
    objects = load(list(files) or sorted(Path(__file__).parent.glob("*.yaml")))
    if not files:
        host = server.split(",")[0].rpartition(":")[0]
        objects += cluster_info.objects(Path(ca_file).read_bytes(), url or f"https://{host}:6443")

    async def connected() -> None:
        async with Api.connect(server, tls=TLS(ca_file, cert_file, key_file)) as api:
            await run(objects, api=api, registry=registry, timeout=timeout)

    try:
        asyncio.run(connected())
    except (errors.StatusError, OSError) as error:
        click.echo(f"addons: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
