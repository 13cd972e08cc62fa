//! Collects what the Kubernetes API says about its kinds and fields, from the generated types of `k8s-openapi`, into one
//! deflated JSON object: definition -> field -> text, the definition's own text under the empty field.
//!
//! At build time, because the types' code is two hundred times the text.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use k8s_openapi::api::admissionregistration::v1 as admissionregistration;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::authentication::v1 as authentication;
use k8s_openapi::api::authorization::v1 as authorization;
use k8s_openapi::api::autoscaling::v1 as autoscaling;
use k8s_openapi::api::autoscaling::v2 as autoscaling_v2;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::certificates::v1 as certificates;
use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::events::v1 as events;
use k8s_openapi::api::flowcontrol::v1 as flowcontrol;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::api::node::v1 as node;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::api::resource::v1 as resource;
use k8s_openapi::api::scheduling::v1 as scheduling;
use k8s_openapi::api::storage::v1 as storage;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use k8s_openapi::schemars::SchemaGenerator;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Write;

/// Registers kinds; what they contain follows by itself.
macro_rules! collect {
    ($generator:ident, $module:ident: $($kind:ident)+) => {
        $( $generator.subschema_for::<$module::$kind>(); )+
    };
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut generator = SchemaGenerator::default();
    kinds(&mut generator);
    let mut texts: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (name, schema) in generator.definitions() {
        let fields = texts.entry(name).or_default();
        if let Some(text) = description(schema) {
            fields.insert("", text);
        }
        for (field, schema) in properties(schema) {
            if let Some(text) = description(schema) {
                fields.insert(field, text);
            }
        }
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let json = serde_json::to_vec(&texts).expect("maps of texts are JSON");
    encoder.write_all(&json).expect("memory takes every write");
    let path = std::path::Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("words.deflate");
    std::fs::write(&path, encoder.finish().expect("memory takes every write"))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

fn kinds(generator: &mut SchemaGenerator) {
    collect!(generator, core: Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount);
    collect!(generator, apps: ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet);
    collect!(generator, batch: CronJob Job);
    collect!(generator, policy: Eviction PodDisruptionBudget);
    collect!(generator, autoscaling_v2: HorizontalPodAutoscaler);
    collect!(generator, authentication: SelfSubjectReview TokenRequest TokenReview);
    collect!(generator, authorization: LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview);
    collect!(generator, rbac: ClusterRole ClusterRoleBinding Role RoleBinding);
    collect!(generator, coordination: Lease);
    collect!(generator, discovery: EndpointSlice);
    collect!(generator, node: RuntimeClass);
    collect!(generator, scheduling: PriorityClass);
    collect!(generator, networking: IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR);
    collect!(generator, storage: CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass);
    collect!(generator, certificates: CertificateSigningRequest);
    collect!(generator, admissionregistration: MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration);
    collect!(generator, flowcontrol: FlowSchema PriorityLevelConfiguration);
    collect!(generator, resource: DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice);
    collect!(generator, apiextensions: CustomResourceDefinition);
    collect!(generator, apiregistration: APIService);
    collect!(generator, meta: DeleteOptions ListMeta Status);
    collect!(generator, autoscaling: HorizontalPodAutoscaler Scale);
    collect!(generator, events: Event);
}
