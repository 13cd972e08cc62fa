//! The .proto files and generated messages: etcd v3 and the Raft transport.
