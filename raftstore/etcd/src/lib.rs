//! The etcd v3 door: one file per etcd gRPC service, over the store.
