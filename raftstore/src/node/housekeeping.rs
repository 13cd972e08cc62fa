//! Flushing the tables, purging the log behind them, and removing what compaction made superfluous.

use std::sync::Arc;
use std::time::Duration;

use mvcc::Backend;
use openraft::AsyncRuntime;

use super::Core;
use crate::error::Error;
use crate::limits::{COMPACTION_PAUSE, COMPACTION_STEP_REVISIONS};
use crate::log::Disk;
use crate::options::Retention;
use crate::transport::Peers;

const LOOK_AROUND: Duration = Duration::from_secs(1);

/// Flushes the tables each time enough log was applied, which bounds the replay at a restart, and lets go of the log
/// behind what is flushed, except for what peers that lag may still need.
pub async fn flush_and_purge<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    let Retention {
        flush_bytes,
        entries,
        bytes,
    } = core.options.retention;
    loop {
        R::sleep(LOOK_AROUND).await;
        let flushed = core.reader.backend().flushed();
        let applied = *core.shared.next_index.borrow();
        let behind = flushed.map_or(0, |id| id.index + 1);
        // openraft calls a flush a snapshot: it has to know up to where the log may go.
        if applied > behind
            && core.log.payload_bytes(behind, applied) >= flush_bytes
            && core.raft.trigger().snapshot().await.is_err()
        {
            return;
        }
        let Some(flushed) = flushed else { continue };
        let keep_from = core.log.keep_from(entries, bytes);
        let Some(upto) = keep_from.checked_sub(1).map(|upto| upto.min(flushed.index)) else {
            continue;
        };
        if core.log.purged().is_none_or(|purged| purged.index < upto)
            && core.raft.trigger().purge_log(upto).await.is_err()
        {
            return;
        }
    }
}

/// Removes rows behind the compacted revision, in small steps with pauses.
pub async fn sweep<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    let mut compacted = core.shared.compacted.subscribe();
    loop {
        let target = *compacted.borrow_and_update();
        loop {
            let reader = core.reader.clone();
            let step = move || {
                reader
                    .physical_compact(COMPACTION_STEP_REVISIONS)
                    .map_err(std::io::Error::other)
            };
            match core.log.offload(step).await {
                Ok(swept) if swept.done => break,
                Ok(_) => R::sleep(COMPACTION_PAUSE).await,
                Err(error) => return core.report_fault(&format!("removing compacted rows failed: {error}")),
            }
        }
        core.swept
            .send_if_modified(|swept| std::mem::replace(swept, target.max(*swept)) < target);
        if compacted.changed().await.is_err() {
            return;
        }
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Waits until the rows behind the present compacted revision are gone.
    pub(super) async fn wait_swept(&self) -> Result<(), Error> {
        let target = self.reader.view().compacted();
        let mut swept = self.swept.subscribe();
        let done = swept.wait_for(|swept| *swept >= target);
        match self.stop.run_until_cancelled(done).await {
            Some(Ok(_)) => Ok(()),
            _ => Err(self.stopped_error()),
        }
    }
}
