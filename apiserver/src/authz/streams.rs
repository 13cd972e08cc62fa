//! Streams are more than their methods say. A WebSocket opens with GET, so the verb of `pods/exec` may be `get`; but whoever may read
//! everything must not thereby run commands. So a stream needs `create` too, whatever it is asked for with, and so does an upgrade
//! through a node's proxy, which leads to the same streams of its kubelet.

use crate::RequestInfo;
use crate::endpoints::query::percent_decode;

/// What else has to be permitted for a request.
pub(crate) fn implied(info: &RequestInfo, upgrading: bool) -> Option<RequestInfo> {
    if !info.is_resource || !info.group.is_empty() || info.verb == "create" {
        return None;
    }
    let first = percent_decode(info.rest.split('/').next().unwrap_or_default(), false);
    let more = match (info.resource.as_str(), info.subresource.as_str()) {
        ("pods", "exec" | "attach" | "portforward") => true,
        ("nodes", "proxy") => upgrading || KUBELET_STREAMS.iter().any(|path| path.eq_ignore_ascii_case(&first)),
        _ => false,
    };
    more.then(|| RequestInfo {
        verb: "create".into(),
        ..info.clone()
    })
}

/// The kubelet's paths that run something.
const KUBELET_STREAMS: &[&str] = &["exec", "attach", "run", "portForward", "cri"];

/// Whether a stream can be asked for with a verb. Others would be a way around what roles say: `patch` on everything is no right to
/// run commands.
pub(crate) fn answers(subresource: &str, verb: &str) -> bool {
    match subresource {
        "proxy" => true,
        "log" => verb == "get",
        _ => matches!(verb, "get" | "create"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn also(method: &str, path: &str, upgrading: bool) -> Option<String> {
        let info = RequestInfo::resolve(&method.parse().unwrap(), path, None);
        implied(&info, upgrading).map(|more| format!("{} {}/{}", more.verb, more.resource, more.subresource))
    }

    #[test]
    fn a_stream_opened_by_get_needs_create() {
        for stream in ["exec", "attach", "portforward"] {
            let path = format!("/api/v1/namespaces/a/pods/p/{stream}");
            assert_eq!(also("GET", &path, true), Some(format!("create pods/{stream}")));
            assert_eq!(also("GET", &path, false), Some(format!("create pods/{stream}")));
            assert_eq!(also("POST", &path, true), None);
        }
        assert_eq!(also("GET", "/api/v1/namespaces/a/pods/p/log", true), None);
        assert_eq!(also("GET", "/apis/x.io/v1/namespaces/a/pods/p/exec", true), None);
        assert_eq!(also("GET", "/api/v1/namespaces/a/pods/p/proxy/exec", true), None);
    }

    #[test]
    fn a_nodes_proxy_is_no_way_around() {
        let node = |rest: &str| format!("/api/v1/nodes/n/proxy/{rest}");
        let needed = Some("create nodes/proxy".to_owned());
        assert_eq!(also("GET", &node("exec/a/p/c"), false), needed);
        assert_eq!(also("GET", &node("%65xec/a/p/c"), false), needed);
        assert_eq!(also("GET", &node("portForward/a/p"), false), needed);
        assert_eq!(also("GET", &node("anything"), true), needed);
        assert_eq!(also("GET", &node("metrics"), false), None);
    }

    #[test]
    fn streams_are_got_or_created() {
        assert!(answers("exec", "get") && answers("exec", "create") && answers("proxy", "delete"));
        for verb in ["patch", "update", "delete"] {
            assert!(
                !answers("exec", verb) && !answers("portforward", verb) && !answers("log", verb),
                "{verb}"
            );
        }
        assert!(!answers("log", "create"));
    }
}
