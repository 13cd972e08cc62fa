//! Room. A member whose tables outgrow their quota, or whose disk is nearly full, raises NOSPACE before anything fails: the
//! machine then refuses what needs more room and still takes deletions and compactions. Once there is room again, the
//! member clears its alarm, whoever raised it: unlike in etcd, a NOSPACE alarm that a client raises for a member stands only
//! while that member is short of room.

use std::io;
use std::sync::Arc;

use mvcc::Backend;
use openraft::AsyncRuntime;
use proto::etcd::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, alarm_request::AlarmAction};
use proto::raft::Request;
use proto::raft::request::Op;

use super::Core;
use crate::limits::SPACE_INTERVAL;
use crate::log::Disk;
use crate::options::Space;
use crate::transport::Peers;

/// What a look at the disk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Nothing more fits.
    Short,
    /// Between the two marks: what was said stands.
    Tight,
    /// There is room.
    Ample,
}

/// Judges sizes in bytes. The marks lie apart, so that the alarm does not come and go with every request.
fn judge(space: &Space, used: u64, free: Option<u64>) -> Room {
    let Space {
        quota_bytes,
        reserve_bytes,
        ..
    } = *space;
    let short = free.is_some_and(|free| free < reserve_bytes) || used >= quota_bytes;
    let ample = free.is_none_or(|free| free >= reserve_bytes.saturating_mul(2)) && used < quota_bytes / 10 * 9;
    match (short, ample) {
        (true, _) => Room::Short,
        (false, true) => Room::Ample,
        (false, false) => Room::Tight,
    }
}

/// Keeps this member's alarm.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    loop {
        R::sleep(SPACE_INTERVAL).await;
        let room = match core.look_for_room().await {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!(%error, "cannot tell how much room is left");
                continue;
            }
        };
        let raised = core.reader.view().alarms().contains(&core.no_space());
        let action = match (room, raised) {
            (Room::Short, false) => AlarmAction::Activate,
            (Room::Ample, true) => AlarmAction::Deactivate,
            _ => continue,
        };
        core.set_no_space(action).await;
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    async fn look_for_room(&self) -> io::Result<Room> {
        let (backend, space) = (self.reader.backend().clone(), self.options.space.clone());
        let look = move || {
            let used = backend.size().map_err(io::Error::other)?;
            let free = space.free.0.as_ref().map(|free| free()).transpose()?;
            Ok(judge(&space, used, free))
        };
        self.log.offload(look).await
    }

    fn no_space(&self) -> AlarmMember {
        AlarmMember {
            member_id: self.options.id,
            alarm: AlarmType::Nospace.into(),
        }
    }

    /// What fails is tried again at the next look.
    async fn set_no_space(&self, action: AlarmAction) {
        let AlarmMember { member_id, alarm } = self.no_space();
        let alarm = AlarmRequest {
            action: action.into(),
            member_id,
            alarm,
        };
        let done = self
            .commit(Request {
                op: Some(Op::Alarm(alarm)),
                identity: None,
            })
            .await;
        match (&done, action) {
            (Err(error), _) => tracing::warn!(%error, "the alarm about this member's room could not be changed"),
            (Ok(_), AlarmAction::Activate) => {
                tracing::error!(
                    "no room is left: writes are refused until keys are deleted and compacted, or the disk has room"
                );
            }
            (Ok(_), _) => tracing::info!("there is room again: writes are taken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_comes_before_the_end_and_goes_only_with_some_room() {
        let space = Space {
            quota_bytes: 1_000,
            reserve_bytes: 100,
            ..Space::default()
        };
        assert_eq!(judge(&space, 1_000, None), Room::Short);
        assert_eq!(judge(&space, 950, None), Room::Tight);
        assert_eq!(judge(&space, 899, None), Room::Ample);
        assert_eq!(judge(&space, 0, Some(99)), Room::Short);
        assert_eq!(judge(&space, 0, Some(150)), Room::Tight);
        assert_eq!(judge(&space, 0, Some(200)), Room::Ample);
    }
}
