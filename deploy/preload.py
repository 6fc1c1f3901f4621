"""The content of a registry, laid out on disk as Docker's registry keeps it, from images that the engine has.

Nodes pull these within seconds of a cluster's first start, so blobs are plain tars: on one machine unpacking costs more
than carrying. Layout: distribution's `registry/storage/paths.go`; manifests: Image Manifest V2, Schema 2.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.machine import run

BLOBS = "docker/registry/v2/blobs/sha256"
REPOSITORIES = "docker/registry/v2/repositories"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"
LOCAL_PREFIX = "localhost:5000/"


@dataclass
class Saved:
    """An unpacked `docker save`: of each image its config, and its layers by digest."""

    images: dict[str, tuple[bytes, list[str]]] = field(default_factory=dict)
    layers: dict[str, Path] = field(default_factory=dict)


def context(names: Iterable[str], *, folder: Path, without: Container[str] = ()) -> dict[str, Path | bytes]:
    """The registry's files for these images, below `registry/`; their layers are unpacked into `folder`.

    Layers named in `without` are left out: an image below this one has them.
    """
    saved = unpack(names, folder)
    files: dict[str, Path | bytes] = {
        f"registry/{blob(digest)}": path for digest, path in saved.layers.items() if digest not in without
    }
    for name, (config, layers) in sorted(saved.images.items()):
        sizes = {digest: saved.layers[digest].stat().st_size for digest in layers}
        files |= {f"registry/{file}": content for file, content in entry(name, config, layers, sizes).items()}
    return files


def unpack(names: Iterable[str], folder: Path) -> Saved:
    """Unpacks `docker save`, of the old layout and of the OCI one alike: `manifest.json` describes both."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.NamedTemporaryFile(dir=folder) as archive:
        run(["docker", "save", "--output", archive.name, *names])
        with tarfile.open(archive.name) as tar:
            tar.extractall(folder, filter="data")
    return read(folder)


def read(folder: Path) -> Saved:
    saved = Saved()
    for image in json.loads((folder / "manifest.json").read_bytes()):
        config = (folder / image["Config"]).read_bytes()
        digests = json.loads(config)["rootfs"]["diff_ids"]
        for digest, layer in zip(digests, image["Layers"], strict=True):
            saved.layers.setdefault(digest, (folder / layer).resolve())
        for name in image["RepoTags"]:
            saved.images[name] = (config, digests)
    return saved


def entry(name: str, config: bytes, layers: list[str], sizes: dict[str, int]) -> dict[str, bytes]:
    """The files that make one image known under one name: config, manifest and the links to them and to the layers."""
    repository, _, tag = name.removeprefix(LOCAL_PREFIX).rpartition(":")
    config_digest = sha256(config)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": config_digest},
            "layers": [{"mediaType": LAYER, "size": sizes[layer], "digest": layer} for layer in layers],
        },
        indent=3,
    ).encode()
    digest = sha256(manifest)
    home = f"{REPOSITORIES}/{repository}"
    files = {blob(config_digest): config, blob(digest): manifest}
    for layer in (config_digest, *layers):
        files[f"{home}/_layers/{layer.replace(':', '/')}/link"] = layer.encode()
    link = digest.replace(":", "/")
    for path in (f"revisions/{link}", f"tags/{tag}/current", f"tags/{tag}/index/{link}"):
        files[f"{home}/_manifests/{path}/link"] = digest.encode()
    return files


def blob(digest: str) -> str:
    name = digest.removeprefix("sha256:")
    return f"{BLOBS}/{name[:2]}/{name}/data"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
