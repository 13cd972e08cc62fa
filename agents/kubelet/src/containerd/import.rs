//! Images that come with the node instead of from a registry: the pause image, and every tar in the images directory.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::cri::Runtime;
use crate::image::pause;
use crate::{Config, Error, limits};

/// One imported file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The tar; `None` for the agent's own pause image.
    pub file: Option<PathBuf>,
    /// The images it held.
    pub images: Vec<String>,
}

/// Imports the pause image (unless another one is configured) and every `*.tar` of the images directory. A tar that
/// cannot be imported is skipped with a warning: the rest of the node must come up.
pub async fn import_images(config: &Config, runtime: &dyn Runtime) -> Result<Vec<Imported>, Error> {
    let mut imported = Vec::new();
    if config.containerd.sandbox_image.is_none() {
        imported.push(import_pause(config, runtime).await?);
    }
    for file in tars(&config.images_dir) {
        match import(config, &file).await {
            Ok(images) => {
                info!(file = %file.display(), ?images, "imported");
                imported.push(Imported {
                    file: Some(file),
                    images,
                });
            }
            Err(error) => warn!(file = %file.display(), %error, "cannot import; skipping it"),
        }
    }
    for image in imported.iter().flat_map(|i| &i.images) {
        wait_present(runtime, image).await?;
    }
    Ok(imported)
}

async fn import_pause(config: &Config, runtime: &dyn Runtime) -> Result<Imported, Error> {
    let images = vec![pause::NAME.to_owned()];
    if runtime.image_status(pause::NAME).await?.is_some() {
        return Ok(Imported { file: None, images });
    }
    let image = pause::image().ok_or_else(|| Error::Config {
        field: "containerd.sandbox_image",
        message: format!(
            "there is no built-in pause image for {}; name one",
            std::env::consts::ARCH
        ),
    })?;
    let path = config.root_dir.join("pause.tar");
    let mut bytes = Vec::new();
    image.write(&mut bytes).map_err(Error::file("make", &path))?;
    std::fs::write(&path, bytes).map_err(Error::file("write", &path))?;
    let result = import(config, &path).await;
    let _ = std::fs::remove_file(&path);
    result?;
    Ok(Imported { file: None, images })
}

/// The tars of a directory, by name. A directory that does not exist has none.
fn tars(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "tar"))
        .collect();
    files.sort();
    files
}

async fn import(config: &Config, file: &Path) -> Result<Vec<String>, Error> {
    let ctr = &config.containerd.ctr;
    let error = |message: String| Error::Program {
        program: format!("{} images import", ctr.display()),
        message,
    };
    let output = Command::new(ctr)
        .arg("--address")
        .arg(&config.containerd.socket)
        .args([
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "--snapshotter",
            &config.containerd.snapshotter,
        ])
        .arg(file)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| error(e.to_string()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(error(format!("{}: {message}", file.display())));
    }
    Ok(names(&String::from_utf8_lossy(&output.stdout)))
}

/// The image names in what `ctr` prints: `unpacking NAME (sha256:...)...done`.
fn names(output: &str) -> Vec<String> {
    let lines = output.lines().filter_map(|l| l.trim().strip_prefix("unpacking "));
    lines
        .filter_map(|l| l.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The CRI side learns of an import through containerd's events, a moment later.
async fn wait_present(runtime: &dyn Runtime, image: &str) -> Result<(), Error> {
    let deadline = Instant::now() + limits::RUNTIME_START_TIMEOUT;
    while runtime.image_status(image).await?.is_none() {
        if Instant::now() > deadline {
            let message = format!("{image} was imported, but the runtime does not list it");
            return Err(Error::Program {
                program: "containerd".into(),
                message,
            });
        }
        sleep(std::time::Duration::from_millis(10)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_output() {
        let output = "unpacking proreus.io/a:1 (sha256:ab12)...done\nunpacking proreus.io/b:2 (sha256:cd)...";
        assert_eq!(names(output), ["proreus.io/a:1", "proreus.io/b:2"]);
        assert!(names("").is_empty());
    }
}
