//! Writes `core/v1` Events about objects. Repeats raise the count of the Event that exists. Never slows or fails its
//! component: a full queue drops, a failed write is logged.

use std::collections::HashMap;
use std::time::Instant;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::request::MetaOnly;
use crate::{Client, Error, Key, Meta, Patch, Resource, limits};

const EVENTS: Resource = Resource::namespaced("", "v1", "Event", "events");

/// How an Event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something happened as it should.
    Normal,
    /// Somebody may have to look.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// The object an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ObjectReference {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Empty for a cluster-scoped object, whose Events go to `default`.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Part of the object, as `spec.containers{web}`; empty for the whole.
    pub field_path: String,
}

impl ObjectReference {
    /// The whole object with this metadata.
    pub fn of(resource: &Resource, meta: &Meta) -> Self {
        ObjectReference {
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            field_path: String::new(),
        }
    }

    /// A part of the object.
    pub fn field(mut self, path: impl Into<String>) -> Self {
        self.field_path = path.into();
        self
    }

    fn to_json(&self) -> Value {
        let mut value =
            json!({ "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid });
        if !self.namespace.is_empty() {
            value["namespace"] = json!(self.namespace);
        }
        if !self.field_path.is_empty() {
            value["fieldPath"] = json!(self.field_path);
        }
        value
    }
}

/// What makes two occurrences the same Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
}

struct Seen {
    name: String,
    count: u32,
    last: Instant,
}

/// A handle with which a component writes Events. Cloning is cheap.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Identity>,
}

impl Recorder {
    /// Events from `component` (as `kubelet`) on `host` (a node's name, or empty). The writer ends with the last clone.
    pub fn new(client: Client, component: impl Into<String>, host: impl Into<String>) -> Self {
        let (queue, incoming) = mpsc::channel(limits::EVENT_QUEUE_LEN);
        let writer = Writer {
            client,
            component: component.into(),
            host: host.into(),
            seen: HashMap::new(),
        };
        tokio::spawn(writer.run(incoming));
        Recorder { queue }
    }

    /// Writes an Event, or drops it if too many wait.
    pub fn event(
        &self,
        about: &ObjectReference,
        kind: EventType,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) {
        let identity = Identity {
            about: about.clone(),
            kind,
            reason: reason.into(),
            message: cut(message.into()),
        };
        if let Err(error) = self.queue.try_send(identity) {
            tracing::debug!(%error, "event dropped");
        }
    }

    /// A Normal event.
    pub fn normal(&self, about: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(about, EventType::Normal, reason, message);
    }

    /// A Warning.
    pub fn warning(&self, about: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(about, EventType::Warning, reason, message);
    }
}

/// Shortens a message to what the API takes, at a character's border.
fn cut(mut message: String) -> String {
    if message.len() > limits::EVENT_MESSAGE_BYTES_MAX {
        let mut end = limits::EVENT_MESSAGE_BYTES_MAX - 3;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str("...");
    }
    message
}

struct Writer {
    client: Client,
    component: String,
    host: String,
    seen: HashMap<Identity, Seen>,
}

impl Writer {
    async fn run(mut self, mut incoming: mpsc::Receiver<Identity>) {
        while let Some(identity) = incoming.recv().await {
            if let Err(error) = self.write(&identity).await {
                if error.is_fence_lost() {
                    return;
                }
                tracing::debug!(%error, reason = identity.reason, "event not written");
            }
        }
    }

    async fn write(&mut self, identity: &Identity) -> Result<(), Error> {
        let now = Instant::now();
        if let Some(seen) = self.seen.get_mut(identity)
            && now.duration_since(seen.last) < limits::EVENT_AGGREGATION_WINDOW
        {
            seen.last = now;
            seen.count += 1;
            let key = Key::new(namespace(&identity.about), &seen.name);
            let body = json!({ "count": seen.count, "lastTimestamp": time(Timestamp::now()) });
            match self
                .client
                .patch::<Ignored>(&EVENTS, &key, None, Patch::Merge, &body)
                .await
            {
                Err(error) if error.is_not_found() => {}
                result => return result.map(|_| ()),
            }
        }
        let name = self.create(identity).await?;
        if self.seen.len() >= limits::EVENT_CACHE_LEN {
            self.forget_older_half();
        }
        self.seen.insert(
            identity.clone(),
            Seen {
                name,
                count: 1,
                last: now,
            },
        );
        Ok(())
    }

    async fn create(&self, identity: &Identity) -> Result<String, Error> {
        let now = Timestamp::now();
        let name = format!("{}.{:x}", identity.about.name, now.as_nanosecond());
        let namespace = namespace(&identity.about);
        let mut source = json!({ "component": self.component });
        if !self.host.is_empty() {
            source["host"] = json!(self.host);
        }
        let event = json!({
            "metadata": { "name": name, "namespace": namespace },
            "involvedObject": identity.about.to_json(),
            "reason": identity.reason,
            "message": identity.message,
            "type": identity.kind.as_str(),
            "source": source,
            "firstTimestamp": time(now),
            "lastTimestamp": time(now),
            "count": 1,
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        });
        let created: MetaOnly = self.client.create(&EVENTS, Some(namespace), &event).await?;
        Ok(created.metadata.name)
    }

    fn forget_older_half(&mut self) {
        let mut times: Vec<_> = self.seen.values().map(|s| s.last).collect();
        times.sort();
        let middle = times[times.len() / 2];
        self.seen.retain(|_, s| s.last > middle);
    }
}

/// An answer nobody reads.
#[derive(Deserialize)]
struct Ignored {}

fn namespace(about: &ObjectReference) -> &str {
    if about.namespace.is_empty() {
        "default"
    } else {
        &about.namespace
    }
}

/// A time as the API writes it: whole seconds.
fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let long = "ö".repeat(limits::EVENT_MESSAGE_BYTES_MAX);
        let short = cut(long);
        assert!(short.len() <= limits::EVENT_MESSAGE_BYTES_MAX && short.ends_with("..."));
        assert_eq!(cut("short".to_owned()), "short");
    }

    #[test]
    fn times_have_whole_seconds() {
        let now: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(time(now), "2026-01-02T03:04:05Z");
    }
}
