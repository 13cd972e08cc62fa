//! The Kubernetes API: server, filter chain, authn, authz, endpoints, admission, registry.
