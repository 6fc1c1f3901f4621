"""The volumes of a pod or a template."""

from __future__ import annotations

from typing import Any

from cli.describe.text import Text
from cli.errors import Object

# Volume key -> the words behind `Type:` and the fields shown: title, key, text when absent.
KINDS: dict[str, tuple[str, tuple[tuple[str, str, Any], ...]]] = {
    "hostPath": (
        "HostPath (bare host directory volume)",
        (("Path", "path", ""), ("HostPathType", "type", "")),
    ),
    "emptyDir": (
        "EmptyDir (a temporary directory that shares a pod's lifetime)",
        (("Medium", "medium", ""), ("SizeLimit", "sizeLimit", "<unset>")),
    ),
    "secret": (
        "Secret (a volume populated by a Secret)",
        (("SecretName", "secretName", ""), ("Optional", "optional", False)),
    ),
    "configMap": (
        "ConfigMap (a volume populated by a ConfigMap)",
        (("Name", "name", ""), ("Optional", "optional", False)),
    ),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        (("ClaimName", "claimName", ""), ("ReadOnly", "readOnly", False)),
    ),
    "nfs": (
        "NFS (an NFS mount that lasts the lifetime of a pod)",
        (("Server", "server", ""), ("Path", "path", ""), ("ReadOnly", "readOnly", False)),
    ),
    "local": ("LocalVolume (a persistent volume backed by local storage on a node)", (("Path", "path", ""),)),
    "csi": (
        "CSI (a Container Storage Interface (CSI) volume source)",
        (("Driver", "driver", ""), ("FSType", "fsType", ""), ("ReadOnly", "readOnly", False)),
    ),
    "image": (
        "Image (a container image or OCI artifact)",
        (("Reference", "reference", ""), ("PullPolicy", "pullPolicy", "")),
    ),
}


def describe_volumes(text: Text, volumes: list[Object], *, space: str = "") -> None:
    if not volumes:
        text.line(0, f"{space}Volumes:\t<none>")
        return
    text.line(0, f"{space}Volumes:")
    for volume in volumes:
        text.line(1, f"{' ' if space else ''}{volume.get('name', '')}:")
        describe_source(text, volume)


def describe_source(text: Text, volume: Object, *, level: int = 2) -> None:
    """What stands behind a volume (also a PersistentVolume's)."""
    for key, (kind, fields) in KINDS.items():
        if key in volume:
            source = volume[key] or {}
            text.field("Type", kind, level)
            for title, field, missing in fields:
                text.field(title, _shown(source.get(field, missing)), level)
            return
    if "downwardAPI" in volume:
        text.field("Type", "DownwardAPI (a volume populated by information about the pod)", level)
        text.line(level, "Items:")
        _items(text, volume["downwardAPI"].get("items") or [], level + 1)
    elif "projected" in volume:
        text.field("Type", "Projected (a volume that contains injected data from multiple sources)", level)
        for source in volume["projected"].get("sources") or []:
            _projected(text, source, level)
    elif "ephemeral" in volume:
        text.field(
            "Type",
            "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
            level,
        )
    else:
        text.field("Type", "<unknown>", level)


def _items(text: Text, items: list[Object], level: int) -> None:
    for item in items:
        if item.get("fieldRef"):
            text.line(level, f"{item['fieldRef'].get('fieldPath')} -> {item.get('path')}")
        elif item.get("resourceFieldRef"):
            text.line(level, f"{item['resourceFieldRef'].get('resource')} -> {item.get('path')}")


def _projected(text: Text, source: Object, level: int) -> None:
    if source.get("secret"):
        text.field("SecretName", source["secret"].get("name", ""), level)
        text.field("Optional", _shown(source["secret"].get("optional", False)), level)
    elif source.get("downwardAPI"):
        text.field("DownwardAPI", "true", level)
    elif source.get("configMap"):
        text.field("ConfigMapName", source["configMap"].get("name", ""), level)
        text.field("Optional", _shown(source["configMap"].get("optional", False)), level)
    elif source.get("serviceAccountToken"):
        text.field("TokenExpirationSeconds", source["serviceAccountToken"].get("expirationSeconds", 3600), level)


def _shown(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value
