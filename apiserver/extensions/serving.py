"""From a definition to served resources: an endpoint for each served version, all on one cache.

What is served follows the definition at once: a changed schema is in force for the next request, what is cached is
seen through the new defaults, and open watches go on. Only another storage version or scope of versions ends them, so
that clients come back to what is served now.
"""

from __future__ import annotations

from typing import Any

from api import codec
from api.resource import Resource, Subresource
from api.types.apiextensions_v1 import CustomResourceDefinition, CustomResourceDefinitionVersion
from api.unstructured import Unstructured, made
from apiserver.conversion import Conversion
from apiserver.endpoint import Endpoint
from apiserver.extensions import scale
from apiserver.extensions.conversion import Converter, Renamer, WebhookConverter
from apiserver.extensions.schema import Schema, Shape
from apiserver.extensions.strategy import CustomStrategy
from apiserver.outbound import Caller
from apiserver.registry import Registry

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_PART = ("get", "patch", "update")


class Served:
    """One definition as it is served now."""

    def __init__(self, definition: CustomResourceDefinition, registry: Registry, caller: Caller) -> None:
        self.uid = definition.metadata.uid
        self.fingerprint = fingerprint(definition)
        self.storage = next(version.name for version in definition.spec.versions if version.storage)
        self._definition = definition
        self._registry = registry
        spec = definition.spec
        schemas = {version.name: _schema(version) for version in spec.versions}
        preserve = bool(spec.preserve_unknown_fields)
        self.types: dict[str, type[Unstructured]] = {
            name: made(f"{spec.group}/{name}", spec.names.kind, Shape(schema, preserve=preserve), schema.raw)
            for name, schema in schemas.items()
        }
        webhook = spec.conversion.webhook if spec.conversion is not None else None
        self.converter: Converter = Renamer()
        kept = self.types[self.storage]
        if webhook is not None and spec.conversion is not None and spec.conversion.strategy == "Webhook":
            self.converter = WebhookConverter(webhook, spec.names.kind, caller)
            kept = made("", spec.names.kind, None)  # whatever version it was stored in
        self.kept = kept
        paths = tuple(
            dict.fromkeys(field.json_path for version in spec.versions for field in version.selectable_fields or ())
        )
        self._strategies = {
            version.name: CustomStrategy(
                self._resource(version),
                version,
                schemas[version.name if kept is self.types[self.storage] else self.storage],
                paths,
            )
            for version in spec.versions
        }

    def _resource(self, version: CustomResourceDefinitionVersion) -> Resource:
        spec = self._definition.spec
        names = self._definition.status.accepted_names
        parts = []
        subresources = version.subresources
        if subresources is not None and subresources.status is not None:
            parts.append(Subresource("status", spec.group, version.name, spec.names.kind, _PART))
        if subresources is not None and subresources.scale is not None:
            parts.append(Subresource("scale", "autoscaling", "v1", "Scale", _PART))
        return Resource(
            group=spec.group,
            version=version.name,
            kind=spec.names.kind,
            plural=spec.names.plural,
            singular=names.singular or spec.names.singular or spec.names.kind.lower(),
            short_names=tuple(names.short_names or ()),
            namespaced=spec.scope == "Namespaced",
            verbs=VERBS,
            subresource_table=tuple(parts),
            categories=tuple(names.categories or ()),
            list_kind=spec.names.list_kind or spec.names.kind + "List",
            type_ref=self.types[version.name],
        )

    def endpoints(self, before: list[Endpoint]) -> list[Endpoint]:
        """Endpoints of the served versions; the cache is taken over from those of `before`, if there are any."""
        registry, stored_strategy = self._registry, self._strategies[self.storage]
        stored = stored_strategy.resource
        terminating = bool(self._definition.metadata.deletion_timestamp)
        cache = before[0].cache if before else None
        found = []
        for version in self._definition.spec.versions:
            strategy = self._strategies[version.name]
            strategy.terminating = terminating
            conversion = self._conversion(strategy.resource, stored)
            endpoint = Endpoint(
                strategy.resource,
                strategy,
                registry.store,
                registry.feed,
                conversion=conversion,
                cache=cache,
                kept=self.kept,
            )
            if cache is None:
                cache = endpoint.cache
            if isinstance(self.converter, WebhookConverter):
                endpoint.upgrade = self._upgrade
                endpoint.ask = self.converter.prepare
            found.append(endpoint)
        kept = next(e for e in found if e.resource.version == self.storage)
        assert cache is not None
        cache.renew(self.kept, kept.describe)
        if before and before[0].stored.version != self.storage:
            cache.end_watches()
        return [e for e, v in zip(found, self._definition.spec.versions, strict=True) if v.served]

    def _conversion(self, served: Resource, stored: Resource) -> Conversion | None:
        if served.version == stored.version and self.kept is self.types[self.storage]:
            return None
        source, target = self.types[self.storage], self.types[served.version]
        convert = self.converter.convert
        return Conversion(served, stored, lambda obj: convert(obj, source), lambda obj: convert(obj, target))

    def _upgrade(self, obj: Any) -> Any:
        return self.converter.convert(obj, self.types[self.storage])


def fingerprint(definition: CustomResourceDefinition) -> bytes:
    """What has to change for anything to be served differently."""
    return codec.encode(
        [
            definition.spec,
            definition.status.accepted_names,
            bool(definition.metadata.deletion_timestamp),
            definition.metadata.uid,
        ]
    )


def _schema(version: CustomResourceDefinitionVersion) -> Schema:
    described = version.schema.open_api_v3_schema if version.schema is not None else None
    raw: dict[str, Any] = codec.to_dict(described) if described is not None else {"type": "object"}
    if described is None:
        raw["x-kubernetes-preserve-unknown-fields"] = True
    return Schema(raw)


def established(definition: CustomResourceDefinition) -> bool:
    """Whether its kinds are to be served."""
    return any(c.type == "Established" and c.status == "True" for c in definition.status.conditions or ())


class Definitions:
    """Keeps what the registry serves in step with the definitions in the cache; called synchronously."""

    def __init__(self, registry: Registry, caller: Caller) -> None:
        self._registry = registry
        self._caller = caller
        self._served: dict[str, Served] = {}

    def sync(self, name: str) -> None:
        """Serve, change or withdraw what this definition describes."""
        definition = self._registry.cached(CustomResourceDefinition, name)
        before = self._served.get(name)
        if definition is None or not established(definition):
            if before is not None:
                self._withdraw(name)
            return
        if before is not None and before.uid != definition.metadata.uid:
            self._withdraw(name)
            before = None
        if before is not None and before.fingerprint == fingerprint(definition):
            return
        served = Served(definition, self._registry, self._caller)
        group, plural = definition.spec.group, definition.spec.names.plural
        known = self._registry.versions(group, plural)
        self._served[name] = served
        self._registry.serve(group, plural, served.endpoints(known))
        scale.register(group, plural)

    def _withdraw(self, name: str) -> None:
        del self._served[name]
        plural, _, group = name.partition(".")
        for endpoint in self._registry.versions(group, plural):
            endpoint.cache.stop()
        self._registry.serve(group, plural, [])

    def all(self) -> None:
        """Everything anew: changes may have been missed."""
        names = {d.metadata.name or "" for d in self._registry.cached_list(CustomResourceDefinition)}
        for name in names | set(self._served):
            self.sync(name)
