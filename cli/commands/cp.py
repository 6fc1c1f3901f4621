"""`cp`: files to and from containers, as a tar stream through exec (the container needs `tar`)."""

from __future__ import annotations

import asyncio
import io
import os
import posixpath
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.env import Env
from cli.errors import CliError, UsageError
from cli.exec_stream import run, stream_query
from cli.framework import command as declare
from cli.framework import flag, option
from cli.objects import dig
from cli.pods import choose_container

CHUNK = 64 * 1024


@dataclass
class Place:
    """One side of the copy; without a pod it is local."""

    path: str
    pod: str = ""
    namespace: str = ""


@declare(
    "cp",
    usage="<file-spec-src> <file-spec-dest>",
    help="Copy files and directories to and from containers. Requires the 'tar' binary in the container.",
    examples="""
    # Copy /tmp/foo local file to /tmp/bar in a remote pod in namespace some-namespace
    kubectl cp /tmp/foo some-namespace/some-pod:/tmp/bar

    # Copy /tmp/foo from a remote pod to /tmp/bar locally
    kubectl cp some-pod:/tmp/foo /tmp/bar

    # Copy a directory to a specific container
    kubectl cp /tmp/foo_dir some-pod:/tmp/bar_dir -c web
    """,
)
@option("-c", "--container", help="Container name. If omitted, use the default-container annotation or the first one.")
@flag("--no-preserve", help="The copied file/directory's ownership and permissions will not be preserved.")
@option("--retries", type=int, default=0, help="Set number of retries to complete a copy operation from a container.")
async def command(env: Env, args: tuple[str, ...], container: str, no_preserve: bool, retries: int) -> None:
    if len(args) != 2:
        raise UsageError("source and destination are required")
    source, target = (_parse(text) for text in args)
    if source.pod and target.pod:
        raise CliError("one of src or dest must be a local file specification")
    if not source.pod and not target.pod:
        raise CliError("one of src or dest must be a remote file specification")
    if not source.path or not target.path:
        raise CliError("filepath can not be empty")
    if target.pod:
        await _upload(env, source, target, container, preserve=not no_preserve)
        return
    for attempt in range(retries + 1):
        try:
            await _download(env, source, target, container, preserve=not no_preserve)
            return
        except CliError:
            if attempt == retries:
                raise


def _parse(text: str) -> Place:
    """`[namespace/]pod:path`, or a local path (also one with a colon that exists)."""
    pod, colon, path = text.partition(":")
    if not colon or not pod or pod.startswith((".", "/")):
        return Place(text)
    parts = pod.split("/")
    if len(parts) == 1:
        return Place(path, pod=parts[0])
    if len(parts) == 2:
        return Place(path, pod=parts[1], namespace=parts[0])
    raise CliError(f"unexpected source path: {text}")


async def _target(env: Env, place: Place, container: str) -> tuple[str, str]:
    namespace = place.namespace or env.namespace
    pod = await env.client.get(f"/api/v1/namespaces/{namespace}/pods/{place.pod}")
    phase = dig(pod, "status", "phase")
    if phase in ("Succeeded", "Failed"):
        raise CliError(f"cannot exec into a container in a completed pod; current phase is {phase}")
    return f"/api/v1/namespaces/{namespace}/pods/{place.pod}/exec", choose_container(env, pod, container)


async def _upload(env: Env, source: Place, target: Place, container: str, *, preserve: bool) -> None:
    local = Path(source.path)
    if not local.exists():
        raise CliError(f"{source.path} doesn't exist in local filesystem")
    path, chosen = await _target(env, target, container)
    remote = target.path.rstrip("/") or "/"
    # `cp file pod:/dir` puts the file into the directory, as cp does.
    if target.path.endswith("/") or await _is_directory(env, path, chosen, remote):
        remote = posixpath.join(remote, local.resolve().name)
    words = ["tar", "-xmf", "-"] if preserve else ["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"]
    folder = posixpath.dirname(remote)
    if folder:
        words += ["-C", folder]
    errors = bytearray()
    query = {**stream_query(chosen, stdin=True, stdout=True, stderr=True, tty=False), "command": words}
    code = await run(
        env.client,
        path,
        query,
        stdin=_archive(local, posixpath.basename(remote)),
        stdout=errors.extend,
        stderr=errors.extend,
    )
    if code:
        raise CliError(
            f"{errors.decode(errors='replace').strip()}\ncommand terminated with exit code {code}", prefix=""
        )


async def _is_directory(env: Env, path: str, container: str, remote: str) -> bool:
    query = {
        **stream_query(container, stdin=False, stdout=True, stderr=True, tty=False),
        "command": ["test", "-d", remote],
    }
    try:
        return await run(env.client, path, query, stdout=lambda data: None, stderr=lambda data: None) == 0
    except CliError:
        return False


async def _archive(local: Path, name: str) -> AsyncIterator[bytes]:
    """The tar stream of a file or tree, made on another thread through a pipe: nothing is held in memory."""
    read_fd, write_fd = os.pipe()

    def make() -> None:
        with os.fdopen(write_fd, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
            tar.add(local, arcname=name)

    work = asyncio.create_task(asyncio.to_thread(make))
    with os.fdopen(read_fd, "rb") as pipe:
        while chunk := await asyncio.to_thread(pipe.read, CHUNK):
            yield chunk
    await work


async def _download(env: Env, source: Place, target: Place, container: str, *, preserve: bool) -> None:
    path, chosen = await _target(env, source, container)
    with io.BytesIO() as errors, _Spool() as spool:
        query: dict[str, Any] = stream_query(chosen, stdin=False, stdout=True, stderr=True, tty=False)
        query["command"] = ["tar", "cf", "-", source.path]
        code = await run(env.client, path, query, stdout=spool.write, stderr=lambda data: _put(errors, data))
        text = errors.getvalue().decode(errors="replace").strip()
        if code:
            raise CliError(f"{text}\ncommand terminated with exit code {code}", prefix="")
        if text:
            env.err(text)
        spool.extract(source.path, Path(target.path), preserve=preserve)


def _put(buffer: io.BytesIO, data: bytes) -> None:
    buffer.write(data)


class _Spool:
    """The received archive, on disk; extracted only when it is complete, and never outside its destination."""

    def __enter__(self) -> _Spool:
        import tempfile

        self._file = tempfile.TemporaryFile()
        return self

    def __exit__(self, *problem: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def extract(self, remote: str, local: Path, *, preserve: bool) -> None:
        self._file.seek(0)
        prefix = posixpath.normpath(remote).lstrip("/")
        base = posixpath.basename(prefix)
        root = local / base if local.is_dir() else local
        try:
            with tarfile.open(fileobj=self._file) as tar:
                for member in tar:
                    name = posixpath.normpath(member.name)
                    if name != prefix and not name.startswith(f"{prefix}/") and prefix != ".":
                        continue
                    rest = name[len(prefix) :].lstrip("/") if prefix != "." else name
                    if ".." in rest.split("/"):
                        continue
                    self._one(tar, member, root / rest if rest else root, root, preserve=preserve)
        except tarfile.TarError as problem:
            raise CliError(f"the container's answer is not a tar archive: {problem}") from problem

    def _one(self, tar: tarfile.TarFile, member: tarfile.TarInfo, where: Path, root: Path, *, preserve: bool) -> None:
        if member.isdir():
            where.mkdir(parents=True, exist_ok=True)
        elif member.isfile():
            where.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            with where.open("wb") as out:
                while chunk := content.read(CHUNK):
                    out.write(chunk)
            if preserve:
                where.chmod(member.mode & 0o777)
        elif member.issym() or member.islnk():
            # A link could lead later files outside the destination; kubectl leaves them out too.
            print(f'warning: skipping symlink: "{where}" -> "{member.linkname}"')
