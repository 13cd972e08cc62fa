//! Requests this server sends: on behalf of its clients to the kubelets of nodes and to pods, on its own to the services that the
//! configuration names.
//!
//! **Theory.** What is about nodes and containers goes to the kubelet's own HTTPS API, under this server's client certificate. A plain answer (logs) is
//! passed on as it arrives. An upgrade (exec, attach, port-forward) is passed on too: the client's upgrade headers go to
//! the kubelet, the kubelet's answer goes back, and from then on bytes are copied both ways. The server does not look into
//! the streams, so every protocol that client and kubelet share works.
//!
//! **Left out.** Proxying to pods and services over https.

pub(crate) mod answers;
mod kubelet;
pub mod nodes;
pub mod pods;
pub(crate) mod proxy;
pub mod remote;
mod upgrade;

use crate::ApiError;

pub use kubelet::Kubelets;

/// The answer when the server was started without a certificate for kubelets.
pub(crate) fn not_configured() -> ApiError {
    ApiError::unavailable(
        "this API server has no client certificate for kubelets: set the kubelet client certificate and key",
    )
}
