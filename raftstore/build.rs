//! Generates the gRPC service between members. Its messages are the `proto` crate's.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../proto/raft");
    println!("cargo:rerun-if-changed=../proto/etcd");
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .extern_path(".proreus.raft", "::proto::raft")
        .extern_path(".etcdserverpb", "::proto::etcd::etcdserverpb")
        .extern_path(".mvccpb", "::proto::etcd::mvccpb")
        .extern_path(".authpb", "::proto::etcd::authpb")
        .compile_protos(&["transport.proto"], &["../proto/raft", "../proto/etcd"])?;
    Ok(())
}
