"""`create configmap | secret generic, tls, docker-registry`."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import click

from cli.env import Env
from cli.errors import CliError, Object
from cli.framework import command as declare
from cli.framework import flag, group, option
from cli.generators import finish, generator_options, one_name, prune, split_list
from cli.printers.json import compact

_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def add_to(parent: click.Group) -> None:
    parent.add_command(configmap)
    parent.add_command(secret)


def source_options(function: Any) -> Any:
    for decorate in (
        option("--from-literal", multiple=True, help="A key and literal value to insert (i.e. mykey=somevalue)."),
        option(
            "--from-file", multiple=True, help="A file ([key=]path), or a directory of files with valid keys as names."
        ),
        option("--from-env-file", multiple=True, help="A file of key=val pairs (i.e. a Docker .env file)."),
        flag("--append-hash", help="Append a hash of the content to its name."),
    ):
        function = decorate(function)
    return function


def collect(params: dict[str, Any], what: str, name: str) -> dict[str, bytes]:
    """The content of the --from flags by key."""
    if params["from_env_file"] and (params["from_file"] or params["from_literal"]):
        raise CliError("from-env-file cannot be combined with from-file or from-literal")
    out: dict[str, bytes] = {}

    def put(key: str, value: bytes) -> None:
        if not _KEY.fullmatch(key) or key in (".", "..") or key.startswith(".."):
            raise CliError(
                f'"{key}" is not valid key name for a {what}: a valid config key must consist of alphanumeric '
                "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for "
                "validation is '[-._a-zA-Z0-9]+')"
            )
        if key in out:
            raise CliError(
                f'cannot add key "{key}", another key by that name already exists in Data for {what} "{name}"'
            )
        out[key] = value

    for literal in params["from_literal"]:
        key, equals, value = literal.partition("=")
        if not equals or not key:
            raise CliError(f"invalid literal source {literal}, expected key=value")
        put(
            key,
            value.strip("'\"").encode()
            if value[:1] == value[-1:] and value[:1] in "'\"" and len(value) > 1
            else value.encode(),
        )
    for source in params["from_file"]:
        key, equals, path = source.partition("=")
        if not equals:
            key, path = "", source
        elif not key:
            raise CliError(f"key name for file path {path} missing")
        elif not path:
            raise CliError(f"file path for key name {key} missing")
        for name, content in _files(path, key):
            put(name, content)
    for path in params["from_env_file"]:
        for key, text in _env_file(path):
            put(key, text.encode())
    return out


def _files(path: str, key: str) -> list[tuple[str, bytes]]:
    where = Path(path)
    if not where.exists():
        raise CliError(f"error reading {path}: no such file or directory")
    if where.is_dir():
        if key:
            raise CliError("cannot give a key name for a directory path")
        return [(one.name, one.read_bytes()) for one in sorted(where.iterdir()) if one.is_file()]
    return [(key or where.name, where.read_bytes())]


def _env_file(path: str) -> list[tuple[str, str]]:
    import os

    try:
        lines = Path(path).read_text().splitlines()
    except OSError as problem:
        raise CliError(f"error reading {path}: {(problem.strerror or '').lower()}") from problem
    out = []
    for number, line in enumerate(lines, 1):
        text = line.lstrip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", key):
            raise CliError(f'"{key}" is not a valid key name: line {number} of {path}')
        out.append((key, value if equals else os.environ.get(key, "")))
    return out


@declare(
    "configmap",
    usage="NAME [--from-file=[key=]source] [--from-literal=key1=value1]",
    help="Create a config map based on a file, directory, or specified literal value.",
    examples="""
    # Create a config map with a key for each file in folder bar
    kubectl create configmap my-config --from-file=path/to/bar

    # Create a config map with two keys
    kubectl create configmap my-config --from-literal=key1=config1 --from-literal=key2=config2
    """,
)
@generator_options
@source_options
async def configmap(env: Env, args: tuple[str, ...], **params: Any) -> None:
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    name = one_name(args, "configmap")
    for key, value in collect(params, "ConfigMap", name).items():
        try:
            data[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(value).decode()
    content = {**({"data": data} if data else {}), **({"binaryData": binary} if binary else {})}
    obj: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **content}
    if params["append_hash"]:
        hashed = {"kind": "ConfigMap", "name": name, "data": data or "", **({"binaryData": binary} if binary else {})}
        obj["metadata"]["name"] = f"{name}-{_hash(hashed)}"
    await finish(env, obj, params)


def _hash(content: Object) -> str:
    """kubectl's content hash: ten digits of SHA-256 with the ambiguous ones replaced."""
    digest = hashlib.sha256(compact(content).encode()).hexdigest()[:10]
    return digest.translate(str.maketrans("013ae", "ghkmt"))


secret = group("secret", help="Create a secret using a specified subcommand.")


@declare(
    "generic",
    usage="NAME [--type=string] [--from-file=[key=]source] [--from-literal=key1=value1]",
    help="Create a secret based on a file, directory, or specified literal value.",
    group=secret,
)
@generator_options
@source_options
@option("--type", "kind", help="The type of secret to create.")
async def generic(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "secret")
    data = {key: base64.b64encode(value).decode() for key, value in collect(params, "Secret", name).items()}
    await _secret(env, name, data, params["kind"], params)


async def _secret(env: Env, name: str, data: dict[str, str], kind: str, params: dict[str, Any]) -> None:
    if params["append_hash"]:
        name = f"{name}-{_hash({'kind': 'Secret', 'type': kind, 'name': name, 'data': data or ''})}"
    obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        **prune({"data": data or None, "type": kind}),
    }
    await finish(env, obj, params)


@declare("tls", usage="NAME --cert=path/to/cert/file --key=path/to/key/file", help="Create a TLS secret.", group=secret)
@generator_options
@flag("--append-hash", help="Append a hash of the secret to its name.")
@option("--cert", help="Path to PEM encoded public key certificate.")
@option("--key", help="Path to private key associated with given certificate.")
async def tls(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not params["cert"] or not params["key"]:
        raise CliError("key and cert must be specified")
    import ssl

    pair: list[bytes] = []
    for path in (params["cert"], params["key"]):
        try:
            pair.append(Path(path).read_bytes())
        except OSError as problem:
            raise CliError(f"Cannot read file {path}, open {path}: {(problem.strerror or '').lower()}") from problem
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(params["cert"], params["key"])
    except ssl.SSLError as problem:
        words = (
            "tls: private key does not match public key"
            if "MISMATCH" in str(problem).upper()
            else ("tls: failed to find any PEM data in certificate input")
        )
        raise CliError(words) from problem
    data = {"tls.crt": base64.b64encode(pair[0]).decode(), "tls.key": base64.b64encode(pair[1]).decode()}
    await _secret(env, one_name(args, "secret"), data, "kubernetes.io/tls", params)


@declare(
    "docker-registry",
    usage="NAME --docker-username=user --docker-password=password [--docker-server=string]",
    help="Create a new secret for use with Docker registries.",
    group=secret,
)
@generator_options
@flag("--append-hash", help="Append a hash of the secret to its name.")
@option("--docker-email", help="Email for Docker registry.")
@option("--docker-password", help="Password for Docker registry authentication.")
@option("--docker-server", default="https://index.docker.io/v1/", help="Server location for Docker registry.")
@option("--docker-username", help="Username for Docker registry authentication.")
@option("--from-file", multiple=True, help="A docker config file to use, as [.dockerconfigjson=]path.")
async def docker_registry(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = one_name(args, "secret")
    if params["from_file"]:
        content = Path(split_list(params["from_file"])[0].rpartition("=")[2]).read_bytes()
    else:
        if not (params["docker_username"] and params["docker_password"] and params["docker_server"]):
            raise CliError(
                "either --from-file or the combination of --docker-username, --docker-password and --docker-server is "
                "required"
            )
        user, password = params["docker_username"], params["docker_password"]
        entry = prune({"username": user, "password": password, "email": params["docker_email"]})
        entry["auth"] = base64.b64encode(f"{user}:{password}".encode()).decode()
        import json

        content = json.dumps({"auths": {params["docker_server"]: entry}}, separators=(",", ":")).encode()
    data = {".dockerconfigjson": base64.b64encode(content).decode()}
    await _secret(env, name, data, "kubernetes.io/dockerconfigjson", params)
