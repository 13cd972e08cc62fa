//! Which resources the API serves: what the garbage collector and the namespace controller walk over.

use client::{Client, Error, Resource};
use http::Method;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupList {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    preferred_version: Option<Version>,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Version {
    group_version: String,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
struct Served {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// A resource and what can be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discovered {
    pub resource: Resource,
    pub verbs: Vec<String>,
}

impl Discovered {
    /// Whether all of these verbs are served.
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|v| self.verbs.iter().any(|w| w == v))
    }
}

/// What a discovery found. A group that does not answer (an aggregated API that is down) is named.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// Each resource once, in its group's preferred version; no subresources.
    pub resources: Vec<Discovered>,
    /// Group versions that could not be asked.
    pub failed: Vec<String>,
}

/// Asks the API for everything it serves.
pub(crate) async fn discover(client: &Client) -> Result<Discovery, Error> {
    let mut discovery = Discovery::default();
    add(client, &mut discovery, "v1", "/api/v1").await?;
    let groups: GroupList = get(client, "/apis").await?;
    for group in groups.groups {
        let versions: Vec<Version> = group.preferred_version.into_iter().chain(group.versions).collect();
        let mut asked: Vec<&str> = Vec::new();
        for version in &versions {
            if asked.contains(&version.group_version.as_str()) {
                continue;
            }
            asked.push(&version.group_version);
            add(
                client,
                &mut discovery,
                &version.group_version,
                &format!("/apis/{}", version.group_version),
            )
            .await?;
        }
    }
    Ok(discovery)
}

async fn add(client: &Client, discovery: &mut Discovery, group_version: &str, path: &str) -> Result<(), Error> {
    let list: ResourceList = match get(client, path).await {
        Ok(list) => list,
        Err(error) if error.is_fence_lost() => return Err(error),
        Err(error) => {
            tracing::debug!(group_version, %error, "discovery failed");
            discovery.failed.push(group_version.to_owned());
            return Ok(());
        }
    };
    for served in list.resources.into_iter().filter(|r| !r.name.contains('/')) {
        let found = discovered(group_version, served);
        let known =
            |d: &Discovered| d.resource.group == found.resource.group && d.resource.plural == found.resource.plural;
        // The preferred version comes first and stands for all.
        if !discovery.resources.iter().any(known) {
            discovery.resources.push(found);
        }
    }
    Ok(())
}

fn discovered(group_version: &str, served: Served) -> Discovered {
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    let resource = Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: served.kind.into(),
        plural: served.name.into(),
        namespaced: served.namespaced,
    };
    Discovered {
        resource,
        verbs: served.verbs,
    }
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, path: &str) -> Result<T, Error> {
    client.json(Method::GET, path, None::<&()>).await
}
