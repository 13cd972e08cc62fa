//! How RocksDB is set up, in one place.

use mvcc::{FAMILIES, Family};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, LogLevel, Options, ReadOptions, WriteOptions,
};

use crate::limits;

const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// Options of the database as a whole.
pub(crate) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Without a write-ahead log this is what makes a crash leave a prefix of the writes in all families alike.
    options.set_atomic_flush(true);
    options.set_db_write_buffer_size(limits::WRITE_BUFFERS_TOTAL_BYTES);
    options.set_max_open_files(limits::OPEN_FILES_MAX);
    options.set_max_background_jobs(limits::BACKGROUND_JOBS_MAX);
    options.set_keep_log_file_num(limits::INFO_LOGS_MAX);
    options.set_max_log_file_size(limits::INFO_LOG_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options
}

/// Every column family, sharing one cache.
pub(crate) fn families(cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let named = FAMILIES
        .iter()
        .map(|family| ColumnFamilyDescriptor::new(family.name(), column_family(*family, cache)));
    named.collect()
}

fn column_family(family: Family, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Indexes and filters count against the cache instead of growing with the number of files.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if family == Family::Rev {
        // The family that is read by point; `history` is only ever scanned.
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(limits::WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(limits::WRITE_BUFFERS_MAX);
    options.set_arena_block_size(limits::ARENA_BLOCK_BYTES);
    options
}

/// Writes go past the write-ahead log: the Raft log is it.
pub(crate) fn write() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// A scan of a whole table should not push everything else out of the cache.
pub(crate) fn scan(whole_table: bool) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(!whole_table);
    options
}
