//! Small images for tests, built here from the machine's static busybox: no registry is needed.

use std::fs::File;
use std::path::{Path, PathBuf};

use kubelet::image::{ImageConfig, Layer, OciImage};

const BUSYBOX: &str = "/bin/busybox";
/// Applets that the tests and probes run.
const APPLETS: [&str; 16] = [
    "sh", "cat", "echo", "env", "hostname", "httpd", "ls", "nslookup", "sleep", "timeout", "touch", "true", "wget",
    "id", "head", "test",
];

pub fn available() -> bool {
    Path::new(BUSYBOX).exists()
}

/// Writes `proreus.test/web:VERSION` below `directory`: an HTTP server on 8080 that answers with its version.
pub fn web(directory: &Path, version: u32) -> PathBuf {
    let mut layer = Layer::new();
    for parent in ["bin", "etc", "tmp", "www"] {
        layer = layer.directory(parent, 0o755).unwrap();
    }
    let busybox = std::fs::read(BUSYBOX).unwrap();
    layer = layer.file("bin/busybox", 0o755, &busybox).unwrap();
    for applet in APPLETS {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox").unwrap();
    }
    layer = layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n").unwrap();
    layer = layer
        .file("www/index.html", 0o644, format!("version {version}\n").as_bytes())
        .unwrap();
    let start = format!("echo serving version {version}; exec httpd -f -p 8080 -h /www");
    let image = OciImage {
        name: format!("proreus.test/web:{version}"),
        layer,
        config: ImageConfig {
            entrypoint: ["/bin/sh", "-c"].map(String::from).to_vec(),
            command: vec![start],
            environment: vec!["PATH=/bin".into()],
            ..ImageConfig::default()
        },
    };
    let path = directory.join(format!("web-{version}.tar"));
    image.write(&mut File::create(&path).unwrap()).unwrap();
    path
}
