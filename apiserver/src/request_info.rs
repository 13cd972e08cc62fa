//! What a request is about, read from its method, path and query alone.
//!
//! `/api/v1/namespaces/a/pods/x/log` is verb `get` on `pods/log`, name `x`, namespace `a`. Anything that is not below `/api/<version>`
//! or `/apis/<group>/<version>` is a non-resource request and has only a path and a lower-case HTTP verb.

use std::borrow::Cow;

/// See the module. Empty strings mean "not present".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub path: String,
    /// `get list watch create update patch delete deletecollection`, or the lower-case HTTP method of a non-resource request. A
    /// review may ask about any other.
    pub verb: Cow<'static, str>,
    pub is_resource: bool,
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// The path segments after the subresource, joined by `/` (`nodes/n/proxy/stats/summary` -> `stats/summary`).
    pub rest: String,
}

impl RequestInfo {
    /// Resolves a request. `query` is the raw query string; only `watch` matters to the verb.
    pub fn resolve(method: &http::Method, path: &str, query: Option<&str>) -> RequestInfo {
        let mut info = RequestInfo {
            path: path.to_string(),
            verb: http_verb(method).into(),
            ..RequestInfo::default()
        };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = version.to_string();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                info.group = group.to_string();
                info.version = version.to_string();
                rest
            }
            _ => return info,
        };
        info.is_resource = true;
        info.locate(rest);
        info.verb = resource_verb(method, &info, query.unwrap_or_default()).into();
        info
    }

    /// The request as authorization sees it: a list or a watch that selects one name is about the object of that name, so that a
    /// role can grant it. The selector is read here as the endpoints read it, or one could ask about one object and see another.
    pub fn with_selected_name(&self, query: Option<&str>) -> Cow<'_, RequestInfo> {
        let selects = self.is_resource && self.name.is_empty() && matches!(&*self.verb, "list" | "watch");
        let name = query.filter(|_| selects).and_then(selected_name);
        match name {
            None => Cow::Borrowed(self),
            Some(name) => Cow::Owned(RequestInfo { name, ..self.clone() }),
        }
    }

    /// `pods`, `deployments.apps`: how the registry and upstream's messages spell a resource of a group.
    pub fn group_resource(&self) -> String {
        group_resource(&self.group, &self.resource)
    }

    /// `v1`, `apps/v1`.
    pub fn group_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `/api/v1/watch/...` (the deprecated prefix) is not served: it would resolve to a resource named `watch`, which is a 404.
    fn locate(&mut self, rest: &[&str]) {
        let rest = match rest {
            ["namespaces", namespace, resource, more @ ..] if !namespace_subresource(resource) => {
                self.namespace = namespace.to_string();
                self.resource = resource.to_string();
                more
            }
            ["namespaces", name, more @ ..] => {
                self.resource = "namespaces".into();
                self.namespace = name.to_string();
                self.name = name.to_string();
                self.set_subresource(more);
                return;
            }
            [resource, more @ ..] => {
                self.resource = resource.to_string();
                more
            }
            [] => return,
        };
        if let [name, more @ ..] = rest {
            self.name = name.to_string();
            self.set_subresource(more);
        }
    }

    fn set_subresource(&mut self, more: &[&str]) {
        if let [subresource, rest @ ..] = more {
            self.subresource = subresource.to_string();
            self.rest = rest.join("/");
        }
    }
}

fn selected_name(query: &str) -> Option<String> {
    let query = crate::endpoints::query::Query::parse(Some(query));
    let fields = api::FieldSelector::parse(query.text("fieldSelector")).ok()?;
    let name = fields.exact("metadata.name")?;
    let good = !name.is_empty() && crate::registry::names::path_segment(name).is_none();
    good.then(|| name.to_owned())
}

/// `deployments` + `apps` -> `deployments.apps`; the core group adds nothing.
pub fn group_resource(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_string()
    } else {
        format!("{resource}.{group}")
    }
}

fn namespace_subresource(word: &str) -> bool {
    matches!(word, "status" | "finalize")
}

/// The verb of what is no method of HTTP's own. No role can name it, so only those who may do all are told that there is no such method.
const UNKNOWN_METHOD: &str = "(unknown method)";

fn http_verb(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "get",
        http::Method::HEAD => "head",
        http::Method::POST => "post",
        http::Method::PUT => "put",
        http::Method::PATCH => "patch",
        http::Method::DELETE => "delete",
        http::Method::OPTIONS => "options",
        http::Method::TRACE => "trace",
        http::Method::CONNECT => "connect",
        _ => UNKNOWN_METHOD,
    }
}

fn resource_verb(method: &http::Method, info: &RequestInfo, query: &str) -> &'static str {
    match *method {
        http::Method::POST => "create",
        http::Method::PUT => "update",
        http::Method::PATCH => "patch",
        http::Method::DELETE if info.name.is_empty() => "deletecollection",
        http::Method::DELETE => "delete",
        http::Method::GET | http::Method::HEAD if !info.name.is_empty() => "get",
        http::Method::GET | http::Method::HEAD if asks_to_watch(query) => "watch",
        http::Method::GET | http::Method::HEAD => "list",
        _ => UNKNOWN_METHOD,
    }
}

fn asks_to_watch(query: &str) -> bool {
    let first = query.split('&').find_map(|pair| match pair.split_once('=') {
        Some(("watch", value)) => Some(value),
        None if pair == "watch" => Some(""),
        _ => None,
    });
    // As upstream reads it: whatever does not say no.
    first.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, target: &str, expected: &str) {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let i = RequestInfo::resolve(&method.parse().unwrap(), path, query);
        let got = format!(
            "{} {} {}|{}|{} ns={} name={} rest={}",
            i.verb,
            i.is_resource,
            i.group,
            i.version,
            join(&i.resource, &i.subresource),
            i.namespace,
            i.name,
            i.rest
        );
        assert_eq!(got, expected, "{method} {target}");
    }

    fn join(resource: &str, subresource: &str) -> String {
        if subresource.is_empty() {
            resource.into()
        } else {
            format!("{resource}/{subresource}")
        }
    }

    #[test]
    fn a_list_of_one_name_is_about_that_object() {
        let name = |method: &str, target: &str| {
            let (path, query) = target.split_once('?').unwrap();
            let info = RequestInfo::resolve(&method.parse().unwrap(), path, Some(query));
            info.with_selected_name(Some(query)).name.clone()
        };
        let secrets = "/api/v1/namespaces/a/secrets";
        assert_eq!(name("GET", &format!("{secrets}?fieldSelector=metadata.name%3Ds")), "s");
        assert_eq!(
            name(
                "GET",
                &format!("{secrets}?watch=1&fieldSelector=metadata.name==s,type=Opaque")
            ),
            "s"
        );
        for (method, query) in [
            ("GET", "fieldSelector=metadata.name!=s"),
            ("GET", "fieldSelector=metadata.namespace=s"),
            ("GET", "fieldSelector=metadata.name="),
            ("GET", "fieldSelector=metadata.name=a%2Fs"),
            // The first selector is the one that counts, here as in the list.
            ("GET", "fieldSelector=&fieldSelector=metadata.name=s"),
            ("GET", "labelSelector=metadata.name=s"),
            ("DELETE", "fieldSelector=metadata.name=s"),
            ("POST", "fieldSelector=metadata.name=s"),
        ] {
            assert_eq!(name(method, &format!("{secrets}?{query}")), "", "{method} {query}");
        }
        let one = format!("{secrets}/x?fieldSelector=metadata.name=s");
        assert_eq!(name("GET", &one), "x");
    }

    #[test]
    fn paths_resolve_to_what_authorization_will_see() {
        check("GET", "/healthz", "get false || ns= name= rest=");
        check("GET", "/api/v1", "get false || ns= name= rest=");
        check("GET", "/api/v1/pods", "list true |v1|pods ns= name= rest=");
        for yes in [
            "watch",
            "watch=",
            "watch=true",
            "watch=1",
            "watch=maybe",
            "limit=1&watch=T",
        ] {
            let target = format!("/api/v1/pods?{yes}");
            check("GET", &target, "watch true |v1|pods ns= name= rest=");
        }
        for no in ["watch=0", "watch=False", "watched=1", "x=watch"] {
            check(
                "GET",
                &format!("/api/v1/pods?{no}"),
                "list true |v1|pods ns= name= rest=",
            );
        }
        check(
            "POST",
            "/api/v1/namespaces/a/pods",
            "create true |v1|pods ns=a name= rest=",
        );
        check(
            "GET",
            "/api/v1/namespaces/a/pods/x/log",
            "get true |v1|pods/log ns=a name=x rest=",
        );
        check(
            "PUT",
            "/api/v1/namespaces/a/finalize",
            "update true |v1|namespaces/finalize ns=a name=a rest=",
        );
        check(
            "DELETE",
            "/api/v1/namespaces/a",
            "delete true |v1|namespaces ns=a name=a rest=",
        );
        check(
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            "deletecollection true apps|v1|deployments ns=a name= rest=",
        );
        check(
            "GET",
            "/api/v1/nodes/n/proxy/stats/summary",
            "get true |v1|nodes/proxy ns= name=n rest=stats/summary",
        );
        check(
            "PATCH",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            "patch true apps|v1|deployments/scale ns=a name=d rest=",
        );
    }
}
