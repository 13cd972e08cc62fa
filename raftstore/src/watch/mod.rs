//! The watch hub: who wants to know of which keys, and how they are told.
//!
//! Theory. Apply hands the hub one [`Block`](mvcc::Block) a revision. The hub keeps the newest blocks in a ring bounded by
//! bytes, finds the watchers whose range a block touches, and notes the revision's number in each one's inbox. That is all
//! apply ever does: a number, not the block, so a stalled watcher costs eight bytes a revision until its inbox is full,
//! and then nothing. A watcher fetches the blocks of its numbers from the ring when it gets to run. What the ring no
//! longer has, it reads back from the tables, and when those are compacted it is told so.
//!
//! Promises. Every block that touches the range from the start revision on is delivered once, whole and in order, or the
//! watcher learns that a compaction took it. Progress is reported in order too: all blocks up to its revision came before.
//!
//! Left out. Filtering and encoding of events (the receivers'); an interval tree (ranges are looked up by their start).

mod hub;
mod registry;
mod ring;
mod watcher;

#[cfg(test)]
mod tests;

pub use hub::{History, Hub, ReadBack};
pub use watcher::{Delivery, WatchSpec, Watcher};
