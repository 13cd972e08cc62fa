//! RBAC over the stored roles and bindings.
//!
//! **Promise.** A decision is made on this member's state at the moment of the request: what it has applied is what
//! counts, without a cache that lags. Parsed rules are kept and used again as long as no role or binding has changed.

use super::resolver::{Binding, Grants, RoleRef, Who};
use super::rules::PolicyRule;
use super::{Attributes, Authorizer, Decision, Listed};
use crate::registry::Reader;
use crate::registry::fields::{name, namespace};
use crate::{ApiError, User};
use arc_swap::ArcSwapOption;
use serde_json::Value;
use std::sync::Arc;
use storage::Item;

const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const CLUSTER_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
const ROLES: &str = "roles.rbac.authorization.k8s.io";
const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";

/// See the module.
pub struct Rbac {
    reader: Reader,
    cached: ArcSwapOption<Cached>,
}

struct Cached {
    /// At this revision the grants were what they are; at the same one they need not be looked at.
    revision: i64,
    /// Of the four lists the grants were parsed from.
    print: Vec<Print>,
    grants: Arc<Grants>,
}

/// Tells whether a list has changed. Revisions only grow, so an update or a create raises the sum and a delete lowers the
/// count; a delete and a create together still change the sum, because the new revision is above all old ones.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Print {
    count: usize,
    sum: i128,
}

impl Rbac {
    /// Decides from what `reader` sees.
    pub fn new(reader: Reader) -> Rbac {
        Rbac {
            reader,
            cached: ArcSwapOption::empty(),
        }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// All grants of the cluster as this member has applied them.
    pub async fn grants(&self) -> Result<Arc<Grants>, ApiError> {
        // Read before the lists: they may be newer than it says, never older.
        let revision = self.reader.storage().revision();
        let cached = self.cached.load_full();
        if let Some(cached) = cached.as_ref().filter(|cached| cached.revision == revision) {
            return Ok(cached.grants.clone());
        }
        let mut lists = Vec::with_capacity(4);
        for resource in [CLUSTER_ROLES, CLUSTER_BINDINGS, ROLES, BINDINGS] {
            lists.push(self.reader.local_items(resource, "").await?);
        }
        let print: Vec<Print> = lists.iter().map(|items| Print::of(items)).collect();
        let unchanged = cached
            .filter(|cached| cached.print == print)
            .map(|cached| cached.grants.clone());
        let grants = unchanged.unwrap_or_else(|| Arc::new(parse(&lists)));
        let cached = Cached {
            revision,
            print,
            grants: grants.clone(),
        };
        self.cached.store(Some(Arc::new(cached)));
        Ok(grants)
    }

    /// The rules `who` holds in a namespace, or cluster-wide when it is empty.
    pub async fn rules(&self, who: Who<'_>, namespace: &str) -> Result<Vec<PolicyRule>, ApiError> {
        Ok(self.grants().await?.rules(who, namespace))
    }
}

impl Print {
    fn of(items: &[Item]) -> Print {
        Print {
            count: items.len(),
            sum: items.iter().map(|item| i128::from(item.revision())).sum(),
        }
    }
}

/// `lists`: cluster roles, cluster bindings, roles, bindings. An object that cannot be read grants nothing.
fn parse(lists: &[Vec<Item>]) -> Grants {
    let values = |index: usize| lists[index].iter().filter_map(|item| item.value().ok());
    let mut grants = Grants::default();
    for role in values(0) {
        grants.roles.insert(
            RoleRef::Cluster(name(&role).to_owned()),
            Arc::new(PolicyRule::list(&role)),
        );
    }
    for role in values(2) {
        let key = RoleRef::Namespaced {
            namespace: namespace(&role).to_owned(),
            name: name(&role).to_owned(),
        };
        grants.roles.insert(key, Arc::new(PolicyRule::list(&role)));
    }
    grants.cluster_bindings = values(1).filter_map(parsed).collect();
    for binding in values(3).filter_map(parsed) {
        grants
            .bindings
            .entry(binding.namespace.clone())
            .or_default()
            .push(binding);
    }
    grants
}

fn parsed(object: Value) -> Option<Arc<Binding>> {
    Binding::parse(&object).map(Arc::new)
}

#[async_trait::async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let grants = match self.grants().await {
            Ok(grants) => grants,
            Err(error) => {
                return Decision::NoOpinion {
                    reason: format!("RBAC: cannot read roles: {error}"),
                };
            }
        };
        let who = Who {
            name: &attributes.user.name,
            groups: &attributes.user.groups,
        };
        match grants.find(who, &attributes.action()) {
            Some(binding) => Decision::Allow {
                reason: granted_by(binding, &attributes.user.name),
            },
            None => Decision::NoOpinion { reason: String::new() },
        }
    }

    async fn rules(&self, user: &User, namespace: &str) -> Result<Listed, ApiError> {
        let who = Who {
            name: &user.name,
            groups: &user.groups,
        };
        Ok(Listed::complete(self.grants().await?.rules(who, namespace)))
    }
}

fn granted_by(binding: &Binding, user: &str) -> String {
    let (kind, role) = match &binding.role {
        RoleRef::Cluster(name) => ("ClusterRole", name),
        RoleRef::Namespaced { name, .. } => ("Role", name),
    };
    let (binding_kind, place) = match binding.namespace.as_str() {
        "" => ("ClusterRoleBinding", binding.name.clone()),
        namespace => ("RoleBinding", format!("{}/{namespace}", binding.name)),
    };
    format!("RBAC: allowed by {binding_kind} {place:?} of {kind} {role:?} to {user:?}")
}
