//! Every bound of this crate, by name.

use std::time::Duration;

/// How long connecting to one master (TCP and TLS together) may take before the next one is tried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A silent HTTP/2 connection is pinged this often, so that a watch notices a master that vanished without a word.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the answer to such a ping may take.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the list of masters is read again.
pub const SERVERS_REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// The server ends a watch after this long; spread by as much again so that watches do not all end at once.
pub const WATCH_TIMEOUT_SECONDS: u32 = 300;

/// Objects per page of a list.
pub const LIST_PAGE_SIZE: u32 = 5000;

/// The largest accepted watch line. An object is bounded by the API (about 1.5 MiB); its frame may hold managed fields.
pub const WATCH_LINE_BYTES_MAX: usize = 16 << 20;

/// The largest answer body read for an error Status.
pub const ERROR_BODY_BYTES_MAX: usize = 1 << 20;

/// First and last delay between attempts of a failing list or watch.
pub const RELIST_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// See [`RELIST_BACKOFF_MIN`].
pub const RELIST_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// First and last delay of a failing item of a work queue.
pub const ITEM_BACKOFF_MIN: Duration = Duration::from_millis(5);
/// See [`ITEM_BACKOFF_MIN`].
pub const ITEM_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How long an expectation may stay unfulfilled before it is ignored: the watch event it waits for may never come.
pub const EXPECTATION_TIMEOUT: Duration = Duration::from_secs(300);

/// Events waiting to be written; more are dropped (and counted), because an event must never slow its component.
pub const EVENT_QUEUE_LEN: usize = 1024;

/// Distinct events whose count the recorder remembers.
pub const EVENT_CACHE_LEN: usize = 4096;

/// An event seen again within this time raises the count of the old one instead of making a new object.
pub const EVENT_AGGREGATION_WINDOW: Duration = Duration::from_secs(600);

/// Longest message of an Event; the API refuses more.
pub const EVENT_MESSAGE_BYTES_MAX: usize = 1024;

/// How long a Lease object promises that its holder lives.
pub const LEASE_DURATION_SECONDS: i32 = 15;

/// How often the Lease object is renewed.
pub const LEASE_RENEW_INTERVAL: Duration = Duration::from_secs(5);

const _: () = assert!(LEASE_RENEW_INTERVAL.as_secs() * 2 < LEASE_DURATION_SECONDS as u64);
const _: () = assert!(RELIST_BACKOFF_MIN.as_millis() < RELIST_BACKOFF_MAX.as_millis());
const _: () = assert!(ITEM_BACKOFF_MIN.as_millis() < ITEM_BACKOFF_MAX.as_millis());

/// How long a request for a certificate is waited for before its holder asks again.
pub const CERTIFICATE_WAIT: Duration = Duration::from_secs(15 * 60);

/// At which share of its time a certificate is renewed.
pub const RENEWAL_SHARE: std::ops::Range<f64> = 0.7..0.9;

/// The pause after a renewal that failed.
pub const RENEWAL_RETRY: Duration = Duration::from_secs(30);

/// How long at most until a certificate is looked at again.
pub const RENEWAL_LOOK_MAX: Duration = Duration::from_secs(3600);
