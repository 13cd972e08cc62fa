//! Waiting with a deadline, on the runtime's clock.

use std::time::Duration;

use mvcc::Backend;
use openraft::{AsyncRuntime, Instant};

use super::Core;
use crate::error::Error;
use crate::log::Disk;
use crate::transport::Peers;

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// The deadline of a request that starts now.
    pub(super) fn deadline(&self) -> R::Instant {
        R::Instant::now() + self.options.timing.request
    }

    /// Runs `work` until the deadline or until the member stops.
    pub(super) async fn before<T: Send>(
        &self,
        deadline: R::Instant,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, Error> {
        let limited = R::timeout_at(deadline, work);
        match self.stop.run_until_cancelled(limited).await {
            Some(Ok(done)) => Ok(done),
            Some(Err(_)) => Err(Error::Timeout),
            None => Err(self.stopped_error()),
        }
    }

    /// Waits until entry `index` is applied here.
    pub(super) async fn wait_applied(&self, index: u64, deadline: R::Instant) -> Result<(), Error> {
        let mut next = self.shared.next_index.subscribe();
        let applied = next.wait_for(|next| *next > index);
        self.before(deadline, async { applied.await.map(drop) })
            .await?
            .map_err(|_| self.stopped_error())
    }

    /// Pauses before a request tries again; false once the deadline has passed.
    pub(super) async fn pause(&self, pause: Duration, deadline: R::Instant) -> bool {
        if R::Instant::now() + pause >= deadline {
            return false;
        }
        self.stop.run_until_cancelled(R::sleep(pause)).await.is_some()
    }

    /// Why nothing more is answered.
    pub(super) fn stopped_error(&self) -> Error {
        match &*self.fault.lock() {
            Some(fault) => Error::Fault(fault.clone()),
            None => Error::Stopped,
        }
    }
}
