//! Named limits: what RocksDB may keep in memory and open.

/// Blocks of tables, indexes and filters, shared by all column families.
pub const BLOCK_CACHE_BYTES: usize = 32 << 20;

/// Writes of one column family before all are flushed.
pub const WRITE_BUFFER_BYTES: usize = 8 << 20;

/// Writes of all column families before all are flushed.
pub const WRITE_BUFFERS_TOTAL_BYTES: usize = 24 << 20;

/// What a memory table grows by. Idle column families hold one.
pub(crate) const ARENA_BLOCK_BYTES: usize = 64 << 10;

/// Memory tables of one column family: one written to, one being flushed.
pub(crate) const WRITE_BUFFERS_MAX: i32 = 2;

/// Open table files.
pub(crate) const OPEN_FILES_MAX: i32 = 512;

/// Flushes and compactions at once.
pub(crate) const BACKGROUND_JOBS_MAX: i32 = 2;

/// Old info logs of RocksDB, and the size of one.
pub(crate) const INFO_LOGS_MAX: usize = 2;
pub(crate) const INFO_LOG_BYTES: usize = 1 << 20;

/// The list of files that opens a snapshot stream.
pub(crate) const STREAM_LIST_BYTES_MAX: usize = 16 << 20;

const _: () = assert!(WRITE_BUFFER_BYTES <= WRITE_BUFFERS_TOTAL_BYTES);
const _: () = assert!(
    BLOCK_CACHE_BYTES + 2 * WRITE_BUFFERS_TOTAL_BYTES <= 96 << 20,
    "written and flushing buffers with the cache must leave the process small"
);
