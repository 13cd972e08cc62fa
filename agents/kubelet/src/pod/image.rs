//! Making sure that a container's image is there.

use jiff::Timestamp;
use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use serde_json::Value;

use super::backoff::Backoff;
use super::memory::{Memory, PULL, Waiting};
use super::node::Node;
use super::security::ImageUser;
use super::spec;

/// An image that is there.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) reference: String,
    pub(super) user: ImageUser,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

fn policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    }
}

/// The image, pulled if the policy says so; or why the container has to wait.
pub(super) async fn ensure(
    node: &Node,
    pod: &Pod,
    container: &Container,
    memory: &mut Memory,
) -> Result<Present, Waiting> {
    let image = container.image.as_deref().unwrap_or_default();
    let wait = |reason: &str, message: String, until| Waiting {
        reason: reason.into(),
        message,
        until,
    };
    if image.is_empty() {
        return Err(wait("InvalidImageName", "the container names no image".into(), None));
    }
    let found = node.runtime.image_status(image).await;
    let found = found.map_err(|e| wait("ImageInspectError", e.to_string(), soon()))?;
    match (policy(container), found) {
        (PullPolicy::IfNotPresent | PullPolicy::Never, Some(found)) => {
            let message = format!("Container image \"{image}\" already present on machine");
            node.events.normal(pod, Some(&container.name), "Pulled", message);
            return Ok(present(found));
        }
        (PullPolicy::Never, None) => {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            node.events
                .warning(pod, Some(&container.name), "ErrImageNeverPull", message.clone());
            return Err(wait("ErrImageNeverPull", message, soon()));
        }
        (PullPolicy::Always | PullPolicy::IfNotPresent, _) => {}
    }
    let now = Timestamp::now();
    if let Some(until) = memory.pulls.get(image).map(Backoff::until).filter(|until| *until > now) {
        let message = format!("Back-off pulling image \"{image}\"");
        node.events
            .normal(pod, Some(&container.name), "BackOff", message.clone());
        return Err(wait("ImagePullBackOff", message, Some(until)));
    }
    pull(node, pod, container, image, memory).await
}

fn soon() -> Option<Timestamp> {
    Timestamp::now().saturating_add(crate::limits::POD_RETRY_INTERVAL).ok()
}

async fn pull(
    node: &Node,
    pod: &Pod,
    container: &Container,
    image: &str,
    memory: &mut Memory,
) -> Result<Present, Waiting> {
    let name = Some(container.name.as_str());
    node.events
        .normal(pod, name, "Pulling", format!("Pulling image \"{image}\""));
    let started = tokio::time::Instant::now();
    let result = match credentials(node, pod, image).await {
        Ok(auth) => node.runtime.pull_image(image, auth).await,
        Err(error) => Err(error),
    };
    let error = match result {
        Ok(_) => match node.runtime.image_status(image).await {
            Ok(Some(found)) => {
                let took = started.elapsed().as_millis();
                let message = format!(
                    "Successfully pulled image \"{image}\" in {took}ms. Image size: {} bytes.",
                    found.size
                );
                node.events.normal(pod, name, "Pulled", message);
                memory.pulls.remove(image);
                return Ok(present(found));
            }
            Ok(None) => "the runtime pulled the image but does not have it".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let now = Timestamp::now();
    let backoff = Backoff::after(memory.pulls.get(image).copied(), now, PULL);
    memory.pulls.insert(image.to_owned(), backoff);
    let message = format!("Failed to pull image \"{image}\": {error}");
    node.events.warning(pod, name, "Failed", message.clone());
    node.events.warning(pod, name, "Failed", "Error: ErrImagePull".into());
    // A moment later the status says that it is being waited for.
    let until = now.saturating_add(std::time::Duration::from_secs(1)).ok();
    Err(Waiting {
        reason: "ErrImagePull".into(),
        message,
        until,
    })
}

fn present(image: v1::Image) -> Present {
    let user = ImageUser {
        uid: image.uid.map(|u| u.value),
        name: image.username,
    };
    // An image without a user runs as root.
    let user = if user.uid.is_none() && user.name.is_empty() {
        ImageUser { uid: Some(0), ..user }
    } else {
        user
    };
    Present {
        reference: image.id,
        user,
    }
}

/// Credentials from the pod's imagePullSecrets for the image's registry.
async fn credentials(node: &Node, pod: &Pod, image: &str) -> Result<Option<v1::AuthConfig>, crate::Error> {
    for reference in spec::spec(pod).image_pull_secrets.iter().flatten() {
        let secret = node.source.secret(spec::namespace(pod), &reference.name).await?;
        if let Some(auth) = secret.as_deref().and_then(|s| from_secret(s, registry(image))) {
            return Ok(Some(auth));
        }
    }
    Ok(None)
}

/// The registry's host in an image's name.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn from_secret(secret: &Secret, registry: &str) -> Option<v1::AuthConfig> {
    let data = secret.data.as_ref()?;
    let (bytes, nested) = match data.get(".dockerconfigjson") {
        Some(bytes) => (bytes, true),
        None => (data.get(".dockercfg")?, false),
    };
    let json: Value = serde_json::from_slice(&bytes.0).ok()?;
    let auths = if nested { json.get("auths")? } else { &json };
    let host = |key: &str| -> String {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        let host = key.split('/').next().unwrap_or_default();
        if host == "index.docker.io" {
            "docker.io".into()
        } else {
            host.to_owned()
        }
    };
    let entry = auths.as_object()?.iter().find(|(key, _)| host(key) == registry)?.1;
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(v1::AuthConfig {
        username: text("username"),
        password: text("password"),
        auth: text("auth"),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn credentials_are_for_the_images_registry() {
        assert_eq!(registry("busybox:1"), "docker.io");
        assert_eq!(registry("library/busybox"), "docker.io");
        assert_eq!(registry("reg.example.org/a/b:1"), "reg.example.org");
        assert_eq!(registry("localhost:5000/a"), "localhost:5000");
        let config = br#"{"auths":{"https://reg.example.org/v1/":{"username":"u","password":"p"}}}"#;
        let data = [(".dockerconfigjson".to_owned(), ByteString(config.to_vec()))].into();
        let secret = Secret {
            data: Some(data),
            ..Default::default()
        };
        assert_eq!(from_secret(&secret, "reg.example.org").unwrap().username, "u");
        assert!(from_secret(&secret, "docker.io").is_none());
    }
}
