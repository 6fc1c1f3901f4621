"""Reads, merges and writes kubeconfig files by clientcmd's rules.

Several files (`$KUBECONFIG`) merge entry by entry: the first file that names an entry wins. Every entry remembers its
file, so that a change goes back there and nothing moves from one file to another.
Paths inside a file are relative to it.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import CliError, Object

SECTIONS = {"clusters": "cluster", "contexts": "context", "users": "user"}
_PATH_FIELDS = {"clusters": ("certificate-authority",), "users": ("client-certificate", "client-key", "tokenFile")}
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass
class RestConfig:
    """All that is needed to reach one API server as one user."""

    server: str
    namespace: str = "default"
    namespace_given: bool = False
    ca_file: str = ""
    ca_data: bytes = b""
    insecure: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    cert_file: str = ""
    cert_data: bytes = b""
    key_file: str = ""
    key_data: bytes = b""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    exec_plugin: Object | None = None
    cluster: Object = field(default_factory=dict)
    impersonate: dict[str, list[str]] = field(default_factory=dict)
    timeout: float | None = None


class Kubeconfig:
    """The merged view. `path_of` tells the file of an entry; `save` writes only the files that changed."""

    def __init__(self, files: list[tuple[Path, Object]], *, explicit: Path | None, environment: list[Path]) -> None:
        self.files = files
        self.explicit = explicit
        self.environment = environment

    @classmethod
    def load(cls, explicit: str = "", *, environ: dict[str, str] | None = None) -> Kubeconfig:
        env = dict(os.environ) if environ is None else environ
        listed = [Path(part) for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]
        if explicit:
            path = Path(explicit)
            if not path.exists():
                raise CliError(f"stat {explicit}: no such file or directory")
            return cls([(path, _read(path))], explicit=path, environment=listed)
        candidates = list(dict.fromkeys(listed)) or [default_path()]
        files = [(path, _read(path)) for path in candidates if path.exists()]
        return cls(files, explicit=None, environment=listed)

    @classmethod
    def load_for_change(cls, explicit: str = "") -> Kubeconfig:
        """As `load`, for commands that write: an explicit file need not exist yet."""
        if explicit and not Path(explicit).exists():
            return cls([], explicit=Path(explicit), environment=[])
        return cls.load(explicit)

    @property
    def default_file(self) -> Path:
        if self.explicit:
            return self.explicit
        if self.environment:
            return next((path for path in self.environment if path.exists()), self.environment[-1])
        return default_path()

    @property
    def current_context(self) -> str:
        return next((doc["current-context"] for _, doc in self.files if doc.get("current-context")), "")

    def entries(self, section: str) -> dict[str, Object]:
        found: dict[str, Object] = {}
        for _, _, entry in self._walk(section):
            found.setdefault(entry["name"], entry.get(SECTIONS[section]) or {})
        return dict(sorted(found.items()))

    def path_of(self, section: str, name: str) -> Path | None:
        return next((path for path, _, entry in self._walk(section) if entry["name"] == name), None)

    def _walk(self, section: str) -> Iterator[tuple[Path, Object, Object]]:
        for path, doc in self.files:
            for entry in doc.get(section) or []:
                if isinstance(entry, dict) and entry.get("name"):
                    yield path, doc, entry

    def merged(self) -> Object:
        """One document, as `config view` shows it, with paths made absolute."""
        out: Object = {"apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": self.current_context}
        for section, inner in SECTIONS.items():
            rows = []
            for name in self.entries(section):
                rows.append({"name": name, inner: self.resolved(section, name)})
            out[section] = rows or None
        for _, doc in reversed(self.files):
            if doc.get("preferences"):
                out["preferences"] = doc["preferences"]
            if doc.get("extensions"):
                out["extensions"] = doc["extensions"]
        return out

    def resolved(self, section: str, name: str) -> Object:
        """An entry with its file paths made absolute."""
        entry = dict(self.entries(section).get(name) or {})
        base = self.path_of(section, name)
        if base is None:
            return entry
        for key in _PATH_FIELDS.get(section, ()):
            if entry.get(key):
                entry[key] = _absolute(base, entry[key])
        plugin = entry.get("exec")
        if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
            entry["exec"] = {**plugin, "command": _absolute(base, plugin["command"])}
        return entry

    def set_entry(self, section: str, name: str, value: Object) -> None:
        inner = SECTIONS[section]
        for _, _, entry in self._walk(section):
            if entry["name"] == name:
                entry[inner] = value
                return
        doc = self._document(self.default_file)
        doc[section] = [*(doc.get(section) or []), {"name": name, inner: value}]

    def delete_entry(self, section: str, name: str) -> Path | None:
        where: Path | None = None
        for path, doc in self.files:
            rows = doc.get(section) or []
            kept = [entry for entry in rows if entry.get("name") != name]
            if len(kept) != len(rows):
                doc[section] = kept
                where = where or path
        return where

    def set_current_context(self, name: str) -> None:
        for _, doc in self.files:
            if doc.get("current-context"):
                doc["current-context"] = name
                return
        self._document(self.default_file)["current-context"] = name

    def _document(self, path: Path) -> Object:
        for known, doc in self.files:
            if known == path:
                return doc
        made: Object = {"apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": ""}
        self.files.append((path, made))
        return made

    def save(self) -> None:
        for path, doc in self.files:
            before = _read(path) if path.exists() else None
            if before != doc:
                _write(path, doc)

    def rest_config(self, flags: Object) -> RestConfig:
        """Resolves the chosen context, the overriding flags, and, with no configuration at all, the pod we run in."""
        context_name = flags.get("context") or self.current_context
        contexts = self.entries("contexts")
        if context_name and context_name not in contexts:
            if flags.get("context"):
                raise CliError(f'context "{context_name}" does not exist')
            raise CliError(f'current-context "{context_name}" does not exist: choose one with "config use-context"')
        context = contexts.get(context_name, {})
        cluster_name = flags.get("cluster") or context.get("cluster") or ""
        user_name = flags.get("user") or context.get("user") or ""
        if cluster_name and cluster_name not in self.entries("clusters"):
            raise CliError(f'cluster "{cluster_name}" does not exist')
        if user_name and user_name not in self.entries("users"):
            raise CliError(f'auth info "{user_name}" does not exist')
        cluster = self.resolved("clusters", cluster_name) if cluster_name else {}
        user = self.resolved("users", user_name) if user_name else {}
        if not cluster and not flags.get("server"):
            inside = in_cluster()
            if inside is not None and not self.files:
                return _override(inside, flags)
        config = RestConfig(
            server=cluster.get("server") or "http://localhost:8080",
            namespace=context.get("namespace") or "default",
            ca_file=cluster.get("certificate-authority") or "",
            ca_data=_data(cluster, "certificate-authority-data"),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            tls_server_name=cluster.get("tls-server-name") or "",
            proxy_url=cluster.get("proxy-url") or "",
            cert_file=user.get("client-certificate") or "",
            cert_data=_data(user, "client-certificate-data"),
            key_file=user.get("client-key") or "",
            key_data=_data(user, "client-key-data"),
            token=user.get("token") or "",
            token_file=user.get("tokenFile") or "",
            username=user.get("username") or "",
            password=user.get("password") or "",
            exec_plugin=user.get("exec"),
            cluster=cluster,
        )
        provider = user.get("auth-provider") or {}
        if not config.token and isinstance(provider, dict):
            settings = provider.get("config") or {}
            config.token = settings.get("id-token") or settings.get("access-token") or ""
        if user.get("as"):
            config.impersonate["Impersonate-User"] = [user["as"]]
            if user.get("as-groups"):
                config.impersonate["Impersonate-Group"] = list(user["as-groups"])
            if user.get("as-uid"):
                config.impersonate["Impersonate-Uid"] = [user["as-uid"]]
        return _override(config, flags)


def in_cluster() -> RestConfig | None:
    """The configuration of a process in a pod, or None elsewhere."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token = SERVICE_ACCOUNT / "token"
    if not host or not port or not token.exists():
        return None
    shown = f"[{host}]" if ":" in host else host
    namespace = SERVICE_ACCOUNT / "namespace"
    return RestConfig(
        server=f"https://{shown}:{port}",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        ca_file=str(SERVICE_ACCOUNT / "ca.crt"),
        token_file=str(token),
    )


def _override(config: RestConfig, flags: Object) -> RestConfig:
    from cli.human import parse_duration

    if flags.get("server"):
        server = str(flags["server"])
        config.server = server if "://" in server else f"http://{server}"
    if flags.get("certificate_authority"):
        config.ca_file, config.ca_data = flags["certificate_authority"], b""
    if flags.get("insecure_skip_tls_verify"):
        config.insecure, config.ca_file, config.ca_data = True, "", b""
    if flags.get("tls_server_name"):
        config.tls_server_name = flags["tls_server_name"]
    if flags.get("client_certificate"):
        config.cert_file, config.cert_data = flags["client_certificate"], b""
    if flags.get("client_key"):
        config.key_file, config.key_data = flags["client_key"], b""
    if flags.get("token"):
        config.token, config.token_file, config.exec_plugin = flags["token"], "", None
        config.username = config.password = ""
    for name in ("username", "password"):
        if flags.get(name):
            setattr(config, name, flags[name])
    if flags.get("as_user"):
        config.impersonate["Impersonate-User"] = [flags["as_user"]]
    if flags.get("as_group"):
        config.impersonate["Impersonate-Group"] = list(flags["as_group"])
    if flags.get("as_uid"):
        config.impersonate["Impersonate-Uid"] = [flags["as_uid"]]
    if "Impersonate-User" not in config.impersonate and config.impersonate:
        raise CliError("requesting groups or user-extra for  without impersonating a user")
    if flags.get("namespace"):
        config.namespace, config.namespace_given = flags["namespace"], True
    limit = str(flags.get("request_timeout") or "0")
    if limit != "0":
        try:
            config.timeout = float(limit) if limit.isdigit() else parse_duration(limit)
        except CliError as problem:
            raise CliError(
                "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a "
                "corresponding time unit (e.g. 1s | 2m | 3h)"
            ) from problem
    config.server = config.server.rstrip("/")
    return config


def default_path() -> Path:
    return Path(os.environ.get("HOME") or Path.home()) / ".kube" / "config"


def _data(entry: Object, key: str) -> bytes:
    value = entry.get(key)
    if not value:
        return b""
    try:
        return base64.b64decode(value, validate=False)
    except ValueError as problem:
        raise CliError(f"illegal base64 data in {key}") from problem


def _absolute(base: Path, path: str) -> str:
    return path if Path(path).is_absolute() else str(base.absolute().parent / path)


def _read(path: Path) -> Object:
    import yaml

    try:
        doc: Any = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as problem:
        raise CliError(f'error loading config file "{path}": {_first_line(problem)}') from problem
    except PermissionError as problem:
        raise CliError(f'error loading config file "{path}": open {path}: permission denied') from problem
    if doc is None:
        return {}
    if not isinstance(doc, dict):
        raise CliError(f'error loading config file "{path}": it is not a kubeconfig')
    return doc


def _first_line(problem: Exception) -> str:
    mark = getattr(problem, "problem_mark", None)
    where = f"yaml: line {mark.line + 1}: " if mark is not None else ""
    return where + str(getattr(problem, "problem", None) or str(problem).splitlines()[0])


def _write(path: Path, doc: Object) -> None:
    """Replaces the file in one step; a new one is readable by its owner alone, for it may hold keys."""
    from cli.printers.yaml import to_yaml

    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    ordered = dict(doc)
    ordered.setdefault("apiVersion", "v1")
    ordered.setdefault("kind", "Config")
    for section in SECTIONS:
        if section in ordered:
            ordered[section] = sorted(ordered[section] or [], key=lambda entry: str(entry.get("name"))) or None
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w") as out:
            out.write(to_yaml(ordered))
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink()
        raise
