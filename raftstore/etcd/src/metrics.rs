//! `/metrics`: what this member is and does, in Prometheus' text form and under etcd's names, so that dashboards and alerts
//! made for etcd read it. Names, labels and units are etcd's; what a histogram counts is said in its help.
//!
//! Left out: what this store does not have (a database file that is defragmented, snapshots in files), and Go's own.

use std::fmt::{Display, Write};

use proto::etcd::etcdserverpb::AlarmType;
use raftstore::metrics::Measured;

use crate::{CLUSTER_VERSION, VERSION, door::Door, process};

/// The page.
pub(crate) fn page(door: &Door) -> String {
    let mut page = Page::default();
    server(&mut page, door);
    disk(&mut page, door);
    network(&mut page, door);
    keys(&mut page, door);
    calls(&mut page, door);
    process(&mut page);
    page.text
}

fn server(page: &mut Page, door: &Door) {
    let (status, counted) = (door.store.status(), door.store.metrics());
    let leads = u8::from(door.is_leading());
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
    page.counter(
        "etcd_server_leader_changes_seen_total",
        "Times that another leader was seen.",
        counted.leader_changes.get(),
    );
    let id = format!("{:x}", status.member_id);
    page.labelled("etcd_server_id", "This member's id.", "server_id", &id);
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
        "etcd_server_proposals_pending",
        "Requests proposed and not yet answered.",
        counted.proposals_pending.get(),
    );
    page.counter(
        "etcd_server_proposals_failed_total",
        "Requests that could not be proposed or were lost.",
        counted.proposals_failed.get(),
    );
    page.gauge(
        "etcd_server_quota_backend_bytes",
        "Bytes from which on writes are refused.",
        status.quota_bytes,
    );
    page.head("etcd_debugging_server_alarms", "Alarms that are raised.", "gauge");
    for alarm in door.store.view().alarms() {
        let kind = AlarmType::try_from(alarm.alarm).map_or("", |alarm| alarm.as_str_name());
        let labels = format!("server_id=\"{:x}\",alarm_type=\"{kind}\"", alarm.member_id);
        page.sample("etcd_debugging_server_alarms", &labels, 1);
    }
}

fn disk(page: &mut Page, door: &Door) {
    let counted = door.store.metrics();
    page.histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "Syncs of the log.",
        &counted.log_sync.read(),
    );
    page.counter(
        "etcd_disk_wal_write_bytes_total",
        "Bytes written to the log.",
        counted.log_bytes.get(),
    );
    page.histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "Applying a log entry and writing its effects to the tables.",
        &counted.apply.read(),
    );
    page.histogram(
        "etcd_disk_backend_snapshot_duration_seconds",
        "Making the tables durable.",
        &counted.flush.read(),
    );
}

fn network(page: &mut Page, door: &Door) {
    let name = "etcd_network_peer_round_trip_time_seconds";
    page.head(
        name,
        "Between an append and its answer, while this member leads.",
        "histogram",
    );
    for (peer, measured) in door.store.metrics().round_trips() {
        page.buckets(name, &format!("To=\"{peer:x}\""), &measured);
    }
    page.counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes received from clients.",
        door.calls.received_bytes.get(),
    );
    page.counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes sent to clients.",
        door.calls.sent_bytes.get(),
    );
}

fn keys(page: &mut Page, door: &Door) {
    let (status, view, counted) = (door.store.status(), door.store.view(), door.store.metrics());
    for (name, help, value) in [
        ("etcd_mvcc_range_total", "Ranges answered.", counted.ranges.get()),
        ("etcd_mvcc_put_total", "Keys put.", counted.puts.get()),
        ("etcd_mvcc_delete_total", "Keys deleted.", counted.deletes.get()),
        ("etcd_mvcc_txn_total", "Transactions applied.", counted.txns.get()),
        (
            "etcd_debugging_mvcc_events_total",
            "Events given to watchers.",
            door.calls.events.get(),
        ),
        (
            "etcd_debugging_lease_granted_total",
            "Leases granted.",
            counted.leases_granted.get(),
        ),
        (
            "etcd_debugging_lease_revoked_total",
            "Leases ended.",
            counted.leases_revoked.get(),
        ),
        (
            "etcd_debugging_lease_renewed_total",
            "Leases extended.",
            counted.leases_renewed.get(),
        ),
    ] {
        page.counter(name, help, value);
    }
    for (name, help, value) in [
        (
            "etcd_mvcc_db_total_size_in_bytes",
            "Bytes of the tables.",
            status.size_bytes,
        ),
        (
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "Bytes of the tables in use.",
            status.size_bytes,
        ),
        (
            "etcd_debugging_mvcc_total_put_size_in_bytes",
            "Bytes put.",
            counted.put_bytes.get(),
        ),
        (
            "etcd_debugging_mvcc_watch_stream_total",
            "Watch streams.",
            door.calls.watch_streams.get(),
        ),
        (
            "etcd_debugging_mvcc_watcher_total",
            "Watchers.",
            door.calls.watchers.get(),
        ),
        (
            "etcd_debugging_auth_revision",
            "The revision of users and roles.",
            view.auth().revision(),
        ),
    ] {
        page.gauge(name, help, value);
    }
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
}

fn calls(page: &mut Page, door: &Door) {
    let labels = |call: &crate::calls::Call| {
        let (kind, service, method) = (call.kind, &call.service, &call.method);
        format!("grpc_type=\"{kind}\",grpc_service=\"{service}\",grpc_method=\"{method}\"")
    };
    page.head("grpc_server_started_total", "Calls that began.", "counter");
    for call in door.calls.all() {
        page.sample("grpc_server_started_total", &labels(call), call.started.get());
    }
    page.head("grpc_server_handled_total", "Calls that ended, by code.", "counter");
    for call in door.calls.all() {
        for (code, count) in call.handled() {
            let labels = format!("{},grpc_code=\"{code}\"", labels(call));
            page.sample("grpc_server_handled_total", &labels, count);
        }
    }
    page.head("grpc_server_handling_seconds", "How long calls took.", "histogram");
    for call in door.calls.all().filter(|call| call.started.get() > 0) {
        page.buckets("grpc_server_handling_seconds", &labels(call), &call.took.read());
    }
}

fn process(page: &mut Page) {
    let usage = process::Usage::read();
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory of this process.",
            usage.memory_bytes,
        ),
        ("process_open_fds", "Open files of this process.", usage.files),
        ("process_max_fds", "Files that it may open.", usage.files_max),
    ] {
        if let Some(value) = value {
            page.gauge(name, help, value);
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.text, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        let _ = writeln!(self.text, "{name} {value}");
    }

    /// A value that is a word: as a label of a 1.
    fn labelled(&mut self, name: &str, help: &str, label: &str, value: &str) {
        self.head(name, help, "gauge");
        self.sample(name, &format!("{label}=\"{value}\""), 1);
    }

    fn histogram(&mut self, name: &str, help: &str, measured: &Measured) {
        self.head(name, help, "histogram");
        self.buckets(name, "", measured);
    }

    fn buckets(&mut self, name: &str, labels: &str, measured: &Measured) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in &measured.cumulative {
            let bound = if bound.is_finite() {
                bound.to_string()
            } else {
                "+Inf".into()
            };
            self.sample(
                &format!("{name}_bucket"),
                &format!("{labels}{comma}le=\"{bound}\""),
                count,
            );
        }
        let all = measured.cumulative.last().map_or(0, |(_, count)| *count);
        let braced = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        let _ = writeln!(self.text, "{name}_sum{braced} {}", measured.sum_s);
        let _ = writeln!(self.text, "{name}_count{braced} {all}");
    }
}
