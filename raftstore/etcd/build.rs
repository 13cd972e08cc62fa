//! Generates the services; their messages are the `proto` crate's.
use std::{error::Error, path::PathBuf};

const ETCD: &str = "../../proto/etcd";
const FILES: [&str; 8] = [
    "rpc_kv.proto",
    "rpc_watch.proto",
    "rpc_lease.proto",
    "rpc_cluster.proto",
    "rpc_maintenance.proto",
    "rpc_auth.proto",
    "lock.proto",
    "election.proto",
];
const PACKAGES: [&str; 5] = ["authpb", "etcdserverpb", "mvccpb", "v3electionpb", "v3lockpb"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ETCD}");
    println!("cargo:rerun-if-changed=health.proto");
    let mut files = FILES.map(|file| format!("{ETCD}/{file}")).to_vec();
    files.push("health.proto".into());
    // The gateway translates by them.
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("services.bin");
    let mut builder = tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .file_descriptor_set_path(descriptors);
    for package in PACKAGES {
        builder = builder.extern_path(format!(".{package}"), format!("::proto::etcd::{package}"));
    }
    builder.compile_protos(&files, &[ETCD.into(), ".".into()])?;
    Ok(())
}
