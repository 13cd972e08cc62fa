//! Conditions of a write on something else than the object written.

/// A condition that every write of a leader-elected component carries: the fence key was last modified at `token`. Storage turns
/// it into a compare of the same transaction, so a deposed component's late write is refused by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub key: Vec<u8>,
    pub token: i64,
}

/// An object that a write depends on (the namespace that something is created in, the quota that it is charged to): it was last
/// modified at `revision`, and if it has changed by the time of the write, the write is refused with [`crate::Error::Moved`].
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Of the object; [`crate::Collection::key`].
    pub key: String,
    pub revision: i64,
    /// What the object becomes in the same transaction, if it is to change along with the write.
    pub becomes: Option<serde_json::Value>,
}
