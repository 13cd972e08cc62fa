//! Permission by webhook: each question becomes a SubjectAccessReview that a service beside the cluster answers. What it allows and
//! what it does not is remembered for as long as the configuration says; that it could not be asked never is.

use super::{Attributes, Authorizer, Decision, Listed};
use crate::outbound::answers::{Answers, key};
use crate::outbound::remote::Remote;
use crate::{ApiError, User};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Answers of each kind that are remembered.
const ANSWERS_MAX: usize = 8192;

/// How the webhook is to be asked.
pub struct Settings {
    /// For messages.
    pub name: String,
    pub timeout: Duration,
    /// How long it is remembered that something was allowed, and that it was not.
    pub allowed_for: Duration,
    pub refused_for: Duration,
    /// Whether a webhook that fails denies, instead of leaving the decision to those behind it.
    pub failure_denies: bool,
}

/// See the module.
pub struct Webhook {
    remote: Remote,
    settings: Settings,
    allowed: Answers<Decision>,
    refused: Answers<Decision>,
}

impl Webhook {
    /// Asks `remote`.
    pub fn new(remote: Remote, settings: Settings) -> Webhook {
        Webhook {
            remote,
            allowed: Answers::new(settings.allowed_for, ANSWERS_MAX),
            refused: Answers::new(settings.refused_for, ANSWERS_MAX),
            settings,
        }
    }

    fn failed(&self, why: &str) -> Decision {
        let name = &self.settings.name;
        tracing::warn!(webhook = name, why, "cannot ask a webhook for permission");
        let reason = format!("the webhook {name} could not be asked");
        match self.settings.failure_denies {
            true => Decision::Deny { reason },
            false => Decision::NoOpinion { reason },
        }
    }
}

#[async_trait::async_trait]
impl Authorizer for Webhook {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let spec = spec(attributes);
        let question = key([spec.to_string().as_bytes()]);
        let now = Instant::now();
        let known = self
            .allowed
            .get(&question, now)
            .or_else(|| self.refused.get(&question, now));
        if let Some(decision) = known {
            return decision;
        }
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        let answer = self.remote.post(&review, self.settings.timeout).await;
        match answer.and_then(|answer| decision(&answer)) {
            Ok(decision) => {
                let kept = match &decision {
                    Decision::Allow { .. } => &self.allowed,
                    _ => &self.refused,
                };
                kept.put(question, decision.clone(), Instant::now());
                decision
            }
            Err(why) => self.failed(&why),
        }
    }

    async fn rules(&self, _user: &User, _namespace: &str) -> Result<Listed, ApiError> {
        Ok(Listed {
            rules: Vec::new(),
            gaps: vec!["webhook authorizer does not support user rule resolution".into()],
        })
    }
}

fn spec(attributes: &Attributes) -> Value {
    let (user, info) = (&attributes.user, &attributes.info);
    let mut spec = json!({"user": user.name});
    if !user.uid.is_empty() {
        spec["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        spec["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        spec["extra"] = json!(user.extra);
    }
    if !info.is_resource {
        spec["nonResourceAttributes"] = json!({"path": info.path, "verb": info.verb});
        return spec;
    }
    let mut resource = json!({"verb": info.verb});
    for (field, value) in [
        ("group", &info.group),
        ("version", &info.version),
        ("resource", &info.resource),
        ("subresource", &info.subresource),
        ("namespace", &info.namespace),
        ("name", &info.name),
    ] {
        if !value.is_empty() {
            resource[field] = json!(value);
        }
    }
    spec["resourceAttributes"] = resource;
    spec
}

/// What an answer means. One that is no SubjectAccessReview of this version, or that says yes and no, means that the webhook failed.
fn decision(answer: &Value) -> Result<Decision, String> {
    if answer["apiVersion"] != "authorization.k8s.io/v1" || answer["kind"] != "SubjectAccessReview" {
        return Err("the answer is not a SubjectAccessReview of authorization.k8s.io/v1".into());
    }
    let status = &answer["status"];
    let flag = |field: &str| match &status[field] {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        _ => Err(format!("status.{field} is not true or false")),
    };
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    if !status.is_object() {
        return Err("the answer has no status".into());
    }
    match (flag("allowed")?, flag("denied")?) {
        (true, true) => Err("the answer both allows and denies".into()),
        (true, false) => Ok(Decision::Allow { reason }),
        (false, true) => Ok(Decision::Deny { reason }),
        (false, false) => Ok(Decision::NoOpinion { reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestInfo;

    #[test]
    fn a_question_holds_all_that_is_known_of_user_and_request() {
        let mut user = User::new("anna", &["devs"]);
        user.uid = "7".into();
        user.extra.insert("scopes".into(), vec!["a".into()]);
        let info = RequestInfo::resolve(
            &http::Method::GET,
            "/apis/apps/v1/namespaces/x/deployments/d/scale",
            None,
        );
        assert_eq!(
            spec(&Attributes { user, info }),
            json!({"user": "anna", "uid": "7", "groups": ["devs"], "extra": {"scopes": ["a"]},
                "resourceAttributes": {"verb": "get", "group": "apps", "version": "v1", "resource": "deployments",
                    "subresource": "scale", "namespace": "x", "name": "d"}})
        );
        let info = RequestInfo::resolve(&http::Method::GET, "/metrics", None);
        let user = User::new("anna", &[]);
        assert_eq!(
            spec(&Attributes { user, info }),
            json!({"user": "anna", "nonResourceAttributes": {"path": "/metrics", "verb": "get"}})
        );
    }

    #[test]
    fn only_a_clear_answer_is_one() {
        let answer = |status: Value| {
            decision(&json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}))
        };
        assert!(matches!(answer(json!({"allowed": true})), Ok(Decision::Allow { .. })));
        assert!(matches!(
            answer(json!({"allowed": false, "denied": true})),
            Ok(Decision::Deny { .. })
        ));
        assert!(matches!(
            answer(json!({"allowed": false})),
            Ok(Decision::NoOpinion { .. })
        ));
        for unclear in [
            json!({"allowed": true, "denied": true}),
            json!({"allowed": "true"}),
            json!(null),
            json!([]),
        ] {
            assert!(answer(unclear.clone()).is_err(), "{unclear}");
        }
        assert!(decision(&json!({"status": {"allowed": true}})).is_err());
        let old = json!({"apiVersion": "authorization.k8s.io/v1beta1", "kind": "SubjectAccessReview", "status": {"allowed": true}});
        assert!(decision(&old).is_err());
    }
}
