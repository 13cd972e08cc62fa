//! The only part of the API server that knows the store: get, list, watch, create, replace, remove, guaranteed_update.
//!
//! **Theory.** The replicated state machine is the cache: there is no second copy of the data and no second index. Objects are stored
//! as canonical JSON without their resourceVersion, which is the revision of the key's last change and is spliced into the bytes on
//! the way out ([`encode`]). What selectors need is parsed once per entry and kept in the entry's slot ([`Meta`]); watch frames are
//! encoded once per event and kept in the event's slot.
//!
//! **Promises.** A write happens only if the object is still what the caller saw, and if the caller's [`Fence`] still holds, decided by
//! the store in one transaction. A list is one revision. A watch has no gap and no duplicate, and ends with [`Error::Expired`]
//! when its start is compacted. Reads never re-encode.
//!
//! A stored value that cannot be read (written by something else, or damaged) is left out of lists and watches and logged with its
//! key, so that it cannot take its whole kind with it; a get of it fails with [`Error::Corrupt`], and [`Storage::purge`] removes it.
//!
//! **Left out.** Encryption at rest; conversion between API versions (there is one stored version per resource).

mod collection;
mod compaction;
mod continuation;
pub mod encode;
mod error;
mod fence;
mod frames;
mod item;
pub mod limits;
mod list;
mod meta;
#[cfg(feature = "planted")]
pub mod planted;
mod pluck;
mod recency;
mod storage;
mod watch;
mod write;

pub use collection::Collection;
pub use error::{Error, Retry, StoreError};
pub use fence::{Fence, Guard};
pub use item::Item;
pub use list::{Freshness, ListQuery, Matcher, Page};
pub use meta::{Fields, Meta};
pub use storage::{Attempt, Current, Storage};
pub use watch::{Change, ChangeKind, Start, Watch, WatchEvent, WatchQuery};
