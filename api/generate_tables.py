"""What the generator has to know and OpenAPI doesn't tell: names, short names, categories, structs held by value."""

from __future__ import annotations

# JSON names whose words a rule cannot find.
NAMES = {
    "openAPIV3Schema": "open_api_v3_schema",
    "$ref": "ref",
    "$schema": "schema",
}

# Optional fields that Go holds by value: always there, always encoded, even when empty.
BY_VALUE = {
    "Container.resources",
    "EphemeralContainer.resources",
    "ContainerStatus.state",
    "ContainerStatus.lastState",
    "CronJobSpec.jobTemplate",
    "DaemonSetSpec.updateStrategy",
    "DeploymentSpec.strategy",
    "StatefulSetSpec.updateStrategy",
    "IngressStatus.loadBalancer",
    "ServiceStatus.loadBalancer",
    "JobTemplateSpec.metadata",
    "JobTemplateSpec.spec",
    "NodeStatus.daemonEndpoints",
    "NodeStatus.nodeInfo",
    "PersistentVolumeClaimSpec.resources",
    "PersistentVolumeClaimTemplate.metadata",
    "PodTemplateSpec.metadata",
    "PodTemplateSpec.spec",
    "PodTemplate.template",
    "ReplicaSetSpec.template",
    "ResourceClaimTemplateSpec.metadata",
    "Event.source",
    "CustomResourceDefinitionStatus.acceptedNames",
}

# Keyed by group resource, as upstream's discovery has them.
SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "certificatesigningrequests.certificates.k8s.io": ("csr",),
    "componentstatuses": ("cs",),
    "configmaps": ("cm",),
    "controllerrevisions.apps": (),
    "cronjobs.batch": ("cj",),
    "customresourcedefinitions.apiextensions.k8s.io": ("crd", "crds"),
    "daemonsets.apps": ("ds",),
    "deployments.apps": ("deploy",),
    "endpoints": ("ep",),
    "events": ("ev",),
    "events.events.k8s.io": ("ev",),
    "horizontalpodautoscalers.autoscaling": ("hpa",),
    "ingresses.networking.k8s.io": ("ing",),
    "ipaddresses.networking.k8s.io": ("ip",),
    "limitranges": ("limits",),
    "namespaces": ("ns",),
    "networkpolicies.networking.k8s.io": ("netpol",),
    "nodes": ("no",),
    "persistentvolumeclaims": ("pvc",),
    "persistentvolumes": ("pv",),
    "poddisruptionbudgets.policy": ("pdb",),
    "pods": ("po",),
    "priorityclasses.scheduling.k8s.io": ("pc",),
    "replicasets.apps": ("rs",),
    "replicationcontrollers": ("rc",),
    "resourcequotas": ("quota",),
    "serviceaccounts": ("sa",),
    "services": ("svc",),
    "statefulsets.apps": ("sts",),
    "storageclasses.storage.k8s.io": ("sc",),
    "volumeattributesclasses.storage.k8s.io": ("vac",),
}

_WORKLOADS = (
    "cronjobs.batch",
    "daemonsets.apps",
    "deployments.apps",
    "horizontalpodautoscalers.autoscaling",
    "jobs.batch",
    "pods",
    "replicasets.apps",
    "replicationcontrollers",
    "services",
    "statefulsets.apps",
)

CATEGORIES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_WORKLOADS, ("all",)),
    "customresourcedefinitions.apiextensions.k8s.io": ("api-extensions",),
    "apiservices.apiregistration.k8s.io": ("api-extensions",),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": ("api-extensions",),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": ("api-extensions",),
    "validatingadmissionpolicies.admissionregistration.k8s.io": ("api-extensions",),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": ("api-extensions",),
    "mutatingadmissionpolicies.admissionregistration.k8s.io": ("api-extensions",),
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": ("api-extensions",),
}
