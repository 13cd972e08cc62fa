//! Authorizers in the configured order: the first with an opinion decides, and a denial is one. No opinion at all is a refusal.

use super::abac::Policies;
use super::rules::PolicyRule;
use super::webhook::Webhook;
use super::{Attributes, Authorizer, Decision, Listed, Nodes, Rbac};
use crate::identity::MASTERS;
use crate::{ApiError, User};
use std::sync::Arc;

/// One source of permissions, as the configuration names it.
#[derive(Clone)]
pub enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Node,
    Rbac,
    Abac(Arc<Policies>),
    Webhook(Arc<Webhook>),
}

/// All of them in order.
#[derive(Clone)]
pub struct Modes(pub Vec<Mode>);

impl Default for Modes {
    fn default() -> Modes {
        Modes(vec![Mode::Node, Mode::Rbac])
    }
}

/// See the module. Masters may do everything, whatever the modes: somebody has to be able to mend them.
pub struct Chain {
    links: Vec<Arc<dyn Authorizer>>,
}

impl Chain {
    /// Roles, bindings and pods are read through `rbac`'s reader.
    pub fn new(modes: &Modes, rbac: &Arc<Rbac>) -> Chain {
        let link = |mode: &Mode| -> Arc<dyn Authorizer> {
            match mode {
                Mode::AlwaysAllow => Arc::new(Always { allow: true }),
                Mode::AlwaysDeny => Arc::new(Always { allow: false }),
                Mode::Node => Arc::new(Nodes::new(rbac.reader().clone())),
                Mode::Rbac => rbac.clone(),
                Mode::Abac(policies) => policies.clone(),
                Mode::Webhook(webhook) => webhook.clone(),
            }
        };
        Chain {
            links: modes.0.iter().map(link).collect(),
        }
    }
}

#[async_trait::async_trait]
impl Authorizer for Chain {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.is_in(MASTERS) {
            return Decision::Allow { reason: String::new() };
        }
        let mut reasons = Vec::new();
        for link in &self.links {
            match link.authorize(attributes).await {
                Decision::NoOpinion { reason } if reason.is_empty() => {}
                Decision::NoOpinion { reason } => reasons.push(reason),
                decision => return decision,
            }
        }
        Decision::NoOpinion {
            reason: reasons.join("\n"),
        }
    }

    async fn rules(&self, user: &User, namespace: &str) -> Result<Listed, ApiError> {
        if user.is_in(MASTERS) {
            return Ok(Listed::complete(PolicyRule::everything().to_vec()));
        }
        let mut all = Listed::default();
        for link in &self.links {
            let more = link.rules(user, namespace).await?;
            all.rules.extend(more.rules);
            all.gaps.extend(more.gaps);
        }
        Ok(all)
    }
}

/// The same answer to everything.
struct Always {
    allow: bool,
}

#[async_trait::async_trait]
impl Authorizer for Always {
    async fn authorize(&self, _attributes: &Attributes) -> Decision {
        match self.allow {
            true => Decision::Allow { reason: String::new() },
            false => Decision::NoOpinion {
                reason: "Everything is forbidden.".into(),
            },
        }
    }

    async fn rules(&self, _user: &User, _namespace: &str) -> Result<Listed, ApiError> {
        Ok(Listed::complete(match self.allow {
            true => PolicyRule::everything().to_vec(),
            false => Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestInfo;

    struct Says(Decision);

    #[async_trait::async_trait]
    impl Authorizer for Says {
        async fn authorize(&self, _attributes: &Attributes) -> Decision {
            self.0.clone()
        }

        async fn rules(&self, _user: &User, _namespace: &str) -> Result<Listed, ApiError> {
            Ok(Listed::default())
        }
    }

    fn allow() -> Decision {
        Decision::Allow { reason: "a".into() }
    }

    fn deny() -> Decision {
        Decision::Deny { reason: "d".into() }
    }

    fn none(reason: &str) -> Decision {
        Decision::NoOpinion { reason: reason.into() }
    }

    async fn decide(user: User, decisions: Vec<Decision>) -> Decision {
        let links = decisions
            .into_iter()
            .map(|says| Arc::new(Says(says)) as Arc<dyn Authorizer>);
        let chain = Chain { links: links.collect() };
        let info = RequestInfo::default();
        chain.authorize(&Attributes { user, info }).await
    }

    #[tokio::test]
    async fn the_first_opinion_decides_and_a_denial_is_one() {
        let anna = || User::new("anna", &[]);
        assert_eq!(decide(anna(), vec![deny(), allow()]).await, deny());
        assert_eq!(decide(anna(), vec![none("x"), allow(), deny()]).await, allow());
        assert_eq!(decide(anna(), vec![none("x"), none(""), none("y")]).await, none("x\ny"));
        assert_eq!(decide(anna(), Vec::new()).await, none(""), "nobody said yes");
        let root = User::new("root", &[MASTERS]);
        assert!(matches!(decide(root, vec![deny()]).await, Decision::Allow { .. }));
    }
}
