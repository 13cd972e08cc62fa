//! Which resource has which strategy. A resource that is not named here is `Plain`.

use super::rbac::{Bindings, Roles};
use super::reviews::{AccessReview, RulesReview, SelfReview, TokenReview};
use super::strategy::Strategy;
use super::workloads::Workload;
use super::{batch, certificates, disruption, limits, networking, registration, templates, volumes};
use super::{configmaps, endpoints, events, leases, namespaces, nodes, pods, secrets, serviceaccounts, services};
use crate::authn::tokens::Tokens;
use crate::config::Config;
use crate::extensions::Definitions;
use crate::outbound::Kubelets;

/// The table: `plural` or `plural.group` -> what is special about it.
pub fn strategies(config: &Config) -> Vec<(&'static str, Box<dyn Strategy>)> {
    let tokens = Tokens::load(config);
    let kubelets = Kubelets::load(config);
    vec![
        (
            "pods",
            Box::new(pods::Pods {
                kubelets: kubelets.clone(),
            }),
        ),
        ("bindings", Box::new(pods::Bindings)),
        ("nodes", Box::new(nodes::Nodes { kubelets })),
        ("services", Box::new(services::Services)),
        ("endpoints", Box::new(endpoints::Endpoints)),
        ("endpointslices.discovery.k8s.io", Box::new(endpoints::EndpointSlices)),
        ("namespaces", Box::new(namespaces::Namespaces)),
        ("configmaps", Box::new(configmaps::ConfigMaps)),
        ("secrets", Box::new(secrets::Secrets)),
        (
            "serviceaccounts",
            Box::new(serviceaccounts::ServiceAccounts { tokens: tokens.clone() }),
        ),
        ("events", Box::new(events::Events)),
        // The same objects: both must select by the same fields, or the parsed metadata of one would be read as the other's.
        ("events.events.k8s.io", Box::new(events::Events)),
        ("deployments.apps", Box::new(Workload::Deployment)),
        ("replicasets.apps", Box::new(Workload::ReplicaSet)),
        ("statefulsets.apps", Box::new(Workload::StatefulSet)),
        ("daemonsets.apps", Box::new(Workload::DaemonSet)),
        ("leases.coordination.k8s.io", Box::new(leases::Leases)),
        ("roles.rbac.authorization.k8s.io", Box::new(Roles { cluster: false })),
        (
            "clusterroles.rbac.authorization.k8s.io",
            Box::new(Roles { cluster: true }),
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            Box::new(Bindings { cluster: false }),
        ),
        (
            "clusterrolebindings.rbac.authorization.k8s.io",
            Box::new(Bindings { cluster: true }),
        ),
        ("poddisruptionbudgets.policy", Box::new(disruption::BUDGETS)),
        (
            "horizontalpodautoscalers.autoscaling",
            Box::new(disruption::AUTOSCALERS),
        ),
        ("jobs.batch", Box::new(batch::JOBS)),
        ("cronjobs.batch", Box::new(batch::CRON_JOBS)),
        ("replicationcontrollers", Box::new(templates::REPLICATION_CONTROLLERS)),
        ("podtemplates", Box::new(templates::POD_TEMPLATES)),
        ("controllerrevisions.apps", Box::new(templates::REVISIONS)),
        ("customresourcedefinitions.apiextensions.k8s.io", Box::new(Definitions)),
        ("resourcequotas", Box::new(limits::QUOTAS)),
        ("limitranges", Box::new(limits::RANGES)),
        ("persistentvolumes", Box::new(volumes::VOLUMES)),
        ("persistentvolumeclaims", Box::new(volumes::CLAIMS)),
        ("storageclasses.storage.k8s.io", Box::new(volumes::CLASSES)),
        ("volumeattachments.storage.k8s.io", Box::new(volumes::ATTACHMENTS)),
        (
            "volumeattributesclasses.storage.k8s.io",
            Box::new(volumes::ATTRIBUTES_CLASSES),
        ),
        ("csidrivers.storage.k8s.io", Box::new(volumes::DRIVERS)),
        ("csinodes.storage.k8s.io", Box::new(volumes::NODES)),
        ("csistoragecapacities.storage.k8s.io", Box::new(volumes::CAPACITIES)),
        ("ingresses.networking.k8s.io", Box::new(networking::INGRESSES)),
        (
            "ingressclasses.networking.k8s.io",
            Box::new(networking::INGRESS_CLASSES),
        ),
        ("networkpolicies.networking.k8s.io", Box::new(networking::POLICIES)),
        ("servicecidrs.networking.k8s.io", Box::new(networking::SERVICE_CIDRS)),
        ("ipaddresses.networking.k8s.io", Box::new(networking::IP_ADDRESSES)),
        (
            "certificatesigningrequests.certificates.k8s.io",
            Box::new(certificates::Requests),
        ),
        (
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
            Box::new(registration::WEBHOOK_CONFIGURATIONS),
        ),
        (
            "validatingwebhookconfigurations.admissionregistration.k8s.io",
            Box::new(registration::WEBHOOK_CONFIGURATIONS),
        ),
        (
            "validatingadmissionpolicies.admissionregistration.k8s.io",
            Box::new(registration::POLICIES),
        ),
        (
            "validatingadmissionpolicybindings.admissionregistration.k8s.io",
            Box::new(registration::BINDINGS),
        ),
        (
            "flowschemas.flowcontrol.apiserver.k8s.io",
            Box::new(registration::FLOW_SCHEMAS),
        ),
        (
            "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
            Box::new(registration::PRIORITY_LEVELS),
        ),
        (
            "priorityclasses.scheduling.k8s.io",
            Box::new(registration::PRIORITY_CLASSES),
        ),
        ("runtimeclasses.node.k8s.io", Box::new(registration::RUNTIME_CLASSES)),
        (
            "subjectaccessreviews.authorization.k8s.io",
            Box::new(AccessReview::Subject),
        ),
        (
            "localsubjectaccessreviews.authorization.k8s.io",
            Box::new(AccessReview::Local),
        ),
        (
            "selfsubjectaccessreviews.authorization.k8s.io",
            Box::new(AccessReview::Own),
        ),
        ("selfsubjectrulesreviews.authorization.k8s.io", Box::new(RulesReview)),
        ("selfsubjectreviews.authentication.k8s.io", Box::new(SelfReview)),
        ("tokenreviews.authentication.k8s.io", Box::new(TokenReview)),
    ]
}
