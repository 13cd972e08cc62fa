//! Tokens that a service beside the cluster judges: each one that nobody here knows becomes a TokenReview. Answers are remembered for
//! as long as the configuration says, by the token's digest; that the service could not be asked never is.

use super::{Accepted, TokenKind, shared};
use crate::User;
use crate::outbound::answers::{Answers, Key, key};
use crate::outbound::remote::Remote;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers that are remembered. Good and bad ones apart, so that a flood of guesses does not drive out who signed in.
const ANSWERS_MAX: usize = 8192;
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub struct Reviewer {
    remote: Remote,
    good: Answers<Answer>,
    bad: Answers<()>,
}

/// Whose a token is. `None` for the audiences: the service does not know of audiences.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    user: User,
    audiences: Option<Vec<String>>,
}

impl Reviewer {
    /// Asks `remote`, and remembers answers for `lifetime`.
    pub fn new(remote: Remote, lifetime: Duration) -> Reviewer {
        Reviewer {
            remote,
            good: Answers::new(lifetime, ANSWERS_MAX),
            bad: Answers::new(lifetime, ANSWERS_MAX),
        }
    }

    /// `Ok(None)`: it is nobody's.
    async fn review(&self, token: &str, audiences: &[String]) -> Result<Option<Answer>, String> {
        let question = question(token, audiences);
        let now = Instant::now();
        if let Some(answer) = self.good.get(&question, now) {
            return Ok(Some(answer));
        }
        if self.bad.get(&question, now).is_some() {
            return Ok(None);
        }
        let spec = json!({"token": token, "audiences": audiences});
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        let found = self
            .remote
            .post(&review, TIMEOUT)
            .await
            .and_then(|answer| read(&answer));
        let found = found.inspect_err(|why| tracing::warn!(why, "cannot ask the webhook that reviews tokens"))?;
        match &found {
            Some(answer) => self.good.put(question, answer.clone(), Instant::now()),
            None => self.bad.put(question, (), Instant::now()),
        }
        Ok(found)
    }
}

fn question(token: &str, audiences: &[String]) -> Key {
    key(std::iter::once(token)
        .chain(audiences.iter().map(String::as_str))
        .map(str::as_bytes))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    user: UserInfo,
    #[serde(default)]
    audiences: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UserInfo {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// What an answer means. One that is no TokenReview of this version means that the service failed.
fn read(answer: &Value) -> Result<Option<Answer>, String> {
    if answer["apiVersion"] != "authentication.k8s.io/v1" || answer["kind"] != "TokenReview" {
        return Err("the answer is not a TokenReview of authentication.k8s.io/v1".into());
    }
    let status = crate::authz::rules::without_nulls(&answer["status"]);
    let status: Status = serde_json::from_value(status).map_err(|_| "the answer has no readable status")?;
    if !status.authenticated {
        return Ok(None);
    }
    if status.user.username.is_empty() {
        return Err("the answer says whose the token is without a name".into());
    }
    let UserInfo {
        username,
        uid,
        groups,
        extra,
    } = status.user;
    Ok(Some(Answer {
        user: User {
            name: username,
            uid,
            groups,
            extra,
        },
        audiences: (!status.audiences.is_empty()).then_some(status.audiences),
    }))
}

/// Accepts what the service accepts.
pub struct OfWebhook {
    pub reviewer: Arc<Reviewer>,
    /// The audiences of this API server.
    pub audiences: Vec<String>,
}

#[async_trait::async_trait]
impl TokenKind for OfWebhook {
    async fn check(&self, token: &str, audiences: &[String]) -> Result<Option<Accepted>, String> {
        let Some(answer) = self.reviewer.review(token, audiences).await? else {
            return Ok(None);
        };
        // A service that knows nothing of audiences speaks for this API server.
        let good_for = answer.audiences.as_ref().unwrap_or(&self.audiences);
        let matching = shared(good_for, audiences);
        let audiences = matching.ok_or_else(|| format!("the token is not for the audiences {audiences:?}"))?;
        Ok(Some(Accepted {
            user: answer.user,
            audiences,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Value) -> Result<Option<Answer>, String> {
        read(&json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}))
    }

    #[test]
    fn an_answer_names_the_user_or_nobody() {
        let user = json!({"username": "anna", "uid": "7", "groups": ["devs"], "extra": {"a": ["b"]}});
        let found = answer(json!({"authenticated": true, "user": user, "audiences": ["x"]}))
            .unwrap()
            .unwrap();
        assert_eq!((found.user.name.as_str(), found.user.uid.as_str()), ("anna", "7"));
        assert_eq!(found.user.extra["a"], ["b"]);
        assert_eq!(found.audiences, Some(vec!["x".into()]));
        assert_eq!(
            answer(json!({"authenticated": false, "user": user, "error": "no"})),
            Ok(None)
        );
        assert_eq!(answer(json!({"user": user})), Ok(None));
        let bare = answer(json!({"authenticated": true, "user": {"username": "a", "groups": null}, "audiences": null}));
        assert_eq!(bare.unwrap().unwrap().audiences, None);
    }

    #[test]
    fn an_answer_that_is_unclear_is_none() {
        for status in [
            json!(null),
            json!({"authenticated": "true"}),
            json!({"authenticated": true}),
        ] {
            assert!(answer(status.clone()).is_err(), "{status}");
        }
        let nameless = json!({"authenticated": true, "user": {"groups": ["system:masters"]}});
        assert!(answer(nameless).is_err());
        assert!(read(&json!({"status": {"authenticated": true, "user": {"username": "a"}}})).is_err());
    }

    #[test]
    fn the_same_token_for_others_is_another_question() {
        let a = |text: &str| vec![text.to_owned()];
        assert_ne!(question("t", &a("x")), question("t", &a("y")));
        assert_ne!(question("t", &a("x")), question("tx", &[]));
    }
}
