"""Namespaces, ConfigMaps, Secrets, ServiceAccounts, Roles and Bindings, quotas, limits, volumes and claims."""

from __future__ import annotations

import base64

from cli.describe.inspector import Inspector
from cli.describe.text import Text, conditions_table
from cli.describe.volumes import describe_source
from cli.errors import Object
from cli.objects import annotations_of, dig, join, label_selector_text, labels_of, name_of, namespace_of


async def namespace(text: Text, obj: Object, inspector: Inspector) -> None:
    text.head(obj, namespaced=False)
    text.field("Status", dig(obj, "status", "phase", default=""))
    if dig(obj, "status", "conditions"):
        text.line(0, "Conditions:")
        text.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage")
        text.line(1, "----\t------\t------------------\t------\t-------")
        for one in obj["status"]["conditions"]:
            text.line(
                1,
                "\t".join(
                    str(one.get(key, "")) for key in ("type", "status", "lastTransitionTime", "reason", "message")
                ),
            )
    quotas = await inspector.items(f"/api/v1/namespaces/{name_of(obj)}/resourcequotas")
    text.raw("\n")
    text.line(0, "No resource quota." if not quotas else "Resource Quotas")
    for one in quotas:
        text.line(1, f"Name:\t{name_of(one)}")
        _quota_rows(text, one, 1)
    limits = await inspector.items(f"/api/v1/namespaces/{name_of(obj)}/limitranges")
    text.raw("\n")
    text.line(0, "No LimitRange resource." if not limits else "Resource Limits")
    for one in limits:
        _limit_rows(text, one, 1)


def _quota_rows(text: Text, obj: Object, level: int) -> None:
    text.line(level, "Resource\tUsed\tHard")
    text.line(level, "--------\t---\t---" if level else "--------\t----\t----")
    hard, used = dig(obj, "status", "hard", default={}), dig(obj, "status", "used", default={})
    for name in sorted(hard):
        text.line(level, f"{name}\t{used.get(name, '0')}\t{hard[name]}")


async def resource_quota(text: Text, obj: Object, inspector: Inspector) -> None:
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    if dig(obj, "spec", "scopes"):
        text.field("Scopes", ", ".join(obj["spec"]["scopes"]))
    _quota_rows(text, obj, 0)


def _limit_rows(text: Text, obj: Object, level: int) -> None:
    text.line(level, "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio")
    text.line(level, "----\t--------\t---\t---\t---------------\t-------------\t-----------------------")
    for item in dig(obj, "spec", "limits", default=[]):
        names = {
            name
            for key in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")
            for name in item.get(key) or {}
        }
        for name in sorted(names):
            cells = [
                str((item.get(key) or {}).get(name, "-"))
                for key in ("min", "max", "defaultRequest", "default", "maxLimitRequestRatio")
            ]
            text.line(level, "\t".join([item.get("type", ""), name, *cells]))


async def limit_range(text: Text, obj: Object, inspector: Inspector) -> None:
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    _limit_rows(text, obj, 0)


async def config_map(text: Text, obj: Object, inspector: Inspector) -> None:
    text.head(obj)
    text.raw("\n")
    text.line(0, "Data\n====")
    for key, value in sorted((obj.get("data") or {}).items()):
        text.line(0, f"{key}:\n----")
        text.line(0, str(value))
        text.raw("\n")
    text.raw("\n")
    text.line(0, "BinaryData\n====")
    for key, value in sorted((obj.get("binaryData") or {}).items()):
        text.line(0, f"{key}: {len(base64.b64decode(value))} bytes")
    text.raw("\n")
    text.events(await inspector.events(obj))


async def secret(text: Text, obj: Object, inspector: Inspector) -> None:
    """Sizes only: a description must not show a secret, except a service account's token as kubectl does."""
    text.head(obj)
    text.raw("\n")
    text.field("Type", obj.get("type", ""))
    text.raw("\n")
    text.line(0, "Data\n====")
    for key, value in sorted((obj.get("data") or {}).items()):
        content = base64.b64decode(value)
        if key == "token" and obj.get("type") == "kubernetes.io/service-account-token":
            text.field(key, content.decode(errors="replace"))
        else:
            text.field(key, f"{len(content)} bytes")


async def service_account(text: Text, obj: Object, inspector: Inspector) -> None:
    text.head(obj)
    for title, key in (("Image pull secrets", "imagePullSecrets"), ("Mountable secrets", "secrets")):
        names = [one.get("name", "") for one in obj.get(key) or []] or ["<none>"]
        text.field(title, names[0])
        for one in names[1:]:
            text.line(0, f"\t{one}")
    path = f"/api/v1/namespaces/{namespace_of(obj)}/secrets"
    tokens = [
        name_of(one)
        for one in await inspector.items(path, fieldSelector="type=kubernetes.io/service-account-token")
        if annotations_of(one).get("kubernetes.io/service-account.uid") == dig(obj, "metadata", "uid")
    ] or ["<none>"]
    text.field("Tokens", tokens[0])
    for one in tokens[1:]:
        text.line(0, f"\t{one}")
    text.events(await inspector.events(obj))


async def role(text: Text, obj: Object, inspector: Inspector) -> None:
    text.field("Name", name_of(obj))
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    text.line(0, "PolicyRule:")
    text.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs")
    text.line(1, "---------\t-----------------\t--------------\t-----")
    for row in _rules(obj):
        text.line(1, "\t".join(row))


def _rules(obj: Object) -> list[tuple[str, str, str, str]]:
    """One row per resource; rows that differ only in their verbs become one."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for rule in obj.get("rules") or []:
        names = f"[{' '.join(rule.get('resourceNames') or [])}]"
        urls = f"[{' '.join(rule.get('nonResourceURLs') or [])}]"
        pairs = [(g, r) for g in rule.get("apiGroups") or [""] for r in rule.get("resources") or []] or [("", "")]
        for group, resource in pairs:
            verbs = rows.setdefault((group, resource, urls, names), [])
            verbs.extend(verb for verb in rule.get("verbs") or [] if verb not in verbs)
    return [
        (f"{resource}.{group}" if group else resource, urls, names, f"[{' '.join(verbs)}]")
        for (group, resource, urls, names), verbs in sorted(rows.items())
    ]


async def role_binding(text: Text, obj: Object, inspector: Inspector) -> None:
    text.field("Name", name_of(obj))
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    text.line(0, "Role:")
    text.field("Kind", dig(obj, "roleRef", "kind", default=""), 1)
    text.field("Name", dig(obj, "roleRef", "name", default=""), 1)
    text.line(0, "Subjects:")
    text.line(1, "Kind\tName\tNamespace")
    text.line(1, "----\t----\t---------")
    for one in obj.get("subjects") or []:
        text.line(1, f"{one.get('kind')}\t{one.get('name')}\t{one.get('namespace', '')}")


async def volume_claim(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    text.field("StorageClass", spec.get("storageClassName", ""))
    deleted = dig(obj, "metadata", "deletionTimestamp")
    text.field("Status", f"Terminating (since {deleted})" if deleted else status.get("phase", ""))
    text.field("Volume", spec.get("volumeName", ""))
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    text.field("Finalizers", f"[{' '.join(dig(obj, 'metadata', 'finalizers', default=[]))}]")
    text.field("Capacity", dig(status, "capacity", "storage", default=""))
    text.field("Access Modes", _modes(status.get("accessModes") or []))
    text.field("VolumeMode", spec.get("volumeMode") or "Filesystem")
    users = [
        name_of(pod)
        for pod in await inspector.items(f"/api/v1/namespaces/{namespace_of(obj)}/pods")
        if any(
            dig(volume, "persistentVolumeClaim", "claimName") == name_of(obj)
            for volume in dig(pod, "spec", "volumes", default=[])
        )
    ] or ["<none>"]
    text.field("Used By", users[0])
    for one in users[1:]:
        text.line(0, f"\t{one}")
    conditions_table(text, obj, ("Status", "Reason", "Message"))
    text.events(await inspector.events(obj))


def _modes(modes: list[str]) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return ",".join(short.get(mode, mode) for mode in modes)


async def volume(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.head(obj, namespaced=False)
    text.field("Finalizers", f"[{' '.join(dig(obj, 'metadata', 'finalizers', default=[]))}]")
    text.field("StorageClass", spec.get("storageClassName", ""))
    text.field("Status", status.get("phase", ""))
    claim = spec.get("claimRef")
    text.field("Claim", f"{claim.get('namespace')}/{claim.get('name')}" if claim else "")
    text.field("Reclaim Policy", spec.get("persistentVolumeReclaimPolicy", ""))
    text.field("Access Modes", _modes(spec.get("accessModes") or []))
    text.field("VolumeMode", spec.get("volumeMode") or "Filesystem")
    text.field("Capacity", dig(spec, "capacity", "storage", default=""))
    terms = dig(spec, "nodeAffinity", "required", "nodeSelectorTerms", default=[])
    if not terms:
        text.field("Node Affinity", "<none>")
    else:
        text.line(0, "Node Affinity:")
        text.line(1, "Required Terms:")
        for index, term in enumerate(terms):
            shown = label_selector_text({"matchExpressions": term.get("matchExpressions") or []})
            text.field(f"Term {index}", shown, 2)
    text.field("Message", status.get("message", ""))
    text.line(0, "Source:")
    describe_source(text, spec, level=2)
    text.events(await inspector.events(obj))


async def storage_class(text: Text, obj: Object, inspector: Inspector) -> None:
    text.field("Name", name_of(obj))
    default = annotations_of(obj).get("storageclass.kubernetes.io/is-default-class") == "true"
    text.field("IsDefaultClass", "Yes" if default else "No")
    text.field("Annotations", ",".join(f"{k}={v}" for k, v in sorted(annotations_of(obj).items())) or "<none>")
    text.field("Provisioner", obj.get("provisioner", ""))
    parameters = obj.get("parameters") or {}
    text.field("Parameters", join(f"{key}={value}" for key, value in sorted(parameters.items())))
    expand = obj.get("allowVolumeExpansion")
    text.field("AllowVolumeExpansion", "<unset>" if expand is None else "True" if expand else "False")
    if not obj.get("mountOptions"):
        text.field("MountOptions", "<none>")
    else:
        text.line(0, "MountOptions:")
        for one in obj["mountOptions"]:
            text.line(1, one)
    text.field("ReclaimPolicy", obj.get("reclaimPolicy") or "Delete")
    text.field("VolumeBindingMode", obj.get("volumeBindingMode") or "Immediate")
    text.events(await inspector.events(obj))


async def priority_class(text: Text, obj: Object, inspector: Inspector) -> None:
    text.field("Name", name_of(obj))
    text.field("Value", obj.get("value", 0))
    text.field("GlobalDefault", "true" if obj.get("globalDefault") else "false")
    text.field("PreemptionPolicy", obj.get("preemptionPolicy", "PreemptLowerPriority"))
    text.field("Description", obj.get("description", ""))
    text.field("Annotations", ",".join(f"{k}={v}" for k, v in sorted(annotations_of(obj).items())) or "<none>")
    text.events(await inspector.events(obj))
