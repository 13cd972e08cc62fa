//! The command line: wrong flags and configuration fail at the start, naming what is wrong.

use crate::harness::cluster::{Cluster, missing};
use crate::harness::{output, proreus, skip, text};

#[track_caller]
fn refused(arguments: &[&str], expected: &[&str]) {
    let result = output(proreus().args(arguments));
    assert!(!result.status.success(), "{arguments:?} should fail");
    let message = text(&result.stderr);
    for part in expected {
        assert!(message.contains(part), "{arguments:?}: {part:?} is not in:\n{message}");
    }
}

#[test]
fn wrong_flag_values_name_the_flag() {
    refused(&["up", "--masters", "2"], &["--masters", "1, 3 or 5"]);
    refused(&["up", "--nodes", "many"], &["--nodes"]);
    refused(&["up", "--api-port", "0"], &["--api-port"]);
    refused(&["up", "--no-such-flag"], &["--no-such-flag"]);
    refused(&["status", "--output", "xml"], &["--output", "table", "json"]);
}

#[test]
fn wrong_words_about_joining_name_the_flag() {
    let join = ["join", "h:6443", "--token", "abcdef.0123456789abcdef"];
    refused(&join, &["--discovery-token-ca-cert-hash"]);
    let with = |more: &[&'static str]| [&join[..], more].concat();
    refused(
        &with(&["--discovery-token-ca-cert-hash", "sha256:ab"]),
        &["--discovery-token-ca-cert-hash", "64 hexadecimal digits"],
    );
    let unpinned = "--discovery-token-unsafe-skip-ca-verification";
    refused(&with(&[unpinned, "--control-plane"]), &["--certificate-key"]);
    refused(
        &["join", "h:6443", "--token", "abc", unpinned],
        &["--token", "six characters"],
    );
    refused(&["init", "phase", "nonsense"], &["preflight", "show-join-command"]);
    refused(&["init", "--token-ttl", "1x"], &["--token-ttl", "24h"]);
    refused(
        &["token", "create", "--groups", "system:masters"],
        &["--groups", "system:bootstrappers:"],
    );
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    refused(&["leave", "--rootfs", root], &["this machine is part of no cluster"]);
    refused(&["certs", "list", "--rootfs", root], &["there are no certificates"]);
    refused(
        &["certs", "renew", "x", "--rootfs", root],
        &["apiserver-kubelet-client"],
    );
}

#[test]
fn a_machine_that_is_not_ready_hears_of_every_check_and_how_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let init = [
        "init",
        "--rootfs",
        root,
        "--apiserver-advertise-address",
        "203.0.113.9",
        "--node-name",
        "A_B",
    ];
    refused(
        &init,
        &[
            "[Hostname]",
            "--node-name",
            "[Address]",
            "203.0.113.9",
            "[Port-6443]",
            "--ignore-preflight-errors=",
        ],
    );
    assert!(!directory.path().join("etc").exists(), "nothing was written");
}

#[test]
fn status_of_a_directory_without_a_cluster_says_so() {
    let directory = tempfile::tempdir().unwrap();
    refused(
        &["status", "--data-dir", directory.path().to_str().unwrap()],
        &["--data-dir", "no cluster.yaml"],
    );
}

#[test]
fn a_file_that_is_no_image_archive_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_string();
    std::fs::write(path("image.tar"), "not an archive").unwrap();
    std::fs::write(path("image.zip"), "not an archive").unwrap();
    let data = path("data");
    let up = |images: &str| ["up", "--data-dir", &data, "--images", images].map(str::to_string);
    for (name, says) in [
        ("image.tar", "is not a tar archive"),
        ("image.zip", ".tar"),
        ("missing.tar", "cannot read"),
    ] {
        let arguments = up(&path(name));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refused(&arguments, &["--images", name, says]);
    }
    assert!(
        !directory.path().join("data").exists(),
        "nothing is decided by a start that failed"
    );
}

#[test]
fn a_wrong_configuration_names_the_file_and_the_field() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, "name: a\nroot: /x\nmasters: []\nclusterToken: t\ncolour: red\n").unwrap();
    refused(
        &["server", "--config", path.to_str().unwrap()],
        &["config.yaml", "colour"],
    );
    std::fs::write(&path, "name: a\nroot: /x\nmasters: []\nclusterToken: t\n").unwrap();
    refused(
        &["server", "--config", path.to_str().unwrap()],
        &["name", "\"a\"", "masters"],
    );
    refused(&["agent", "--config", "/no/such/file"], &["/no/such/file"]);
}

#[test]
fn without_containerd_the_control_plane_runs_alone() {
    if let Some(reason) = missing("kubectl") {
        return skip(&reason);
    }
    let programs = tempfile::tempdir().unwrap();
    for directory in ["/usr/local/bin", "/usr/bin"].iter().map(std::path::Path::new) {
        for program in directory.read_dir().into_iter().flatten().flatten() {
            let name = program.file_name();
            if !name.to_string_lossy().starts_with("containerd") {
                // What is in both directories is found in the first.
                let _ = std::os::unix::fs::symlink(program.path(), programs.path().join(name));
            }
        }
    }
    let cluster = Cluster::start_by(proreus().arg("up").env("PATH", programs.path()), &[]);
    assert!(cluster.said("running the control plane alone: "), "it says so");
    assert!(cluster.said("containerd is not installed"), "it says why");
    cluster.kubectl(&["create", "configmap", "a", "--from-literal=b=c"]);
    assert_eq!(cluster.kubectl(&["get", "nodes", "-o", "name"]), "");
}
