//! Writes OCI images from nothing: no registry, no container tools.
//!
//! **Theory.** An OCI image is a directory of blobs named by their SHA-256: a layer (a tar of files), a config (how to
//! run it), a manifest (which layer, which config) and an index that points at the manifest. containerd imports a tar
//! of that directory and takes the image's name from an annotation in the index.
//!
//! **Promises.** The same input gives the same bytes, hence the same digest: times are zero, order is the caller's.
//!
//! **Left out.** Several layers, compression, whiteouts, device nodes, reading images.

pub mod pause;
mod tar;

use std::io::{self, Write};

use serde_json::json;

pub use tar::{FileMode, Tar};

/// What an image's single layer holds. Parent directories are the caller's to list, before what they contain.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    tar: Tar,
}

impl Layer {
    /// An empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; `path` without a leading slash.
    pub fn directory(mut self, path: &str, mode: u32) -> io::Result<Self> {
        self.tar.append(path, FileMode::Directory, mode, &[])?;
        Ok(self)
    }

    /// Adds a regular file.
    pub fn file(mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<Self> {
        self.tar.append(path, FileMode::Regular, mode, content)?;
        Ok(self)
    }

    /// Adds a symbolic link to `target`.
    pub fn symlink(mut self, path: &str, target: &str) -> io::Result<Self> {
        self.tar
            .append(path, FileMode::Symlink(target.to_owned()), 0o777, &[])?;
        Ok(self)
    }

    /// Adds a hard link to `target`, a file of this layer.
    pub fn hard_link(mut self, path: &str, target: &str) -> io::Result<Self> {
        self.tar
            .append(path, FileMode::HardLink(target.to_owned()), 0o755, &[])?;
        Ok(self)
    }
}

/// How a container of the image runs when the pod says nothing.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// The program and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub command: Vec<String>,
    /// Environment, as `NAME=value`.
    pub environment: Vec<String>,
    /// Working directory; empty means `/`.
    pub working_directory: String,
    /// User, as `uid`, `uid:gid` or a name; empty means root.
    pub user: String,
}

/// An image with one layer.
#[derive(Debug, Clone)]
pub struct OciImage {
    /// The full name with its tag, as `proreus.io/pause:1`.
    pub name: String,
    /// Its files.
    pub layer: Layer,
    /// How it runs.
    pub config: ImageConfig,
}

/// The architecture's name in images for the machine this runs on.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl OciImage {
    /// Writes the image as a tar that `ctr images import` (and `docker load`) understands.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let layer = Blob::new(self.layer.tar.clone().finish());
        let config = Blob::json(&self.config_json(&layer.digest));
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        }));
        let index = serde_json::to_vec(&self.index_json(&manifest)).map_err(io::Error::other)?;
        let mut tar = Tar::default();
        tar.append(
            "oci-layout",
            FileMode::Regular,
            0o644,
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        tar.append("index.json", FileMode::Regular, 0o644, &index)?;
        tar.append("blobs", FileMode::Directory, 0o755, &[])?;
        tar.append("blobs/sha256", FileMode::Directory, 0o755, &[])?;
        for blob in [&layer, &config, &manifest] {
            tar.append(
                &format!("blobs/sha256/{}", blob.hex()),
                FileMode::Regular,
                0o644,
                &blob.bytes,
            )?;
        }
        out.write_all(&tar.finish())
    }

    fn config_json(&self, layer_digest: &str) -> serde_json::Value {
        let c = &self.config;
        let directory = if c.working_directory.is_empty() {
            "/"
        } else {
            &c.working_directory
        };
        json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": { "Entrypoint": c.entrypoint, "Cmd": c.command, "Env": c.environment,
                        "WorkingDir": directory, "User": c.user },
            "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "proreus" }],
        })
    }

    fn index_json(&self, manifest: &Blob) -> serde_json::Value {
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": tag,
        });
        entry["platform"] = json!({ "architecture": architecture(), "os": "linux" });
        json!({ "schemaVersion": 2, "manifests": [entry] })
    }
}

struct Blob {
    bytes: Vec<u8>,
    /// `sha256:` and 64 hex digits of `bytes`.
    digest: String,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Blob {
            digest: format!("sha256:{}", sha256_hex(&bytes)),
            bytes,
        }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn hex(&self) -> &str {
        &self.digest["sha256:".len()..]
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.bytes.len() })
}

/// SHA-256 of `bytes` in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> OciImage {
        let layer = Layer::new()
            .directory("bin", 0o755)
            .unwrap()
            .file("bin/a", 0o755, b"hello")
            .unwrap();
        let config = ImageConfig {
            entrypoint: vec!["/bin/a".into()],
            ..Default::default()
        };
        OciImage {
            name: "proreus.io/a:7".into(),
            layer,
            config,
        }
    }

    #[test]
    fn the_same_image_has_the_same_bytes() {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        image().write(&mut a).unwrap();
        image().write(&mut b).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.len() % 512, 0, "a tar is made of blocks");
    }

    #[test]
    fn the_index_carries_the_name_containerd_looks_for() {
        let mut bytes = Vec::new();
        image().write(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(r#""io.containerd.image.name":"proreus.io/a:7""#));
        assert!(text.contains(r#""org.opencontainers.image.ref.name":"7""#));
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(
            sha256_hex(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
