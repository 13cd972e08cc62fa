//! The files of volumes that are made of API objects: configMap, secret, downwardAPI and projected.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use crate::Error;
use crate::objects::{Source, TokenKey};
use crate::pod::fields::{self, Facts};
use crate::pod::spec;

/// What the API defaults modes to.
const MODE: u32 = 0o644;

/// Files by their path within the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// The files.
    pub files: BTreeMap<String, File>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its mode.
    pub mode: u32,
    /// Its owner, if it is not root.
    pub owner: Option<u32>,
}

/// Reads the objects that the volume is made of.
pub(super) async fn collect(
    source: &dyn Source,
    pod: &Pod,
    facts: &Facts,
    volume: &Volume,
    group: Option<u32>,
) -> Result<Payload, Error> {
    let mut out = Payload::default();
    let namespace = spec::namespace(pod);
    if let Some(v) = &volume.config_map {
        let object = source.config_map(namespace, &v.name).await?;
        let mode = mode(v.default_mode, MODE);
        config_map(
            &mut out,
            &v.name,
            object.as_deref(),
            v.items.as_deref(),
            v.optional,
            mode,
        )?;
    } else if let Some(v) = &volume.secret {
        let name = v.secret_name.as_deref().unwrap_or_default();
        let object = source.secret(namespace, name).await?;
        secret(
            &mut out,
            name,
            object.as_deref(),
            v.items.as_deref(),
            v.optional,
            mode(v.default_mode, MODE),
        )?;
    } else if let Some(v) = &volume.downward_api {
        for item in v.items.iter().flatten() {
            downward(&mut out, pod, facts, item, mode(v.default_mode, MODE))?;
        }
    } else if let Some(v) = &volume.projected {
        for part in v.sources.iter().flatten() {
            projection(source, &mut out, pod, facts, part, mode(v.default_mode, MODE)).await?;
        }
    }
    if group.is_some() {
        // The group must be able to read what it was given.
        out.files.values_mut().for_each(|f| f.mode |= 0o440);
    }
    Ok(out)
}

async fn projection(
    source: &dyn Source,
    out: &mut Payload,
    pod: &Pod,
    facts: &Facts,
    part: &VolumeProjection,
    mode: u32,
) -> Result<(), Error> {
    let namespace = spec::namespace(pod);
    if let Some(v) = &part.config_map {
        let object = source.config_map(namespace, &v.name).await?;
        config_map(out, &v.name, object.as_deref(), v.items.as_deref(), v.optional, mode)?;
    }
    if let Some(v) = &part.secret {
        let object = source.secret(namespace, &v.name).await?;
        secret(out, &v.name, object.as_deref(), v.items.as_deref(), v.optional, mode)?;
    }
    for item in part.downward_api.iter().flat_map(|d| d.items.iter().flatten()) {
        downward(out, pod, facts, item, mode)?;
    }
    if let Some(v) = &part.service_account_token {
        token(source, out, pod, v, mode).await?;
    }
    if part.cluster_trust_bundle.is_some() || part.pod_certificate.is_some() {
        return Err(Error::Pod(
            "projected trust bundles and pod certificates are not supported".into(),
        ));
    }
    Ok(())
}

async fn token(
    source: &dyn Source,
    out: &mut Payload,
    pod: &Pod,
    wanted: &ServiceAccountTokenProjection,
    mode: u32,
) -> Result<(), Error> {
    let key = TokenKey {
        namespace: spec::namespace(pod).to_owned(),
        service_account: spec::spec(pod)
            .service_account_name
            .clone()
            .unwrap_or_else(|| "default".into()),
        pod_name: spec::name(pod).to_owned(),
        pod_uid: spec::uid(pod).to_owned(),
        audience: wanted.audience.clone().unwrap_or_default(),
        expiration_seconds: wanted.expiration_seconds.unwrap_or(3600),
    };
    let content = source.token(&key).await?.into_bytes();
    let (owner, mode) = match only_user(pod) {
        Some(user) => (Some(user), 0o600),
        None => (None, mode),
    };
    out.files.insert(wanted.path.clone(), File { content, mode, owner });
    Ok(())
}

/// The one user that all containers run as, if there is one: the token can then be for this user's eyes only.
fn only_user(pod: &Pod) -> Option<u32> {
    let spec = spec::spec(pod);
    let default = spec.security_context.as_ref().and_then(|c| c.run_as_user);
    let mut users = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(default));
    let first = users.next()??;
    users
        .all(|u| u == Some(first))
        .then(|| u32::try_from(first).ok())
        .flatten()
}

fn config_map(
    out: &mut Payload,
    name: &str,
    object: Option<&ConfigMap>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<(), Error> {
    let Some(object) = object else {
        return missing("configmap", name, optional);
    };
    let text = object
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_bytes().to_vec()));
    let binary = object
        .binary_data
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.0.clone()));
    pick(
        out,
        &format!("configmap \"{name}\""),
        text.chain(binary).collect(),
        items,
        optional,
        mode,
    )
}

fn secret(
    out: &mut Payload,
    name: &str,
    object: Option<&Secret>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<(), Error> {
    let Some(object) = object else {
        return missing("secret", name, optional);
    };
    let data = object
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.0.clone()))
        .collect();
    pick(out, &format!("secret \"{name}\""), data, items, optional, mode)
}

fn missing(kind: &str, name: &str, optional: Option<bool>) -> Result<(), Error> {
    match optional {
        Some(true) => Ok(()),
        _ => Err(Error::Pod(format!("{kind} \"{name}\" not found"))),
    }
}

fn pick(
    out: &mut Payload,
    what: &str,
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<(), Error> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        out.files.extend(data.into_iter().map(|(k, content)| {
            (
                k,
                File {
                    content,
                    mode,
                    owner: None,
                },
            )
        }));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(content) => {
                let file = File {
                    content: content.clone(),
                    mode: self::mode(item.mode, mode),
                    owner: None,
                };
                out.files.insert(item.path.clone(), file);
            }
            None if optional == Some(true) => {}
            None => return Err(Error::Pod(format!("{what} references non-existent key: {}", item.key))),
        }
    }
    Ok(())
}

fn downward(out: &mut Payload, pod: &Pod, facts: &Facts, item: &DownwardAPIVolumeFile, mode: u32) -> Result<(), Error> {
    let content = if let Some(field) = &item.field_ref {
        fields::field(pod, facts, &field.field_path)?
    } else if let Some(resource) = &item.resource_field_ref {
        let name = resource.container_name.as_deref().unwrap_or_default();
        let container = spec::container(pod, name);
        let container = container.ok_or_else(|| Error::Pod(format!("container {name} not found")))?;
        fields::resource(container, facts, resource)?
    } else {
        return Err(Error::Pod(format!("downwardAPI item {} names no field", item.path)));
    };
    let mode = self::mode(item.mode, mode);
    out.files.insert(
        item.path.clone(),
        File {
            content: content.into_bytes(),
            mode,
            owner: None,
        },
    );
    Ok(())
}

fn mode(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(default) & 0o777
}
