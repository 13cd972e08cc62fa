//! The fence of leader-elected components.

/// A condition that every write of a leader-elected component carries: the fence key was last modified at `token`. Storage turns
/// it into a compare of the same transaction, so a deposed component's late write is refused by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub key: Vec<u8>,
    pub token: i64,
}
