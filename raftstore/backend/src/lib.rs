//! The mvcc backend over RocksDB; the only crate that links it.
