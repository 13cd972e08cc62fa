//! `/metrics`: what this member is and does, in Prometheus' text form and under etcd's names, so that dashboards and alerts
//! made for etcd read it. Read off the store when asked; nothing is counted beside it.
//!
//! Left out: what etcd measures and this door does not, latencies above all.

use std::fmt::{Display, Write};

use crate::{CLUSTER_VERSION, VERSION, door::Door};

/// The page.
pub(crate) fn page(door: &Door) -> String {
    let (status, view) = (door.store.status(), door.store.view());
    let leads = u8::from(door.is_leading());
    let mut page = Page::default();
    page.gauge(
        "etcd_server_has_leader",
        "Whether or not a leader exists.",
        u8::from(door.has_leader()),
    );
    page.gauge("etcd_server_is_leader", "Whether or not this member leads.", leads);
    page.gauge(
        "etcd_server_is_learner",
        "Whether or not this member has no vote.",
        u8::from(status.learner),
    );
    page.labelled(
        "etcd_server_id",
        "This member's id.",
        "server_id",
        &format!("{:x}", status.member_id),
    );
    page.labelled(
        "etcd_server_version",
        "The etcd that this door behaves as.",
        "server_version",
        VERSION,
    );
    page.labelled(
        "etcd_cluster_version",
        "The cluster version that belongs to it.",
        "cluster_version",
        CLUSTER_VERSION,
    );
    page.gauge(
        "etcd_server_proposals_committed_total",
        "The last committed log entry.",
        status.committed_index,
    );
    page.gauge(
        "etcd_server_proposals_applied_total",
        "The last applied log entry.",
        status.applied_index,
    );
    page.gauge(
        "etcd_server_quota_backend_bytes",
        "Bytes from which on writes are refused.",
        status.quota_bytes,
    );
    page.gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Bytes of the tables.",
        status.size_bytes,
    );
    page.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Bytes of the tables that are in use.",
        status.size_bytes,
    );
    page.gauge("etcd_debugging_mvcc_keys_total", "Live keys.", view.key_count());
    page.gauge(
        "etcd_debugging_mvcc_current_revision",
        "The store's revision.",
        view.revision(),
    );
    page.gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The compacted revision.",
        view.compacted(),
    );
    page.gauge("etcd_debugging_lease_total", "Leases.", view.leases().count());
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help);
        let _ = writeln!(self.text, "{name} {value}");
    }

    /// A value that is a word: as a label of a 1.
    fn labelled(&mut self, name: &str, help: &str, label: &str, value: &str) {
        self.head(name, help);
        let _ = writeln!(self.text, "{name}{{{label}=\"{value}\"}} 1");
    }
}
