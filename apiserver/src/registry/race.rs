//! The loop of every change to an object that exists: try on the state this member has, and again on a newer one when somebody
//! else was faster, or when it was refused for what may be an old state.

use super::Registry;
use super::served::Served;
use super::store::Target;
use crate::ApiError;
use crate::status::from_storage;
use storage::{Current, Storage, limits::UPDATE_ATTEMPTS};

/// What an attempt came to.
pub(super) enum Step<T> {
    Done(T),
    /// Somebody else wrote: go on from this state, or from a fresh read.
    Again(Option<Current>),
    /// The write itself failed: with what result, nobody knows.
    Failed(ApiError),
}

/// One change on its way.
pub(super) struct Race<'a> {
    storage: Storage,
    served: &'a Served,
    namespace: &'a str,
    name: &'a str,
    current: Current,
    attempts: usize,
}

impl<'a> Race<'a> {
    /// Starts from what this member has.
    pub(super) async fn begin(registry: &Registry, target: &Target<'a>) -> Result<Race<'a>, storage::Error> {
        let storage = registry.reader().storage().clone();
        let (served, namespace, name) = (target.served, target.namespace, target.name);
        let current = storage.current(&served.collection, namespace, name).await?;
        Ok(Race {
            storage,
            served,
            namespace,
            name,
            current,
            attempts: 0,
        })
    }

    /// The state to try on.
    pub(super) fn current(&self) -> &Current {
        &self.current
    }

    /// Takes what an attempt came to: the end of the race, or `None` when [`Race::current`] is to be tried.
    pub(super) async fn settle<T>(&mut self, step: Result<Step<T>, ApiError>) -> Option<Result<T, ApiError>> {
        self.attempts += 1;
        let lost = self.attempts == UPDATE_ATTEMPTS;
        match step {
            Ok(Step::Done(done)) => return Some(Ok(done)),
            Ok(Step::Failed(error)) => return Some(Err(error)),
            // This member's copy may be what made it fail: only a fresh one can refuse.
            Err(error) if self.current.fresh => return Some(Err(error)),
            _ if lost => return Some(Err(ApiError::modified(&self.served.name, self.name))),
            Ok(Step::Again(Some(now))) => self.current = now,
            Ok(Step::Again(None)) | Err(_) => match self.refreshed().await {
                Ok(current) => self.current = current,
                Err(error) => return Some(Err(error)),
            },
        }
        None
    }

    async fn refreshed(&self) -> Result<Current, ApiError> {
        let read = self
            .storage
            .refreshed(&self.served.collection, self.namespace, self.name);
        read.await
            .map_err(|error| from_storage(error, &self.served.name, self.name))
    }
}
