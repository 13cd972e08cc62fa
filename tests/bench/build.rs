//! Generates clients of the etcd services that are measured, and the server of the bare echo; their messages are the
//! `proto` crate's.
use std::error::Error;

use tonic_prost_build::manual;

const ETCD: &str = "../../proto/etcd";
const FILES: [&str; 3] = ["rpc_kv.proto", "rpc_watch.proto", "rpc_maintenance.proto"];
const PACKAGES: [&str; 3] = ["authpb", "etcdserverpb", "mvccpb"];
/// What the echo answers: service, method, and how Rust calls that.
const ECHOED: [(&str, &str, &str); 4] = [
    ("KV", "Range", "range"),
    ("KV", "Put", "put"),
    ("KV", "Txn", "txn"),
    ("Maintenance", "Status", "status"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ETCD}");
    let mut builder = tonic_prost_build::configure()
        .build_server(false)
        .emit_rerun_if_changed(false);
    for package in PACKAGES {
        builder = builder.extern_path(format!(".{package}"), format!("::proto::etcd::{package}"));
    }
    builder.compile_protos(&FILES.map(|file| format!("{ETCD}/{file}")), &[ETCD.into()])?;
    let services = ["KV", "Maintenance"].map(|service| {
        let named = manual::Service::builder().name(service).package("etcdserverpb");
        let methods = ECHOED.iter().filter(|(of, ..)| *of == service);
        methods
            .fold(named, |named, method| named.method(echoed(method)))
            .build()
    });
    manual::Builder::new().build_client(false).compile(&services);
    Ok(())
}

fn echoed((_, method, name): &(&str, &str, &str)) -> manual::Method {
    manual::Method::builder()
        .name(name)
        .route_name(method)
        .input_type(format!("::proto::etcd::etcdserverpb::{method}Request"))
        .output_type(format!("::proto::etcd::etcdserverpb::{method}Response"))
        .codec_path("tonic_prost::ProstCodec")
        .build()
}
