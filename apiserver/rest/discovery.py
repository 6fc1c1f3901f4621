"""Which groups, versions and resources there are: the old documents and the aggregated one (KEP-3352)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from api import codec
from api.resources import RESOURCES, Resource, Subresource
from apiserver.aggregation.aggregator import Aggregator
from apiserver.registry import Registry
from apiserver.rest.answers import answer, encoded
from apiserver.rest.negotiate import Media, negotiate
from apiserver.rest.negotiate import discovery as wanted_discovery

# Upstream's order of groups (by priority), which kubectl keeps when it looks for a kind.
_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)


_VERSION = re.compile(r"^v[1-9]\d*((alpha|beta)[1-9]\d*)?$")


class Discovery:
    """Documents are made when asked for and remembered until `changed`."""

    def __init__(self, registry: Registry, aggregator: Aggregator | None = None) -> None:
        self._registry = registry
        self._aggregator = aggregator
        self._documents: dict[str, bytes] = {}

    def changed(self) -> None:
        """A resource came or went."""
        self._documents.clear()

    def resources(self) -> list[Resource]:
        """All served resources, stored or not."""
        served = {(r.group, r.version, r.plural): r for r in RESOURCES if not self._is_stored(r)}
        for endpoint in self._registry.endpoints:
            resource = endpoint.resource
            served[resource.group, resource.version, resource.plural] = resource
        return list(served.values())

    @staticmethod
    def _is_stored(resource: Resource) -> bool:
        return "list" in resource.verbs and resource.plural != "componentstatuses"

    def groups(self, *, local: bool = False) -> dict[str, dict[str, list[Resource]]]:
        """group -> version (preferred first) -> resources by name; `local` leaves out what other servers serve."""
        found: dict[str, dict[str, list[Resource]]] = {}
        for resource in self.resources():
            found.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
        if self._aggregator is not None and not local:
            for (group, version), listed in self._aggregator.resources().items():
                found.setdefault(group, {})[version] = _remote(group, version, listed)
        ordered = sorted(found, key=lambda group: (_ORDER.index(group) if group in _ORDER else len(_ORDER), group))
        return {
            group: {
                version: sorted(found[group][version], key=lambda r: r.plural)
                for version in sorted(sorted(found[group]), key=_preference)
            }
            for group in ordered
        }

    def respond(self, request: web.BaseRequest) -> web.Response | None:
        """The document at this path, or None if there is none."""
        path = request.path.rstrip("/")
        accept = request.headers.get("Accept", "")
        if path in ("/api", "/apis") and (media := wanted_discovery(accept)) is not None:
            return self._aggregated(request, path, media)
        document = self._document(path, request)
        return None if document is None else answer(document, 200, negotiate(accept))

    def _aggregated(self, request: web.BaseRequest, path: str, media: Media) -> web.Response:
        version = media.version
        key = f"{path} {version} {media.type}"
        document = self._documents.get(key)
        if document is None:
            document = self._documents[key] = encoded(codec.encode(self._aggregate(path, version)), media)
        etag = '"' + hashlib.sha256(document).hexdigest()[:32].upper() + '"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag, "Vary": "Accept"})
        kind = f"{media.type};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        headers = {"Content-Type": kind, "ETag": etag, "Vary": "Accept"}
        return web.Response(body=document, headers=headers)

    def _aggregate(self, path: str, version: str) -> dict[str, Any]:
        items = [
            {
                "metadata": {"name": group} if group else {"name": "", "creationTimestamp": None},
                "versions": [
                    {
                        "version": name,
                        "resources": [_discovered(resource) for resource in resources],
                        "freshness": "Current",
                    }
                    for name, resources in versions.items()
                ],
            }
            for group, versions in self.groups().items()
            if bool(group) == (path == "/apis")
        ]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }

    def _document(self, path: str, request: web.BaseRequest) -> bytes | None:
        groups = self.groups()
        if path == "/api":
            return codec.encode(
                {
                    "kind": "APIVersions",
                    "versions": list(groups.get("", {})),
                    "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": request.host}],
                }
            )
        if path == "/apis":
            listed = [_group(name, versions) for name, versions in groups.items() if name]
            return codec.encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
        parts = path.split("/")[1:]
        if parts[0] == "api" and len(parts) == 2:
            return _resource_list("v1", groups.get("", {}).get(parts[1]))
        if parts[0] == "apis" and len(parts) == 2 and parts[1] in groups:
            return codec.encode({"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], groups[parts[1]])})
        if parts[0] == "apis" and len(parts) == 3:
            return _resource_list(f"{parts[1]}/{parts[2]}", groups.get(parts[1], {}).get(parts[2]))
        return None


def _remote(group: str, version: str, listed: list[dict[str, Any]]) -> list[Resource]:
    """The resources of another server, by its APIResourceList."""
    parts: dict[str, list[Subresource]] = {}
    for entry in listed:
        name, _, sub = str(entry.get("name", "")).partition("/")
        if sub:
            of = entry.get("group") or group, entry.get("version") or version
            made = Subresource(sub, *of, str(entry.get("kind", "")), tuple(entry.get("verbs") or ()))
            parts.setdefault(name, []).append(made)
    return [
        Resource(
            group=group,
            version=version,
            kind=str(entry.get("kind", "")),
            plural=str(entry["name"]),
            singular=str(entry.get("singularName", "")),
            short_names=tuple(entry.get("shortNames") or ()),
            namespaced=bool(entry.get("namespaced")),
            verbs=tuple(entry.get("verbs") or ()),
            subresource_table=tuple(parts.get(str(entry["name"]), ())),
            categories=tuple(entry.get("categories") or ()),
        )
        for entry in listed
        if "/" not in str(entry.get("name", "/"))
    ]


def _preference(version: str) -> tuple[int, int, int]:
    """Kubernetes' version order: stable before beta before alpha, newer first."""
    text = version.removeprefix("v")
    if not _VERSION.match(version):
        return 3, 0, 0
    for rank, stage in ((1, "beta"), (2, "alpha")):
        major, found, minor = text.partition(stage)
        if found:
            return rank, -int(major or 0), -int(minor or 0)
    return 0, -int(text) if text.isdigit() else 0, 0


def _group(name: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(group_version: str, resources: list[Resource] | None) -> bytes | None:
    if resources is None:
        return None
    listed: list[dict[str, Any]] = []
    for resource in resources:
        entry: dict[str, Any] = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": sorted(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        if "watch" in resource.verbs:
            entry["storageVersionHash"] = _storage_hash(resource)
        listed.append(entry)
        for sub in resource.subresource_table:
            line: dict[str, Any] = {
                "name": f"{resource.plural}/{sub.name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": sub.kind,
                "verbs": sorted(sub.verbs),
            }
            if (sub.group, sub.version) != (resource.group, resource.version):
                line |= {"group": sub.group, "version": sub.version}
            listed.append(line)
    return codec.encode(
        {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}
    )


def _storage_hash(resource: Resource) -> str:
    import base64

    digest = hashlib.sha256(f"{resource.group}/{resource.version}/{resource.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _discovered(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": sorted(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresource_table:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sorted(sub.verbs),
            }
            for sub in resource.subresource_table
        ]
    return entry
