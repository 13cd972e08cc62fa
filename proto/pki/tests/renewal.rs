//! A server that starts while its certificate is being renewed.

use std::path::Path;
use std::time::Duration;

use pki::tls::{ClientAuth, server_config};
use pki::{Ca, Leaf};

#[test]
fn whoever_starts_between_the_new_key_and_the_new_certificate_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("server.crt"), directory.path().join("server.key"));
    let (half, other) = (directory.path().join("new.crt"), directory.path().join("new.key"));
    let ca = Ca::generate("ca").unwrap();
    let issue = |cert: &Path, key: &Path| {
        let leaf = Leaf {
            common_name: "server".into(),
            server: true,
            ..Leaf::default()
        };
        ca.issue(&leaf).unwrap().write(cert, key).unwrap();
    };
    issue(&cert, &key);
    issue(&half, &other);
    // The first half of a renewal.
    std::fs::rename(&other, &key).unwrap();
    let second = {
        let cert = cert.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            std::fs::rename(&half, &cert).unwrap();
        })
    };
    server_config(&cert, &key, None, ClientAuth::None).unwrap();
    second.join().unwrap();
}
