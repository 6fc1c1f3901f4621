"""The admission plugins of this server, in upstream's order."""

from __future__ import annotations

from apiserver.admission import AdmissionPlugin
from apiserver.admission.certificate_approval import CertificateApproval
from apiserver.admission.certificate_signing import CertificateSigning
from apiserver.admission.certificate_subject import CertificateSubjectRestriction
from apiserver.admission.claim_resize import PersistentVolumeClaimResize
from apiserver.admission.default_ingress_class import DefaultIngressClass
from apiserver.admission.default_storage_class import DefaultStorageClass
from apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from apiserver.admission.limit_ranger import LimitRanger
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.admission.pod_security import PodSecurity
from apiserver.admission.pod_topology_labels import PodTopologyLabels
from apiserver.admission.policies import MutatingPolicies, ValidatingPolicies
from apiserver.admission.priority import Priority
from apiserver.admission.resource_quota import ResourceQuotaAdmission
from apiserver.admission.runtime_class import RuntimeClassAdmission
from apiserver.admission.service_account import ServiceAccountAdmission
from apiserver.admission.storage_object_in_use import StorageObjectInUseProtection
from apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from apiserver.admission.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from apiserver.auth import Authorizer
from apiserver.registry import Registry


def plugins(registry: Registry) -> list[AdmissionPlugin]:
    """Those that need nothing but the registry. Quotas come last: they count what everybody else let through."""
    return [
        NamespaceLifecycle(),
        LimitRanger(),
        ServiceAccountAdmission(),
        NodeRestriction(),
        TaintNodesByCondition(),
        PodSecurity(),
        PodTopologyLabels(),
        Priority(),
        DefaultTolerationSeconds(),
        DefaultStorageClass(),
        PersistentVolumeClaimResize(),
        RuntimeClassAdmission(),
        CertificateSubjectRestriction(),
        DefaultIngressClass(),
        StorageObjectInUseProtection(),
        MutatingPolicies(),
        MutatingAdmissionWebhook(),
        ValidatingPolicies(),
        ValidatingAdmissionWebhook(),
        ResourceQuotaAdmission(),
    ]


def plugins_that_ask(authorizer: Authorizer) -> list[AdmissionPlugin]:
    """Those that depend on what the writer may do elsewhere; they only refuse, so their place does not matter."""
    return [CertificateApproval(authorizer), CertificateSigning(authorizer)]
