//! Members that come and go: who is one, which machine they run on, and what is known about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use raftstore::pb::AlarmRequest;
use raftstore::pb::alarm_request::AlarmAction;
use raftstore::{Member, Store};

use super::{Cluster, Death, Machine, Standing};
use crate::call::Call;
use crate::clients::ask;
use crate::executor;
use crate::runtime::timeout;

/// How long somebody who frees room waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a member of that name is reached.
pub fn url(name: &str) -> String {
    format!("https://{name}:2380")
}

impl Cluster {
    /// The clock that a member's machine follows.
    pub fn clock(&self, id: u64) -> Option<usize> {
        Some(self.machines.lock().get(&id)?.clock)
    }

    /// A member's name.
    pub fn name(&self, id: u64) -> Option<String> {
        Some(self.machines.lock().get(&id)?.name.clone())
    }

    /// What a member is to the cluster.
    pub fn standing(&self, id: u64) -> Option<Standing> {
        Some(self.machines.lock().get(&id)?.standing)
    }

    /// Members that may still be some: all that were not removed for certain, given up or not.
    pub fn present(&self) -> BTreeSet<u64> {
        let machines = self.machines.lock();
        let present = machines
            .iter()
            .filter(|(_, machine)| machine.standing != Standing::Removed);
        present.map(|(id, _)| *id).collect()
    }

    /// Members that the cluster was founded with and whose removal nobody asked for.
    pub fn founders(&self) -> usize {
        let machines = self.machines.lock();
        let founders = machines
            .values()
            .filter(|machine| !machine.joined && machine.standing == Standing::Present);
        founders.count()
    }

    /// Members that were given up.
    pub fn lost(&self) -> BTreeSet<u64> {
        let machines = self.machines.lock();
        machines
            .iter()
            .filter(|(_, machine)| machine.lost)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The members that one is started with: those that the others know now, as whoever starts it would write them down.
    pub(super) fn roster(&self, id: u64) -> Vec<Member> {
        let machines = self.machines.lock();
        let present = machines
            .iter()
            .filter(|(_, machine)| machine.standing != Standing::Removed);
        // Where nobody joins, members go by a shorter address: bytes of the log decide when it is purged, and a seed that
        // was kept has to stay the run that it was.
        let address = |(id, machine): (&u64, &Machine)| match self.build.joiners {
            0 => format!("sim://{id}"),
            _ => url(&machine.name),
        };
        let member = |(id, machine): (&u64, &Machine)| Member {
            id: *id,
            name: machine.name.clone(),
            peer_urls: vec![address((id, machine))],
            client_urls: vec![],
            learner: false,
        };
        let mut roster: Vec<Member> = present.map(member).collect();
        if !roster.iter().any(|member| member.id == id) {
            // It does not know that it was removed.
            roster.extend(machines.get_key_value(&id).map(member));
        }
        roster
    }

    /// Puts up a machine for a member that was added, and starts it. Nothing happens without a clock for it.
    pub fn install(self: &Arc<Self>, id: u64, name: &str, learner: bool) {
        {
            let mut machines = self.machines.lock();
            let clock = machines.values().map(|machine| machine.clock).max().unwrap_or(0) + 1;
            if machines.contains_key(&id) || clock > self.build.members as usize + self.build.joiners {
                return;
            }
            let mut machine = Machine::new(id, clock, name.to_owned(), &self.monitor);
            machine.joined = true;
            machine.learner = learner;
            machines.insert(id, machine);
        }
        self.monitor.tell(|| format!("m{id} is added as {name}"));
        self.start(id);
    }

    /// Whether there are clocks for some more machines: members may turn up that were added by calls without an answer.
    pub fn has_place(&self) -> bool {
        self.machines.lock().len() + 2 < self.build.members as usize + self.build.joiners
    }

    /// Switches a member's machine off for good.
    pub fn retire(&self, id: u64) {
        self.end(id, Death::Killed);
        if let Some(machine) = self.machines.lock().get_mut(&id) {
            machine.lost = true;
        }
    }

    /// Learners that wait for somebody to promote them.
    pub fn waits(&self, id: u64) -> bool {
        self.machines
            .lock()
            .get(&id)
            .is_some_and(|machine| machine.learner && !machine.lost)
    }

    /// Starts a member again with the members as they are now, if it never took anything, and waits for one to know it that was
    /// removed since: what it says when it waits asks for that.
    pub fn restart_if_not_admitted(self: &Arc<Self>, id: u64) {
        let waits = {
            let machines = self.machines.lock();
            let is_removed = |other: &u64| {
                machines
                    .get(other)
                    .is_none_or(|other| other.standing == Standing::Removed)
            };
            let machine = machines.get(&id).filter(|machine| machine.process.is_some());
            machine.is_some_and(|machine| {
                let is_empty = machine
                    .store
                    .as_ref()
                    .is_some_and(|store| store.status().log_index == 0);
                is_empty && machine.roster.iter().any(is_removed)
            })
        };
        if waits {
            self.end(id, Death::Killed);
            self.start(id);
        }
    }

    /// Takes the right to change the membership, unless somebody has it.
    pub fn begin_change(&self) -> bool {
        !self.changing.swap(true, Ordering::Relaxed)
    }

    /// Gives it back.
    pub fn end_change(&self) {
        self.changing.store(false, Ordering::Relaxed);
    }

    /// Whether somebody has it.
    pub fn is_changing(&self) -> bool {
        self.changing.load(Ordering::Relaxed)
    }

    /// Notes what a member is to the cluster.
    pub fn set_standing(&self, id: u64, standing: Standing) {
        if let Some(machine) = self.machines.lock().get_mut(&id) {
            machine.standing = standing;
        }
    }

    /// The members as each running one knows them, with a vote or without.
    pub fn views(&self) -> BTreeMap<u64, BTreeMap<u64, bool>> {
        let kept = self.kept().into_iter();
        let stores = kept.filter_map(|id| Some((id, self.store(id)?.0)));
        let view = |store: Store| {
            let members = store.members().into_iter();
            members.map(|member| (member.id, !member.learner)).collect()
        };
        stores.map(|(id, store)| (id, view(store))).collect()
    }

    /// A member that runs although it was removed, can find that out, and goes on.
    pub fn undead(&self) -> Option<u64> {
        let kept: BTreeSet<u64> = self.kept().into_iter().collect();
        let leader = self.leader();
        let took_part = self.monitor.history(|history| history.took_part.clone());
        let machines = self.machines.lock();
        let runs = machines
            .iter()
            .filter_map(|(id, machine)| Some((*id, machine, machine.store.as_ref()?)));
        let mut removed = runs.filter(|(_, machine, _)| machine.standing == Standing::Removed && !machine.lost);
        removed.find_map(|(id, machine, store)| {
            let heard_of: BTreeSet<u64> = store.members().iter().map(|member| member.id).collect();
            // Whoever took part knows since when it was a member, so that all it heard of can tell it. To one that never took
            // anything of the log only who leads can say that it is none any more, if that is one it was started with.
            let is_told = took_part.contains(&id) && !heard_of.is_disjoint(&kept);
            let can_ask = leader.is_some_and(|leader| heard_of.contains(&leader) || machine.roster.contains(&leader));
            (is_told || can_ask).then_some(id)
        })
    }

    /// Deletes and forgets everything, as somebody would whose cluster is out of room, and takes back the alarms of members
    /// that are gone: nobody else does.
    pub async fn make_room(&self, through: u64) {
        ask(self, through, Call::Delete { key: None }, PATIENCE).await;
        let revision = self.monitor.history(|history| history.revision);
        ask(self, through, Call::Compact { revision }, PATIENCE).await;
        let Some((store, process)) = self.store(through) else {
            return;
        };
        let kept = self.kept();
        let raised = store.view().alarms().to_vec();
        for alarm in raised.into_iter().filter(|alarm| !kept.contains(&alarm.member_id)) {
            let request = AlarmRequest {
                action: AlarmAction::Deactivate.into(),
                member_id: alarm.member_id,
                alarm: alarm.alarm,
            };
            let store = store.clone();
            let asked = executor::spawn_in(process, async move { store.alarm(request).await });
            // Unanswered, it is tried again as long as the alarm stands.
            let _ = timeout(PATIENCE, asked).await;
        }
    }
}
