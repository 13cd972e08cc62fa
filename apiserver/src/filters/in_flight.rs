//! How many requests run at once. More are told to come back, so that a burst costs the burster and not everyone.

use crate::{ApiError, RequestInfo, Server, limits};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The two pools.
pub(crate) struct InFlight {
    mutating: Arc<Semaphore>,
    readonly: Arc<Semaphore>,
}

impl InFlight {
    pub(crate) fn new() -> InFlight {
        InFlight {
            mutating: Arc::new(Semaphore::new(limits::MUTATING_IN_FLIGHT_MAX)),
            readonly: Arc::new(Semaphore::new(limits::READONLY_IN_FLIGHT_MAX)),
        }
    }
}

/// A slot for the request, or 429. Long-running requests take none: they would hold it for hours.
pub(crate) fn enter(
    server: &Server,
    info: &RequestInfo,
    exempt: bool,
) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    if exempt || super::timeout::is_long_running(info) {
        return Ok(None);
    }
    let readonly = matches!(&*info.verb, "get" | "list" | "watch" | "head" | "options");
    let pool = if readonly {
        &server.in_flight.readonly
    } else {
        &server.in_flight.mutating
    };
    let slot = pool.clone().try_acquire_owned();
    slot.map(Some).map_err(|_| {
        ApiError::too_many_requests("too many requests, please try again later", limits::RETRY_AFTER_SECONDS)
    })
}
