//! The only part of the API server that knows the store: get, list, watch, guaranteed_update.

/// A condition that every write of a leader-elected component carries: the fence key was last modified at `token`. Storage turns
/// it into a compare of the same transaction, so a deposed component's late write is refused by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub key: Vec<u8>,
    pub token: i64,
}

/// The Kubernetes keyspace over the replicated store. Cheap to clone.
#[derive(Clone)]
pub struct Storage {}
