//! NodeResourcesFit: what a Pod asks for must be left of what its node can give. Tells every resource that is short.

use std::borrow::Cow;

use super::{Plugin, Refusal};
use crate::cache::{NodeInfo, PodInfo};

pub(super) fn filter(pod: &PodInfo, info: &NodeInfo) -> Option<Refusal> {
    let (wanted, used, total) = (&pod.requests, &info.requested, &info.allocatable);
    let mut reasons: Vec<Cow<'static, str>> = Vec::new();
    if used.pods + 1 > total.pods {
        reasons.push("Too many pods".into());
    }
    let basic = [
        (wanted.milli_cpu, used.milli_cpu, total.milli_cpu, "Insufficient cpu"),
        (wanted.memory, used.memory, total.memory, "Insufficient memory"),
        (
            wanted.ephemeral,
            used.ephemeral,
            total.ephemeral,
            "Insufficient ephemeral-storage",
        ),
    ];
    for (wanted, used, total, reason) in basic {
        if short(wanted, used, total) {
            reasons.push(reason.into());
        }
    }
    for (name, wanted) in &wanted.extended {
        let of = |amounts: &std::collections::BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or(0);
        if short(*wanted, of(&used.extended), of(&total.extended)) {
            reasons.push(format!("Insufficient {name}").into());
        }
    }
    (!reasons.is_empty()).then_some(Refusal {
        plugin: Plugin::NodeResourcesFit,
        reasons,
    })
}

/// What is not asked for is never short, even on a node that has too little of it already.
fn short(wanted: i64, used: i64, total: i64) -> bool {
    wanted > 0 && wanted > total - used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ClusterCache;
    use crate::testing;
    use std::sync::Arc;

    fn reasons(cpu: &str, extra: &[(&str, &str)], pods_total: &str) -> Vec<String> {
        let mut cache = ClusterCache::default();
        let mut node = testing::node("n", "2");
        node.status.allocatable.insert("pods".to_owned(), pods_total.to_owned());
        cache.set_node(Arc::new(node));
        cache.assume(Arc::new(PodInfo::new(Arc::new(testing::pod("there", "1")))), "n");
        let mut pod = testing::pod("p", cpu);
        let requests = &mut pod.spec.containers[0].resources.requests;
        requests.extend(extra.iter().map(|(k, v)| (k.to_string(), v.to_string())));
        let refusal = filter(&PodInfo::new(Arc::new(pod)), cache.node("n").unwrap());
        refusal
            .map(|r| r.reasons.iter().map(|r| r.to_string()).collect())
            .unwrap_or_default()
    }

    #[test]
    fn table() {
        assert!(reasons("1", &[], "110").is_empty(), "exactly what is left");
        assert_eq!(reasons("1001m", &[], "110"), ["Insufficient cpu"]);
        assert_eq!(
            reasons("2", &[("memory", "9Gi")], "110"),
            ["Insufficient cpu", "Insufficient memory"]
        );
        assert_eq!(
            reasons("1", &[("example.com/gpu", "1")], "110"),
            ["Insufficient example.com/gpu"]
        );
        assert_eq!(reasons("1", &[], "1"), ["Too many pods"]);
    }
}
