"""A definition that has a little of everything."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from tests.support.rest import Rest

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBJECTS = "/apis/stable.example.com/v1/namespaces/default/crontabs"

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["cronSpec"],
    "x-kubernetes-validations": [
        {
            "rule": "!has(self.max) || self.replicas <= self.max",
            "messageExpression": "'at most ' + string(self.max)",
        },
        {"rule": "self.image == oldSelf.image", "message": "image is immutable", "fieldPath": ".image"},
    ],
    "properties": {
        "cronSpec": {"type": "string", "pattern": r"^[\d*/ ]+$"},
        "image": {"type": "string", "default": "busybox"},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "max": {"type": "integer"},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
            },
        },
    },
}


def definition() -> dict[str, Any]:
    status = {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": copy.deepcopy(SPEC), "status": status}}
        },
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".spec.image"}],
        "additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
            "versions": [version],
        },
    }


def crontab(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cronSpec": "* * *", **spec},
    }


async def defined(rest: Rest, document: dict[str, Any]) -> None:
    """Create a definition and wait until it is established."""
    await rest.call("POST", DEFINITIONS, document, code=201)
    await condition(rest, document["metadata"]["name"], "Established", "True")


async def condition(rest: Rest, name: str, kind: str, status: str) -> dict[str, Any]:
    while True:
        found = await rest.call("GET", f"{DEFINITIONS}/{name}", code=200)
        for one in found.get("status", {}).get("conditions") or ():
            if (one["type"], one["status"]) == (kind, status):
                return one  # type: ignore[no-any-return]
        await asyncio.sleep(0.01)


async def gone(rest: Rest, name: str) -> None:
    """Wait until a definition is no more."""
    while (await rest.call("GET", f"{DEFINITIONS}/{name}"))["kind"] != "Status":
        await asyncio.sleep(0.01)
