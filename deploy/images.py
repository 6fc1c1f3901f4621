"""Builds every image of the project: `python -m deploy.images [NAME...]`; `--take-etcd FILE` copies out etcd.

An image is described by an `Image`: its Dockerfile, the image below it and the files it gets. Those together make a
fingerprint, kept as a label; an image whose fingerprint stands is not built again, so that a second run takes no time.
Images are stacked so that the layers that change often are small and on top (see `dockerfiles/`).

Nothing here needs a container registry: the base is used if present, else pulled, else made with debootstrap from the
mirror that this machine's apt uses. Python packages are fetched on the host (`wheels`), so a proxy that inspects TLS
needs to be known to the host alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.images import Image as DockerImage

from deploy import preload, wheels
from deploy.install import apt_install
from deploy.machine import ROOT, SUITE, Problem, as_root, mirror, output, reach_docker, run, say

BASE = f"debian:{SUITE}-slim"
BUILD = ROOT / ".build"
DOCKERFILES = ROOT / "deploy/dockerfiles"
FINGERPRINT = "pykube.fingerprint"
LOCAL = "localhost:5000"
"""The cluster's own registry, by the name under which the host and every node reach it."""

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

CODE = ("api", "client", "component", "proto")
COMPONENTS = ("addons", "apiserver", "cli", "controller_manager", "deploy", "kubelet", "proxy", "scheduler")

Files = dict[str, Path | bytes]
"""A build context: name inside it -> file on the host, or content."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image: `files` names the context, and is called only if `inputs`, its identity, or the parent changed."""

    name: str
    dockerfile: Path
    parents: tuple[str, ...] = (BASE,)
    arguments: Mapping[str, str] = field(default_factory=dict)
    inputs: Callable[[], Files] = dict
    files: Callable[[], Files] | None = None
    tags: tuple[str, ...] = ()
    """Further names."""


def tree(folder: Path, prefix: str, *, suffixes: tuple[str, ...] = ()) -> Files:
    """The files below a folder, named below `prefix`; caches stay out."""
    found: Files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and (not suffixes or path.suffix in suffixes):
            found[f"{prefix}/{path.relative_to(folder)}"] = path
    return found


def code(*packages: str) -> Callable[[], Files]:
    def collect() -> Files:
        found: Files = {}
        for package in packages:
            found |= tree(ROOT / package, f"code/{package}", suffixes=(".py", ".yaml"))
        return found

    return collect


def dockerfile(name: str) -> Path:
    return DOCKERFILES / f"{name}.Dockerfile"


def beside(*names: str) -> Callable[[], Files]:
    return lambda: {name: DOCKERFILES / name for name in names}


def take(image: str, path: str) -> bytes:
    """A file out of an image."""
    container = docker.from_env().containers.create(image)
    try:
        stream, _ = container.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            member = archive.extractfile(path.rpartition("/")[2])
            assert member is not None
            return member.read()
    finally:
        container.remove()


def catatonit() -> Files:
    return {"catatonit": take("pykube/pause-source", "/usr/bin/catatonit")}


def take_etcd(target: Path) -> None:
    """Puts etcd's program on the host, for tests that kill it; its package would start a service."""
    stamp = target.with_suffix(".image")
    current = image_id("pykube/etcd") or ""
    if target.exists() and stamp.exists() and stamp.read_text() == current:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(take("pykube/etcd", "/usr/bin/etcd"))
    target.chmod(0o755)
    stamp.write_text(current)


def version() -> str:
    import tomllib

    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def images() -> list[Image]:
    """All images, each after those it is built from."""
    guestbook = ROOT / "examples/guestbook"
    postgres = ROOT / "examples/postgres/image"
    addons, *stable = preloaded()
    lock, subset = ROOT / "requirements.lock", DOCKERFILES / "addons.in"
    return [
        Image(
            name="pykube/base",
            dockerfile=dockerfile("base"),
            arguments={"MIRROR": mirror() or ""},
            inputs=beside("apt-install", "dpkg-excludes"),
        ),
        Image(name="pykube/python", dockerfile=dockerfile("python"), parents=("pykube/base",)),
        Image(
            name="pykube/packages",
            dockerfile=dockerfile("packages"),
            parents=("pykube/python",),
            inputs=lambda: {"lock": lock},
            files=lambda: tree(wheels.unpack(lock, into=BUILD / "packages"), "packages"),
        ),
        Image(
            name="pykube/addons-packages",
            dockerfile=dockerfile("packages"),
            parents=("pykube/python",),
            inputs=lambda: {"lock": lock, "subset": subset},
            files=lambda: tree(wheels.unpack(lock, into=BUILD / "addons", only=subset), "packages"),
        ),
        Image(
            name="pykube/pykube",
            dockerfile=dockerfile("code"),
            parents=("pykube/packages",),
            arguments={"PARENT": "pykube/packages"},
            inputs=code(*CODE, *COMPONENTS),
        ),
        Image(
            name="pykube/addons-base",
            dockerfile=dockerfile("flat"),
            parents=("pykube/addons-packages",),
            inputs=beside("flatten"),
        ),
        Image(name="pykube/node-base", dockerfile=dockerfile("node"), parents=("pykube/packages",)),
        Image(
            name="pykube/node",
            dockerfile=dockerfile("code"),
            parents=("pykube/node-base",),
            arguments={"PARENT": "pykube/node-base"},
            inputs=code(*CODE, "deploy", "kubelet", "proxy"),
        ),
        Image(name="pykube/etcd", dockerfile=dockerfile("etcd"), parents=("pykube/base",)),
        Image(name="pykube/pause-source", dockerfile=dockerfile("pause-source"), parents=("pykube/base",)),
        Image(
            name=f"{LOCAL}/pykube/pause:1.0",
            dockerfile=dockerfile("pause"),
            parents=("pykube/pause-source",),
            files=catatonit,
        ),
        Image(
            name=addons,
            dockerfile=dockerfile("code"),
            parents=("pykube/addons-base",),
            arguments={"PARENT": "pykube/addons-base"},
            inputs=code(*CODE, "addons"),
        ),
        Image(name=f"{LOCAL}/pykube/toolbox:latest", dockerfile=dockerfile("toolbox"), parents=("pykube/base",)),
        Image(
            name=f"{LOCAL}/redis:8",
            dockerfile=guestbook / "redis/Dockerfile",
            inputs=lambda: tree(guestbook / "redis", "."),
            tags=(f"{LOCAL}/redis:latest",),
        ),
        *(
            Image(
                name=f"{LOCAL}/guestbook-frontend:{release}",
                dockerfile=guestbook / "frontend/Dockerfile",
                arguments={"VERSION": release},
                inputs=lambda: tree(guestbook / "frontend", "."),
            )
            for release in ("v1", "v2")
        ),
        Image(
            name=f"{LOCAL}/postgres:17",
            dockerfile=postgres / "Dockerfile",
            inputs=lambda: tree(postgres, "."),
        ),
        Image(
            name="pykube/registry-base",
            dockerfile=dockerfile("registry-base"),
            parents=("pykube/base", "pykube/addons-base", *stable),
            inputs=beside("registry.yml", "registry-start"),
            files=lambda: preload.context([*stable, "pykube/addons-base:latest"], folder=BUILD / "preload"),
        ),
        Image(
            name="pykube/registry",
            dockerfile=dockerfile("registry"),
            parents=("pykube/registry-base", addons),
            files=lambda: {
                "preloaded": f"{image_id('pykube/registry-base')} {image_id(addons)}".encode(),
                **preload.context([addons], folder=BUILD / "preload-addons", without=layers("pykube/addons-base")),
            },
        ),
    ]


def addons_image() -> str:
    return f"{LOCAL}/pykube/addons:{version()}"


def preloaded() -> tuple[str, ...]:
    """What a new cluster's registry holds."""
    names = ("pykube/pause:1.0", "pykube/toolbox:latest", "redis:8", "redis:latest", "postgres:17")
    others = (f"{LOCAL}/{name}" for name in (*names, "guestbook-frontend:v1", "guestbook-frontend:v2"))
    return (addons_image(), *others)


def image_id(name: str) -> str | None:
    """What an image's name stands for now, if anything."""
    try:
        return docker.from_env().images.get(name).id
    except ImageNotFound:
        return None


def layers(name: str) -> frozenset[str]:
    return frozenset(docker.from_env().images.get(name).attrs["RootFS"]["Layers"])


class Builder:
    """Builds images through the engine's classic builder, which resolves parents locally and needs no registry."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.api = client.api
        self.arguments = {key: os.environ[key] for key in PROXIES if key in os.environ}

    def find(self, name: str) -> DockerImage | None:
        try:
            return self.client.images.get(name)
        except ImageNotFound:
            return None

    def image_id(self, name: str) -> str | None:
        image = self.find(name)
        return image.id if image else None

    def build(self, image: Image) -> bool:
        """Builds an image unless it is current; says whether it did."""
        inputs = {"Dockerfile": image.dockerfile, **image.inputs()}
        wanted = self.fingerprint(image, inputs)
        current = self.find(image.name)
        if current and current.labels.get(FINGERPRINT) == wanted:
            return False
        say(f"building {image.name}")
        started = time.monotonic()
        extra = image.files() if image.files else {}
        self._run(image, archive({**inputs, **extra}), wanted)
        for name in image.tags:
            repository, _, tag = name.rpartition(":")
            self.api.tag(image.name, repository, tag)
        say(f"built {image.name} in {time.monotonic() - started:.1f} s")
        return True

    def fingerprint(self, image: Image, inputs: Files) -> str:
        digest = hashlib.sha256()
        for parent in image.parents:
            digest.update(f"{parent} {self.image_id(parent)}\n".encode())
        for key, value in sorted(image.arguments.items()):
            digest.update(f"{key}={value}\n".encode())
        for name, source in sorted(inputs.items()):
            content = source if isinstance(source, bytes) else source.read_bytes()
            digest.update(f"{name} {mode(source):o} {hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()

    def _run(self, image: Image, context: io.BytesIO, fingerprint: str) -> None:
        log: list[str] = []
        steps = self.api.build(
            fileobj=context,
            custom_context=True,
            tag=image.name,
            buildargs={**self.arguments, **image.arguments},
            labels={FINGERPRINT: fingerprint},
            rm=True,
            forcerm=True,
            decode=True,
        )
        for step in steps:
            log.append(step.get("stream", ""))
            if "error" in step:
                tail = "".join(log)[-4000:].strip()
                raise Problem(f"building {image.name} failed: {step['error']}\n{tail}")

    def forget(self) -> None:
        """Removes what rebuilds left without a name, as far as nothing runs on it."""
        self.client.images.prune(filters={"dangling": True, "label": FINGERPRINT})


def mode(source: Path | bytes) -> int:
    return 0o755 if isinstance(source, bytes) or source.stat().st_mode & 0o100 else 0o644


def archive(files: Files) -> io.BytesIO:
    """A build context as a tar that is the same for the same content, so that the builder's own cache holds."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, source in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.mode = mode(source)
            if isinstance(source, bytes):
                info.size = len(source)
                tar.addfile(info, io.BytesIO(source))
                continue
            info.size = source.stat().st_size
            with source.open("rb") as handle:
                tar.addfile(info, handle)
    buffer.seek(0)
    return buffer


def ensure_base(builder: Builder) -> None:
    """`debian:trixie-slim`: what is here, else a registry's, else our own."""
    if builder.image_id(BASE):
        return
    say(f"pulling {BASE}")
    try:
        builder.client.images.pull(BASE)
        return
    except APIError as error:
        why = str(error.explanation).splitlines()[0][:100]
        say(f"no registry to pull it from ({why}); building it from Debian's packages")
    if output(["sh", "-c", "command -v debootstrap"]) is None:
        apt_install("debootstrap")
    BUILD.mkdir(exist_ok=True)
    rootfs = BUILD / "base.tar"
    try:
        script = as_root([DOCKERFILES / "debian.sh", SUITE, *filter(None, [mirror()])])
        run(["sh", "-c", f'"$@" >{rootfs} 2>{BUILD}/debootstrap.log', "sh", *script])
        run(["docker", "import", "--change", 'CMD ["bash"]', rootfs, BASE], quiet=True)
    except Problem as problem:
        raise Problem(f"{problem}\nsee {BUILD}/debootstrap.log") from None
    finally:
        rootfs.unlink(missing_ok=True)


def needed(all_images: list[Image], names: list[str]) -> Iterator[Image]:
    """The images with these names (all if none are given) and those they are built from, in order."""
    by_name = {image.name: image for image in all_images}
    wanted: set[str] = set()

    def add(name: str) -> None:
        if name in by_name and name not in wanted:
            wanted.add(name)
            for parent in by_name[name].parents:
                add(parent)

    for name in names or by_name:
        if name not in by_name:
            raise Problem(f"no image {name!r}; there are: {', '.join(by_name)}")
        add(name)
    return (image for image in all_images if image.name in wanted)


def main(names: list[str]) -> int:
    try:
        reach_docker()
        if names[:1] == ["--take-etcd"]:
            take_etcd(Path(names[1]))
            return 0
        builder = Builder(docker.from_env(timeout=600))
        ensure_base(builder)
        built = [image.name for image in needed(images(), names) if builder.build(image)]
        if built:
            builder.forget()
        say(f"images are current, {len(built)} built" if built else "images are current")
    except (Problem, DockerException, OSError) as problem:  # OSError: a full disk, or an engine that went away
        print(f"images: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
