"""Which resources the server has, and how a word a user typed becomes one of them.

The answer is kept on disk in kubectl's own layout (`~/.kube/cache/discovery/<host>/...`, 6 hours), so the two share it.
A name that is not found is looked up once more at the server, because a CRD may have been added since.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import ApiError, CliError, Object
from cli.rest import Client

CACHE_SECONDS = 6 * 3600
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@dataclass(frozen=True)
class Mapping:
    """One resource of the server in one version."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def display(self) -> str:
        """The type in `type/name` as kubectl prints it: `deployment.apps`, `pod`."""
        word = self.singular or self.kind.lower()
        return f"{word}.{self.group}" if self.group else word

    @property
    def root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        from urllib.parse import quote

        parts = [self.root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


@dataclass(frozen=True)
class Group:
    name: str
    versions: tuple[str, ...]
    preferred: str


class Discovery:
    """Lazy view of the server's resources. All methods may talk to the server."""

    def __init__(self, client: Client, directory: Path | None) -> None:
        self.client = client
        self.directory = directory
        self._groups: list[Group] | None = None
        self._resources: list[Mapping] | None = None
        self._fresh = False

    async def groups(self) -> list[Group]:
        await self._ensure()
        assert self._groups is not None
        return self._groups

    async def resources(self) -> list[Mapping]:
        """Every resource in every version; preferred versions first within a group, groups in the server's order."""
        await self._ensure()
        assert self._resources is not None
        return self._resources

    async def preferred(self) -> list[Mapping]:
        """Each resource once, in its group's preferred version."""
        seen: set[tuple[str, str]] = set()
        out: list[Mapping] = []
        for one in await self.resources():
            key = (one.group, one.plural)
            if key not in seen:
                seen.add(key)
                out.append(one)
        return out

    async def find(self, word: str) -> Mapping:
        """Resolves `po`, `Pod`, `deployments.apps`, `deployments.v1.apps`, `deploy`."""
        found = match_resource(word, await self.resources())
        if found is None and not self._fresh:
            await self.refresh()
            found = match_resource(word, await self.resources())
        if found is None:
            raise CliError(f'the server doesn\'t have a resource type "{word.partition(".")[0]}"')
        return found

    async def find_kind(self, api_version: str, kind: str) -> Mapping | None:
        """The resource of an object's `apiVersion` and `kind`, or None."""

        def search(resources: list[Mapping]) -> Mapping | None:
            return next((m for m in resources if m.kind == kind and m.api_version == api_version), None)

        found = search(await self.resources())
        if found is None and not self._fresh:
            await self.refresh()
            found = search(await self.resources())
        return found

    async def category(self, word: str) -> list[Mapping]:
        return [m for m in await self.preferred() if word in m.categories and "list" in m.verbs]

    async def refresh(self) -> None:
        self._groups, self._resources = await self._download()
        self._fresh = True
        self._store()

    async def _ensure(self) -> None:
        if self._resources is not None:
            return
        if self._load():
            return
        await self.refresh()

    async def _download(self) -> tuple[list[Group], list[Mapping]]:
        core, rest = await asyncio.gather(
            self.client.get("/api", accept=AGGREGATED), self.client.get("/apis", accept=AGGREGATED)
        )
        groups: list[Group] = []
        resources: list[Mapping] = []
        if core.get("kind") == "APIGroupDiscoveryList":
            _read_aggregated(core, groups, resources)
        else:
            versions = tuple(core.get("versions") or ["v1"])
            groups.append(Group("", versions, versions[0]))
            resources.extend(await self._legacy(groups[-1:]))
        if rest.get("kind") == "APIGroupDiscoveryList":
            _read_aggregated(rest, groups, resources)
        else:
            more = [_legacy_group(item) for item in rest.get("groups") or []]
            groups.extend(more)
            resources.extend(await self._legacy(more))
        return groups, resources

    async def _legacy(self, groups: list[Group]) -> list[Mapping]:
        """Discovery of servers before 1.26: one request per group version; one that fails is left out."""

        async def one(group: Group, version: str) -> list[Mapping]:
            root = f"/apis/{group.name}/{version}" if group.name else f"/api/{version}"
            try:
                return _read_list(await self.client.get(root), group.name, version)
            except ApiError:
                return []

        wanted = [(group, version) for group in groups for version in group.versions]
        answers = await asyncio.gather(*(one(group, version) for group, version in wanted))
        return [mapping for answer in answers for mapping in answer]

    def _load(self) -> bool:
        if self.directory is None:
            return False
        index = self.directory / "servergroups.json"
        try:
            if time.time() - index.stat().st_mtime > CACHE_SECONDS:
                return False
            listed = json.loads(index.read_bytes()).get("groups") or []
            groups = [_legacy_group(item) for item in listed]
            resources: list[Mapping] = []
            for group in groups:
                for version in group.versions:
                    path = self._file(group.name, version)
                    if not path.exists():
                        return False
                    resources.extend(_read_list(json.loads(path.read_bytes()), group.name, version))
        except (OSError, ValueError, KeyError, AttributeError):
            return False
        self._groups, self._resources = groups, resources
        return bool(resources)

    def _file(self, group: str, version: str) -> Path:
        assert self.directory is not None
        return self.directory / group / version / "serverresources.json"

    def _store(self) -> None:
        """Writes the cache; a read-only home only costs speed."""
        if self.directory is None or self._groups is None or self._resources is None:
            return
        try:
            for group in self._groups:
                for version in group.versions:
                    rows = [m for m in self._resources if (m.group, m.version) == (group.name, version)]
                    _write(self._file(group.name, version), _as_list(rows, group.name, version))
            _write(self.directory / "servergroups.json", _as_groups(self._groups))
        except OSError:
            return


def match_resource(word: str, resources: list[Mapping]) -> Mapping | None:
    """The best resource for a word: exact resource names first, then short names, then kinds; in discovery order."""
    text = word.lower()
    name, _, rest = text.partition(".")
    candidates = resources
    if rest:
        version, _, group = rest.partition(".")
        exact = [m for m in resources if m.version == version and m.group == group]
        candidates = exact if exact and re.fullmatch(r"v\d+((alpha|beta)\d+)?", version) else []
        if not candidates:
            candidates = [m for m in resources if m.group == rest]
        if not candidates:
            candidates = [m for m in resources if m.group.startswith(rest)]
    for test in (
        lambda m: name == m.plural,
        lambda m: name == (m.singular or m.kind.lower()),
        lambda m: name in m.short_names,
        lambda m: name == m.kind.lower(),
    ):
        found = next((m for m in candidates if test(m)), None)
        if found is not None:
            return found
    return None


def cache_directory(chosen: str, server: str) -> Path:
    base = Path(chosen) if chosen else Path(os.environ.get("HOME") or Path.home()) / ".kube" / "cache"
    host = re.sub(r"^https?://", "", server, count=1)
    return base / "discovery" / re.sub(r"[^\w/.]", "_", host)


def _legacy_group(item: Object) -> Group:
    versions = tuple(entry["version"] for entry in item.get("versions") or [])
    preferred = (item.get("preferredVersion") or {}).get("version") or (versions[0] if versions else "")
    ordered = tuple(sorted(versions, key=lambda version: version != preferred))
    return Group(item.get("name") or "", ordered, preferred)


def _read_aggregated(document: Object, groups: list[Group], resources: list[Mapping]) -> None:
    for item in document.get("items") or []:
        name = (item.get("metadata") or {}).get("name") or ""
        versions = [entry for entry in item.get("versions") or [] if entry.get("freshness") != "Stale"]
        names = tuple(entry["version"] for entry in versions)
        if not names:
            continue
        groups.append(Group(name, names, names[0]))
        for entry in versions:
            for resource in entry.get("resources") or []:
                if not resource.get("verbs"):
                    continue
                resources.append(
                    Mapping(
                        group=name,
                        version=entry["version"],
                        plural=resource["resource"],
                        kind=(resource.get("responseKind") or {}).get("kind") or "",
                        namespaced=resource.get("scope") == "Namespaced",
                        singular=resource.get("singularResource") or "",
                        short_names=tuple(resource.get("shortNames") or ()),
                        verbs=tuple(resource.get("verbs") or ()),
                        categories=tuple(resource.get("categories") or ()),
                        subresources=tuple(sub["subresource"] for sub in resource.get("subresources") or ()),
                    )
                )


def _read_list(document: Object, group: str, version: str) -> list[Mapping]:
    rows = document.get("resources") or []
    under: dict[str, list[str]] = {}
    for row in rows:
        parent, _, sub = row["name"].partition("/")
        if sub:
            under.setdefault(parent, []).append(sub)
    return [
        Mapping(
            group=group,
            version=version,
            plural=row["name"],
            kind=row["kind"],
            namespaced=bool(row.get("namespaced")),
            singular=row.get("singularName") or "",
            short_names=tuple(row.get("shortNames") or ()),
            verbs=tuple(row.get("verbs") or ()),
            categories=tuple(row.get("categories") or ()),
            subresources=tuple(under.get(row["name"], ())),
        )
        for row in rows
        if "/" not in row["name"]
    ]


def _as_groups(groups: list[Group]) -> Object:
    def versioned(group: Group, version: str) -> Object:
        return {"groupVersion": f"{group.name}/{version}" if group.name else version, "version": version}

    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": group.name,
                "versions": [versioned(group, version) for version in group.versions],
                "preferredVersion": versioned(group, group.preferred),
            }
            for group in groups
        ],
    }


def _as_list(rows: list[Mapping], group: str, version: str) -> Object:
    out: list[Object] = []
    for one in rows:
        entry: Object = {
            "name": one.plural,
            "singularName": one.singular,
            "namespaced": one.namespaced,
            "group": group,
            "version": version,
            "kind": one.kind,
            "verbs": list(one.verbs),
        }
        if one.short_names:
            entry["shortNames"] = list(one.short_names)
        if one.categories:
            entry["categories"] = list(one.categories)
        out.append(entry)
        for sub in one.subresources:
            name = f"{one.plural}/{sub}"
            out.append({"name": name, "singularName": "", "namespaced": one.namespaced, "kind": one.kind, "verbs": []})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": out,
    }


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as out:
        json.dump(document, out)
    Path(name).replace(path)
