//! Who may approve and sign requests for certificates: those who hold the verbs `approve` and `sign` on the signer, by its name
//! or for its whole domain. And nobody becomes a master by a certificate of the cluster's own client signer.

use super::{Admission, AdmissionRequest, Operation};
use crate::authz::{Attributes, Decision};
use crate::identity::MASTERS;
use crate::registry::fields::{at, same, text};
use crate::registry::{Registry, certificates};
use crate::{ApiError, RequestInfo, User};
use serde_json::Value;
use std::sync::Weak;

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// A write to `approval` is for those who may `approve`.
pub(super) struct CertificateApproval {
    pub registry: Weak<Registry>,
}

/// A certificate or a failure is reported by those who may `sign`.
pub(super) struct CertificateSigning {
    pub registry: Weak<Registry>,
}

/// No request for `system:masters`.
pub(super) struct CertificateSubjectRestriction;

#[async_trait::async_trait]
impl Admission for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        match (concerns(request, "approval"), request.old) {
            (true, Some(old)) => may(&self.registry, request, "approve", old).await,
            _ => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl Admission for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let Some(old) = request.old.filter(|_| concerns(request, "status")) else {
            return Ok(());
        };
        let kept = |field| same(at(request.object, field), at(old, field));
        match kept("status.certificate") && kept("status.conditions") {
            true => Ok(()),
            false => may(&self.registry, request, "sign", old).await,
        }
    }
}

#[async_trait::async_trait]
impl Admission for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let asks = request.operation == Operation::Create && concerns(request, "");
        if !asks || text(request.object, "spec.signerName") != CLIENT_SIGNER {
            return Ok(());
        }
        let parsed = certificates::parse(request.object)
            .map_err(|problem| refusal(request, &format!("failed to parse CSR: {problem}")))?;
        match parsed.organizations.iter().any(|group| group == MASTERS) {
            true => Err(refusal(
                request,
                &format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"),
            )),
            false => Ok(()),
        }
    }
}

fn concerns(request: &AdmissionRequest<'_>, subresource: &str) -> bool {
    request.subresource == subresource && request.group_resource() == certificates::RESOURCE
}

fn refusal(request: &AdmissionRequest<'_>, why: &str) -> ApiError {
    ApiError::forbidden(&request.group_resource(), request.name, why)
}

async fn may(
    registry: &Weak<Registry>,
    request: &AdmissionRequest<'_>,
    verb: &'static str,
    stored: &Value,
) -> Result<(), ApiError> {
    let signer = text(stored, "spec.signerName");
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    for name in [signer, &format!("{domain}/*")] {
        if allowed(registry, request.user, verb, name).await? {
            return Ok(());
        }
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(refusal(request, &why))
}

async fn allowed(registry: &Weak<Registry>, user: &User, verb: &'static str, signer: &str) -> Result<bool, ApiError> {
    let registry = registry
        .upgrade()
        .ok_or_else(|| ApiError::unavailable("the server is stopping"))?;
    let info = RequestInfo {
        verb: verb.into(),
        is_resource: true,
        group: "certificates.k8s.io".into(),
        version: "*".into(),
        resource: "signers".into(),
        name: signer.into(),
        ..RequestInfo::default()
    };
    let attributes = Attributes {
        user: user.clone(),
        info,
    };
    let decision = registry.access()?.authorizer.authorize(&attributes).await;
    Ok(matches!(decision, Decision::Allow { .. }))
}
