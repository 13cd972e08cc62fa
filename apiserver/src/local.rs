//! The server as a service inside the process: the same chain and admission, without sockets and TLS.
//!
//! Identity and fence travel as a request extension of a private type, so no request that came over a socket can have them.

use crate::chain::{self, InProcess};
use crate::identity::AUTHENTICATED;
use crate::{Body, Fence, Server, User};
use bytes::Bytes;
use http::{Request, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A caller inside the process. Cheap to clone; takes any body, so `kube::Client::new(local, "default")` works.
#[derive(Clone)]
pub struct Local {
    server: Arc<Server>,
    caller: InProcess,
}

impl Local {
    pub(crate) fn new(server: Arc<Server>, mut user: User, fence: Option<Fence>) -> Local {
        if !user.is_in(AUTHENTICATED) {
            user.groups.push(AUTHENTICATED.into());
        }
        Local {
            server,
            caller: InProcess { user, fence },
        }
    }
}

impl<B> tower::Service<Request<B>> for Local
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.caller.clone());
        let server = self.server.clone();
        Box::pin(async move { Ok(chain::handle(server, request).await) })
    }
}
