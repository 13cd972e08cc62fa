//! How agents reach the API: transport, certificates, informers, workqueue, expectations, election, recorder.
//!
//! **Theory.** An agent never touches the store: all it knows of the cluster comes from watching the API, and all it
//! does is a request to the API. So an agent is three parts: *caches* that follow the API ([`Informers`]), a *queue* of
//! keys whose objects changed ([`WorkQueue`]), and a *reconcile* that rereads the caches and makes requests
//! ([`Client`]). Whatever the caches hold may be old; whatever is written is therefore guarded by the API's own
//! preconditions (resourceVersion, uid) and, for a leader, by the fence its client carries.
//!
//! **Transport.** [`Client::local`] wraps a service in this process (no socket, no TLS); [`Client::remote`] speaks HTTPS
//! to whichever of the masters works, and learns their addresses from the `kubernetes` Endpoints object.
//!
//! **Promises.** One watch per resource, projection and scope per process, however many components read it. A cache
//! is complete before it says that it is synced, and never shows an older state after a newer one. Change handlers see
//! every change once, in order. A key is never worked on by two workers at a time, and a change that arrives while its
//! key is being worked on is not lost. A refused fence ([`Error::FenceLost`]) is never retried here.
//!
//! **Left out.** Request rate limiting (masters push back by 429), exec credential plugins, protobuf bodies, shared
//! caches between processes.

pub mod certificate;
pub mod election;
mod error;
pub mod expectations;
mod informer;
pub mod limits;
pub mod objects;
mod recorder;
mod request;
mod resource;
mod transport;
mod worker;
mod workqueue;

pub use error::Error;
pub use informer::{Cache, Change, Index, Informers, Projection, Scope, Subscription, Typed};
pub use recorder::{EventType, ObjectReference, Recorder};
pub use request::{Client, DeleteOptions, List, MetaOnly, Patch, Preconditions, Propagation};
pub use resource::{Key, Meta, OwnerReference, Resource};
pub use transport::{Credential, Pem, RemoteOptions};
pub use worker::{Outcome, work};
pub use workqueue::WorkQueue;
