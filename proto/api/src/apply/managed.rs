//! `metadata.managedFields`: the entries, as they are stored.

use super::{Set, Writer};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Managers of updates that one object keeps apart; older ones become one.
const UPDATE_MANAGERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// What the server itself sets, and what names the object: owned by nobody.
pub(super) static NOBODYS: LazyLock<Set> = LazyLock::new(|| {
    let fields = json!({"f:apiVersion": {}, "f:kind": {}, "f:metadata": {".": {}, "f:name": {}, "f:namespace": {},
        "f:creationTimestamp": {}, "f:selfLink": {}, "f:uid": {}, "f:generation": {}, "f:managedFields": {},
        "f:resourceVersion": {}, "f:deletionTimestamp": {}, "f:deletionGracePeriodSeconds": {}}});
    Set::parse(&fields).unwrap_or_default()
});

/// How a manager came to own its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By applying its whole opinion.
    Apply,
    /// By any other write.
    Update,
}

/// The fields of one manager.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub manager: String,
    /// How it writes.
    pub operation: Operation,
    /// `apps/v1`.
    pub api_version: String,
    /// RFC 3339, if known.
    pub time: Option<String>,
    /// Empty for the object itself.
    pub subresource: String,
    /// What it owns.
    pub set: Set,
}

/// Every manager of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managed {
    pub(super) entries: Vec<Entry>,
}

impl Entry {
    fn parse(entry: &Value) -> Option<Entry> {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let fields = entry.get("fieldsV1").filter(|_| text("fieldsType") == "FieldsV1");
        Some(Entry {
            manager: text("manager"),
            operation: match text("operation").as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            },
            api_version: text("apiVersion"),
            time: Some(text("time")).filter(|time| !time.is_empty()),
            subresource: text("subresource"),
            set: Set::parse(fields.unwrap_or(&json!({})))?,
        })
    }

    fn render(&self) -> Value {
        let mut entry = Map::new();
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        entry.insert("apiVersion".into(), self.api_version.as_str().into());
        entry.insert("fieldsType".into(), "FieldsV1".into());
        entry.insert("fieldsV1".into(), self.set.render());
        entry.insert("operation".into(), operation.into());
        let optional = [
            ("manager", Some(&self.manager)),
            ("time", self.time.as_ref()),
            ("subresource", Some(&self.subresource)),
        ];
        for (field, value) in optional {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                entry.insert(field.into(), value.as_str().into());
            }
        }
        Value::Object(entry)
    }

    /// Appliers keep their fields when they go to another version; updaters have an entry for each.
    fn is(&self, writer: Writer<'_>, operation: Operation) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && self.subresource == writer.subresource
            && (operation == Operation::Apply || self.api_version == writer.api_version)
    }

    /// As conflicts name it.
    pub(super) fn printed(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
            if let Some(time) = &self.time {
                text += &format!(" at {time}");
            }
        }
        text
    }
}

impl Managed {
    /// Whether `metadata.managedFields` asks for all records to be dropped: one empty entry.
    pub fn is_reset(fields: Option<&Value>) -> bool {
        let entries = fields.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        matches!(entries, [Value::Object(entry)] if entry.is_empty())
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads `metadata.managedFields`; `None` when it is not what that should be.
    pub fn parse(fields: Option<&Value>) -> Option<Managed> {
        let entries = match fields {
            None | Some(Value::Null) => return Some(Managed::default()),
            Some(fields) => fields.as_array()?,
        };
        let entries: Option<Vec<Entry>> = entries.iter().map(Entry::parse).collect();
        Some(Managed { entries: entries? })
    }

    /// As `metadata.managedFields`; `None` when nobody owns anything.
    pub fn render(&self) -> Option<Value> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        let key = |entry: &Entry| {
            let Entry {
                operation,
                time,
                manager,
                api_version,
                subresource,
                ..
            } = entry;
            (
                *operation,
                time.clone(),
                manager.clone(),
                api_version.clone(),
                subresource.clone(),
            )
        };
        entries.sort_by_key(|entry| key(entry));
        (!entries.is_empty()).then(|| Value::Array(entries.into_iter().map(Entry::render).collect()))
    }

    /// The entries, in no order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn position(&self, writer: Writer<'_>, operation: Operation) -> Option<usize> {
        self.entries.iter().position(|entry| entry.is(writer, operation))
    }

    /// The writer's entry, made if it has none.
    pub(super) fn entry(&mut self, writer: Writer<'_>, operation: Operation) -> &mut Entry {
        let index = self.position(writer, operation).unwrap_or_else(|| {
            self.entries.push(Entry {
                manager: writer.manager.to_owned(),
                operation,
                api_version: writer.api_version.to_owned(),
                time: None,
                subresource: writer.subresource.to_owned(),
                set: Set::default(),
            });
            self.entries.len() - 1
        });
        &mut self.entries[index]
    }

    /// Notes when the writer's entry changed.
    pub(super) fn touch(&mut self, writer: Writer<'_>, operation: Operation) {
        if let Some(index) = self.position(writer, operation) {
            self.entries[index].time = Some(writer.now.to_owned());
            self.entries[index].api_version = writer.api_version.to_owned();
        }
    }

    /// Drops what nobody owns and who owns nothing.
    pub(super) fn tidy(&mut self) {
        for entry in &mut self.entries {
            entry.set.subtract(&NOBODYS);
        }
        self.entries.retain(|entry| !entry.set.is_empty());
    }

    /// Whether anybody's fields differ.
    pub(super) fn sets_differ(&self, other: &Managed) -> bool {
        let differs = |entry: &Entry| {
            let same = |e: &&Entry| {
                (&e.manager, e.operation, &e.subresource) == (&entry.manager, entry.operation, &entry.subresource)
            };
            other
                .entries
                .iter()
                .find(same)
                .is_none_or(|found| found.set != entry.set)
        };
        self.entries.len() != other.entries.len() || self.entries.iter().any(differs)
    }

    /// Keeps the number of managers bounded: the oldest updaters become one.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<usize> = (0..self.entries.len())
            .filter(|index| self.entries[*index].operation == Operation::Update)
            .collect();
        if updaters.len() <= UPDATE_MANAGERS_MAX {
            return;
        }
        updaters.sort_by_key(|index| {
            let entry = &self.entries[*index];
            (entry.manager != ANCIENT, entry.time.clone())
        });
        updaters.truncate(updaters.len() - UPDATE_MANAGERS_MAX + 1);
        updaters.sort_unstable();
        let mut ancient: Option<Entry> = None;
        for index in updaters.into_iter().rev() {
            let entry = self.entries.remove(index);
            match &mut ancient {
                None => ancient = Some(entry),
                Some(ancient) => {
                    ancient.set.unite(&entry.set);
                    ancient.time = ancient.time.take().max(entry.time);
                }
            }
        }
        self.entries.extend(ancient.map(|entry| Entry {
            manager: ANCIENT.to_owned(),
            subresource: String::new(),
            ..entry
        }));
    }
}
