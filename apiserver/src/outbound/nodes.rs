//! `nodes/proxy`: the kubelet's API under the node's name.

use super::kubelet::{Kubelets, locate};
use super::upgrade;
use crate::registry::Connect;
use crate::{ApiError, Body};

/// Passes `/api/v1/nodes/<name>/proxy/<rest>` on to `/<rest>`.
pub(crate) async fn connect(kubelets: &Kubelets, connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
    // A name may carry a port (`node:10250`); it is the kubelet's either way.
    let name = connect.info.name.split(':').next().unwrap_or_default();
    let address = locate(connect.registry.reader(), name).await?;
    let query = connect
        .request
        .uri()
        .query()
        .map(|q| format!("?{q}"))
        .unwrap_or_default();
    let target = format!("/{}{query}", connect.info.rest);
    upgrade::pass_on(kubelets.way(&address), &address.authority(), &target, connect.request).await
}
