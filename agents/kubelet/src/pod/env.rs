//! A container's environment: services first, then `envFrom`, then `env`; the later wins.

use std::collections::HashMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::expand::expand;
use super::fields::{self, Facts};
use super::spec;
use crate::Error;
use crate::objects::Source;

/// A service, as far as pods are told of it by variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its cluster address; a service without one is not told of.
    pub ip: Option<IpAddr>,
    /// Its ports: name (may be empty), protocol, number.
    pub ports: Vec<(String, String, u16)>,
}

/// Variables in the order they were set.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    list: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Environment {
    /// Sets a variable. One that exists keeps its place.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.index.get(&name) {
            Some(at) => self.list[*at].1 = value,
            None => {
                self.index.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    /// By name, for expansion.
    pub fn variables(&self) -> HashMap<String, String> {
        self.list.iter().cloned().collect()
    }

    /// In order.
    pub fn into_list(self) -> Vec<(String, String)> {
        self.list
    }
}

/// The environment of a container.
pub async fn build(
    source: &dyn Source,
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    services: &[ServiceAddress],
) -> Result<Environment, Error> {
    let mut env = Environment::default();
    let links = spec::spec(pod).enable_service_links.unwrap_or(true);
    for (name, value) in service_variables(services, spec::namespace(pod), links) {
        env.set(name, value);
    }
    // What `$(NAME)` can refer to: everything set so far, services included.
    let mut known = env.variables();
    add_env_from(source, pod, container, &mut env, &mut known).await?;
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(source, pod, container, facts, variable, &known).await? {
            known.insert(variable.name.clone(), value.clone());
            env.set(&variable.name, value);
        }
    }
    Ok(env)
}

async fn add_env_from(
    source: &dyn Source,
    pod: &Pod,
    container: &Container,
    env: &mut Environment,
    known: &mut HashMap<String, String>,
) -> Result<(), Error> {
    let namespace = spec::namespace(pod);
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let mut data: Vec<(String, String)> = Vec::new();
        if let Some(r) = &from.config_map_ref {
            match source.config_map(namespace, &r.name).await? {
                Some(object) => data.extend(object.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone()))),
                None if r.optional == Some(true) => {}
                None => return Err(Error::Pod(format!("configmap \"{}\" not found", r.name))),
            }
        }
        if let Some(r) = &from.secret_ref {
            match source.secret(namespace, &r.name).await? {
                Some(object) => data.extend(object.data.iter().flatten().map(|(k, v)| (k.clone(), text(&v.0)))),
                None if r.optional == Some(true) => {}
                None => return Err(Error::Pod(format!("secret \"{}\" not found", r.name))),
            }
        }
        for (key, value) in data {
            let name = format!("{prefix}{key}");
            // A name with `=` or NUL cannot be a variable.
            if !name.is_empty() && !name.contains(['=', '\0']) {
                known.insert(name.clone(), value.clone());
                env.set(name, value);
            }
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value of one variable, or `None` if it is optional and not there.
async fn value(
    source: &dyn Source,
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    variable: &EnvVar,
    known: &HashMap<String, String>,
) -> Result<Option<String>, Error> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), known)));
    };
    let namespace = spec::namespace(pod);
    if let Some(r) = &from.field_ref {
        return fields::field(pod, facts, &r.field_path).map(Some);
    }
    if let Some(r) = &from.resource_field_ref {
        let named = r.container_name.as_deref().filter(|n| !n.is_empty());
        let container = named.and_then(|n| spec::container(pod, n)).unwrap_or(container);
        return fields::resource(container, facts, r).map(Some);
    }
    if let Some(r) = &from.config_map_key_ref {
        let object = source.config_map(namespace, &r.name).await?;
        let found = object
            .as_ref()
            .and_then(|o| o.data.as_ref())
            .and_then(|d| d.get(&r.key))
            .cloned();
        return found_or(found, object.is_some(), r.optional, "configmap", &r.name, &r.key);
    }
    if let Some(r) = &from.secret_key_ref {
        let object = source.secret(namespace, &r.name).await?;
        let found = object
            .as_ref()
            .and_then(|o| o.data.as_ref())
            .and_then(|d| d.get(&r.key))
            .map(|b| text(&b.0));
        return found_or(found, object.is_some(), r.optional, "secret", &r.name, &r.key);
    }
    Err(Error::Pod(format!(
        "environment variable {}: this valueFrom is not supported",
        variable.name
    )))
}

fn found_or(
    found: Option<String>,
    object_exists: bool,
    optional: Option<bool>,
    kind: &str,
    name: &str,
    key: &str,
) -> Result<Option<String>, Error> {
    match (found, optional, object_exists) {
        (Some(value), _, _) => Ok(Some(value)),
        (None, Some(true), _) => Ok(None),
        (None, _, false) => Err(Error::Pod(format!("{kind} \"{name}\" not found"))),
        (None, _, true) => Err(Error::Pod(format!("couldn't find key {key} in {kind} {name}"))),
    }
}

/// The variables that tell of services: those of the pod's own namespace if it wants them, and always the API's.
fn service_variables(services: &[ServiceAddress], namespace: &str, links: bool) -> Vec<(String, String)> {
    let is_api = |s: &ServiceAddress| s.namespace == "default" && s.name == "kubernetes";
    let mut wanted: Vec<_> = services
        .iter()
        .filter(|s| is_api(s) || (links && s.namespace == namespace))
        .collect();
    wanted.sort_by(|a, b| (is_api(a), &a.name).cmp(&(is_api(b), &b.name)));
    wanted.into_iter().flat_map(variables_of).collect()
}

fn variables_of(service: &ServiceAddress) -> Vec<(String, String)> {
    let (Some(ip), Some(first)) = (service.ip, service.ports.first()) else {
        return vec![];
    };
    let prefix = variable_name(&service.name);
    let host = if ip.is_ipv6() {
        format!("[{ip}]")
    } else {
        ip.to_string()
    };
    let url = |protocol: &str, port: u16| format!("{}://{host}:{port}", protocol.to_lowercase());
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_string()),
        (format!("{prefix}_SERVICE_PORT"), first.2.to_string()),
    ];
    for (name, _, port) in service.ports.iter().filter(|p| !p.0.is_empty()) {
        out.push((
            format!("{prefix}_SERVICE_PORT_{}", variable_name(name)),
            port.to_string(),
        ));
    }
    out.push((format!("{prefix}_PORT"), url(&first.1, first.2)));
    for (_, protocol, port) in &service.ports {
        let base = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
        out.push((base.clone(), url(protocol, *port)));
        out.push((format!("{base}_PROTO"), protocol.to_lowercase()));
        out.push((format!("{base}_PORT"), port.to_string()));
        out.push((format!("{base}_ADDR"), ip.to_string()));
    }
    out
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::Fixed;

    async fn environment(container: serde_json::Value) -> Result<Vec<(String, String)>, Error> {
        let pod = serde_json::json!({ "metadata": { "name": "p", "namespace": "n" }, "spec": { "containers": [] } });
        let (pod, container) = (
            serde_json::from_value(pod).unwrap(),
            serde_json::from_value(container).unwrap(),
        );
        Ok(build(&Fixed, &pod, &container, &Facts::default(), &[])
            .await?
            .into_list())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[tokio::test]
    async fn sources_references_and_order() {
        let env = environment(serde_json::json!({ "name": "c",
            "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "cm" } }],
            "env": [
                { "name": "A", "value": "1" },
                { "name": "B", "value": "$(A)-$(P_k)-$(NOPE)" },
                { "name": "S", "valueFrom": { "secretKeyRef": { "name": "sec", "key": "s" } } },
                { "name": "O", "valueFrom": { "secretKeyRef": { "name": "gone", "key": "s", "optional": true } } },
                { "name": "P_x", "value": "over" },
                { "name": "N", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            ] }))
        .await
        .unwrap();
        let expected = [
            ("P_k", "from-map"),
            ("P_x", "over"),
            ("A", "1"),
            ("B", "1-from-map-$(NOPE)"),
            ("S", "hush"),
            ("N", "p"),
        ];
        assert_eq!(env, pairs(&expected));
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let key = serde_json::json!({ "name": "c",
            "env": [{ "name": "S", "valueFrom": { "configMapKeyRef": { "name": "cm", "key": "nope" } } }] });
        assert_eq!(
            environment(key).await.unwrap_err().to_string(),
            "couldn't find key nope in configmap cm"
        );
        let object = serde_json::json!({ "name": "c", "envFrom": [{ "secretRef": { "name": "gone" } }] });
        assert_eq!(
            environment(object).await.unwrap_err().to_string(),
            "secret \"gone\" not found"
        );
    }

    #[test]
    fn services_are_told_of() {
        let service = |namespace: &str, name: &str| ServiceAddress {
            namespace: namespace.into(),
            name: name.into(),
            ip: Some("10.96.0.1".parse().unwrap()),
            ports: vec![("https".into(), "TCP".into(), 443)],
        };
        let all = [
            service("default", "kubernetes"),
            service("n", "my-db"),
            service("other", "x"),
        ];
        let names = |links| -> Vec<String> {
            let names = service_variables(&all, "n", links).into_iter().map(|(n, _)| n);
            names.filter(|n| n.ends_with("_SERVICE_HOST")).collect()
        };
        assert_eq!(names(true), ["MY_DB_SERVICE_HOST", "KUBERNETES_SERVICE_HOST"]);
        assert_eq!(names(false), ["KUBERNETES_SERVICE_HOST"]);
        let list = service_variables(&all, "n", false);
        assert!(list.contains(&("KUBERNETES_PORT_443_TCP".into(), "tcp://10.96.0.1:443".into())));
        assert!(list.contains(&("KUBERNETES_SERVICE_PORT_HTTPS".into(), "443".into())));
    }
}
