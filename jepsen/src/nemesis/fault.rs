//! Each fault: how it is made and how it is mended. Mending is idempotent, and safe when nothing was broken.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::Signal;
use proto::etcd::etcdserverpb::{CompactionRequest, DefragmentRequest, MoveLeaderRequest, StatusRequest};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::{certificates, corrupt, lag, members, spoil};
use crate::cluster::Cluster;
use crate::db::Kind;

/// Packets of a hundred that a lossy network drops.
const LOSS_PERCENT: u32 = 20;
/// How long packets are held back, in milliseconds: as between towns, as across an ocean, and so that they overtake.
const DELAYS_MS: [Range<u64>; 3] = [10..30, 80..120, 1..250];
/// How far a wall clock is moved, in seconds.
const SKEW_S: i64 = 120;
/// Revisions that a compaction leaves at most.
const COMPACT_KEEP: i64 = 200;
/// How often a member that is removed is down by then.
const DOWN: f64 = 0.3;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Members end at once: one, the leader, a majority or all.
    Kill,
    /// Members stand still and go on later.
    Pause,
    /// Links are cut: one member, the leader, halves, a ring of majorities, or one direction only.
    Partition,
    /// A part of the packets between members is lost.
    Loss,
    /// Every packet between members takes its time, and they overtake each other.
    Delay,
    /// Members stop in order and start again, one after the other.
    Restart,
    /// The leader hands over.
    MoveLeader,
    /// History is compacted, and a member defragmented.
    Compact,
    /// Wall clocks jump.
    Clock,
    /// A member's disk is full.
    Full,
    /// A member's disk is slow.
    Slow,
    /// A member, or all at once, lose power: what was not synced is gone.
    Power,
    /// Bits are flipped in the files of one member while it is down.
    Corrupt,
    /// A member is removed through the door, and a new one of its name added in its place.
    Members,
    /// The cluster shrinks to a smaller odd size, and grows back with new members.
    Resize,
    /// Members and clients get new certificates while they run, and every connection breaks.
    Rotate,
    /// A member is away while more is written than the log keeps: it needs a snapshot.
    Lag,
    /// A member needs a snapshot, and bits are flipped in it at one end of its way.
    CorruptSnapshot,
}

impl Fault {
    /// In the order in which they are mended.
    pub(crate) const ALL: [Fault; 18] = [
        Fault::Partition,
        Fault::Loss,
        Fault::Delay,
        // Before whatever starts members: they must not start on disks without power.
        Fault::Power,
        Fault::Full,
        Fault::Slow,
        Fault::Clock,
        Fault::Pause,
        Fault::Corrupt,
        Fault::Kill,
        Fault::Restart,
        Fault::MoveLeader,
        Fault::Compact,
        Fault::Rotate,
        Fault::Lag,
        Fault::CorruptSnapshot,
        // Need a cluster that works.
        Fault::Members,
        Fault::Resize,
    ];

    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_string())
            .unwrap_or_default()
    }

    /// Whether members need disks of their own.
    pub(crate) fn needs_disks(self) -> bool {
        matches!(self, Fault::Full | Fault::Slow | Fault::Power)
    }

    /// Whether it is more than nothing there: etcd does not ask libc for the time, and proreus's names of snapshots are known.
    pub(crate) fn can_be_made_on(self, db: Kind) -> bool {
        db == Kind::Proreus || !matches!(self, Fault::Clock | Fault::CorruptSnapshot)
    }

    /// With fewer members it cannot be made.
    pub(crate) fn members_min(self) -> u8 {
        match self {
            Fault::Members | Fault::Resize | Fault::Lag | Fault::CorruptSnapshot => 3,
            Fault::Partition | Fault::Loss | Fault::Delay | Fault::MoveLeader => 2,
            _ => 1,
        }
    }

    /// Whether both may be broken at the same time.
    pub(crate) fn mixes_with(self, other: Fault) -> bool {
        let tolerates = |one: Fault, other| one.company().is_none_or(|company| company.contains(&other));
        self != other && tolerates(self, other) && tolerates(other, self)
    }

    /// What else may be broken at the same time, where that is not everything. The mending of a fault that stops members
    /// starts all that are down: not before those without power have it again, and not while one has to stay away. What
    /// changes the cluster through its door needs one that works.
    fn company(self) -> Option<&'static [Fault]> {
        const NETWORK: &[Fault] = &[Fault::Partition, Fault::Loss, Fault::Delay];
        match self {
            Fault::Power => Some(NETWORK),
            // Its member is up again by the time that anything else is mended.
            Fault::Corrupt => Some(&[Fault::Partition, Fault::Loss, Fault::Delay, Fault::Kill, Fault::Pause]),
            // A member started on a full disk may end: it is started again once there is room.
            Fault::Full => Some(&[Fault::Partition, Fault::Loss, Fault::Delay, Fault::Kill]),
            Fault::Restart | Fault::Members | Fault::Resize | Fault::Rotate | Fault::Lag | Fault::CorruptSnapshot => {
                Some(&[])
            }
            _ => None,
        }
    }

    /// Breaks something. Says what.
    ///
    /// # Errors
    /// It cannot be done on this machine, or in this state.
    pub(crate) async fn begin(self, cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
        match self {
            Fault::Kill => {
                let members = victims(cluster, random).await;
                members.iter().for_each(|member| cluster.kill(*member));
                Ok(names(cluster, &members))
            }
            Fault::Pause => {
                let members = victims(cluster, random).await;
                members
                    .iter()
                    .for_each(|member| cluster.signal(*member, Signal::SIGSTOP));
                Ok(names(cluster, &members))
            }
            Fault::Partition => partition(cluster, random).await,
            Fault::Loss => {
                cluster.network.lose(LOSS_PERCENT)?;
                Ok(format!("{LOSS_PERCENT} % of the packets"))
            }
            Fault::Delay => {
                let milliseconds = DELAYS_MS[random.random_range(0..DELAYS_MS.len())].clone();
                cluster.network.delay(milliseconds.clone())?;
                Ok(format!("{} to {} ms", milliseconds.start, milliseconds.end))
            }
            Fault::Restart => restart_all(cluster, random).await,
            Fault::MoveLeader => move_leader(cluster, random).await,
            Fault::Compact => compact(cluster, random).await,
            Fault::Clock => skew(cluster, random),
            Fault::Full => {
                let member = random.random_range(0..cluster.len());
                cluster.disk_fails(member, true);
                cluster.disks[member].fill()?;
                Ok(cluster.name(member).into())
            }
            Fault::Slow => {
                let member = random.random_range(0..cluster.len());
                cluster.disks[member].slow()?;
                Ok(cluster.name(member).into())
            }
            Fault::Power => {
                let all = random.random_bool(0.5);
                let one = random.random_range(0..cluster.len());
                let members: Vec<usize> = (0..cluster.len()).filter(|member| all || *member == one).collect();
                for member in &members {
                    cluster.disk_fails(*member, true);
                    cluster.disks[*member].power_off()?;
                    cluster.kill(*member);
                }
                Ok(names(cluster, &members))
            }
            Fault::Corrupt => corrupt::flip(cluster, random),
            Fault::Members => members::remove(cluster, random, DOWN).await,
            Fault::Resize => members::shrink(cluster, random).await,
            Fault::Rotate => certificates::rotate(cluster, random).await,
            Fault::Lag => lag::leave_behind(cluster, random).await,
            Fault::CorruptSnapshot => spoil::spoil(cluster, random).await,
        }
    }

    /// Mends it.
    ///
    /// # Errors
    /// It cannot be mended.
    pub(crate) async fn end(self, cluster: &Cluster) -> anyhow::Result<()> {
        let all = 0..cluster.len();
        match self {
            Fault::Kill | Fault::Corrupt | Fault::Restart | Fault::Lag | Fault::CorruptSnapshot => {
                all.into_iter().try_for_each(|member| cluster.start(member))
            }
            Fault::Pause => {
                all.into_iter()
                    .for_each(|member| cluster.signal(member, Signal::SIGCONT));
                Ok(())
            }
            Fault::Partition | Fault::Loss => cluster.network.heal(),
            Fault::Delay => {
                cluster.network.hurry();
                Ok(())
            }
            Fault::Members | Fault::Resize => members::add(cluster).await,
            Fault::Clock => all.into_iter().try_for_each(|member| cluster.set_clock_right(member)),
            Fault::Rotate => Ok(()),
            Fault::Full => {
                cluster.disks.iter().for_each(|disk| disk.free());
                start_on_sound_disks(cluster)
            }
            Fault::Slow => {
                cluster.disks.iter().for_each(|disk| disk.fast());
                Ok(())
            }
            Fault::Power => {
                for member in all.filter(|member| !cluster.is_running(*member)) {
                    if let Some(disk) = cluster.disks.get(member) {
                        disk.power_on()?;
                    }
                }
                start_on_sound_disks(cluster)
            }
            Fault::MoveLeader | Fault::Compact => Ok(()),
        }
    }
}

/// Starts whatever does not run. From here on an end is the member's own.
fn start_on_sound_disks(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.watch_for_ends();
    for member in 0..cluster.len() {
        cluster.disk_fails(member, false);
        cluster.start(member)?;
    }
    Ok(())
}

fn names(cluster: &Cluster, members: &[usize]) -> String {
    members
        .iter()
        .map(|member| cluster.name(*member))
        .collect::<Vec<_>>()
        .join(", ")
}

/// One member, the leader, a majority, or all.
async fn victims(cluster: &Cluster, random: &mut StdRng) -> Vec<usize> {
    let mut members: Vec<usize> = (0..cluster.len()).collect();
    members.shuffle(random);
    match random.random_range(0..4) {
        0 => members.truncate(1),
        1 => {
            let leader = cluster.leader().await;
            members = vec![leader.unwrap_or(members[0])];
        }
        2 => members.truncate(cluster.len() / 2 + 1),
        _ => {}
    }
    members.sort_unstable();
    members
}

async fn partition(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let mut members: Vec<usize> = (0..cluster.len()).collect();
    members.shuffle(random);
    let majority = cluster.len() / 2 + 1;
    let apart = |side: &[usize]| {
        let side: BTreeSet<usize> = side.iter().copied().collect();
        let all = 0..cluster.len();
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        pairs
            .filter(|(from, to)| side.contains(from) != side.contains(to))
            .collect::<Vec<_>>()
    };
    let (pairs, detail) = match random.random_range(0..5) {
        0 => (apart(&members[..1]), format!("{} alone", cluster.name(members[0]))),
        1 => {
            let leader = cluster.leader().await.unwrap_or(members[0]);
            (apart(&[leader]), format!("{} alone, which leads", cluster.name(leader)))
        }
        2 => (
            apart(&members[majority..]),
            format!("{} in the minority", names(cluster, &members[majority..])),
        ),
        3 => {
            let pairs = ring(members.len()).into_iter();
            (
                pairs.map(|(a, b)| (members[a], members[b])).collect(),
                match members[..] {
                    [one, other, _] => format!("{} and {} from each other", cluster.name(one), cluster.name(other)),
                    _ => "a ring of majorities".into(),
                },
            )
        }
        _ => {
            let one = members[0];
            let deaf = random.random_bool(0.5);
            let others = members[1..].iter();
            let pairs = others
                .map(|other| if deaf { (*other, one) } else { (one, *other) })
                .collect();
            (
                pairs,
                format!("{} is {}", cluster.name(one), if deaf { "deaf" } else { "mute" }),
            )
        }
    };
    cluster.network.cut(&pairs)?;
    Ok(detail)
}

/// The links to cut so that everyone hears just enough of its neighbours in a ring: everyone has a majority, and no two the same
/// one. In a ring of three everyone is everyone's neighbour: one link is cut there, and two of them have a majority each.
fn ring(len: usize) -> Vec<(usize, usize)> {
    if len <= 3 {
        return vec![(0, 1), (1, 0)];
    }
    let reach = (len / 2).div_ceil(2);
    let distance = |a: usize, b: usize| ((a + len - b) % len).min((b + len - a) % len);
    let links = (0..len).flat_map(|a| (0..len).map(move |b| (a, b)));
    links.filter(|(a, b)| distance(*a, *b) > reach).collect()
}

async fn restart_all(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let mut members: Vec<usize> = (0..cluster.len()).collect();
    members.shuffle(random);
    members.retain(|member| cluster.is_running(*member));
    let mut slow = Vec::new();
    for member in &members {
        if !cluster.stop(*member).await {
            slow.push(cluster.name(*member));
        }
        cluster.start(*member)?;
        // The next one stops only when this one is back, as an operator would do; but a test does not wait for ever.
        for _ in 0..20 {
            if cluster.answers(*member).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    let note = if slow.is_empty() {
        String::new()
    } else {
        format!("; {} had to be killed", slow.join(", "))
    };
    Ok(format!("{}{note}", names(cluster, &members)))
}

async fn move_leader(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let mut members: Vec<usize> = (0..cluster.len()).collect();
    members.shuffle(random);
    let leader = cluster.leader().await.ok_or_else(|| anyhow::anyhow!("nobody leads"))?;
    let to = members.into_iter().find(|member| *member != leader);
    let to = to.ok_or_else(|| anyhow::anyhow!("there is only one member"))?;
    let work = async {
        let status = cluster
            .target(to)
            .connect()?
            .maintenance
            .status(StatusRequest {})
            .await?
            .into_inner();
        let target_id = status.header.unwrap_or_default().member_id;
        cluster
            .target(leader)
            .connect()?
            .maintenance
            .move_leader(MoveLeaderRequest { target_id })
            .await?;
        anyhow::Ok(())
    };
    tokio::time::timeout(REQUEST_TIMEOUT, work).await??;
    Ok(format!("from {} to {}", cluster.name(leader), cluster.name(to)))
}

async fn compact(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let member = random.random_range(0..cluster.len());
    let keep = random.random_range(0..COMPACT_KEEP);
    let physical = random.random_bool(0.5);
    let work = async {
        let mut client = cluster.target(member).connect()?;
        let status = client.maintenance.status(StatusRequest {}).await?.into_inner();
        let revision = status.header.unwrap_or_default().revision - keep;
        client.kv.compact(CompactionRequest { revision, physical }).await?;
        client.maintenance.defragment(DefragmentRequest {}).await?;
        anyhow::Ok(revision)
    };
    let revision = tokio::time::timeout(REQUEST_TIMEOUT, work).await??;
    Ok(format!("through {} at revision {revision}", cluster.name(member)))
}

fn skew(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let mut detail = Vec::new();
    for member in 0..cluster.len() {
        let seconds = random.random_range(-SKEW_S..=SKEW_S);
        cluster.skew(member, seconds)?;
        detail.push(format!("{} {seconds:+} s", cluster.name(member)));
    }
    Ok(detail.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_mix_where_the_mending_of_one_does_not_undo_the_other() {
        assert!(Fault::Corrupt.mixes_with(Fault::Partition) && Fault::Partition.mixes_with(Fault::Corrupt));
        assert!(Fault::Full.mixes_with(Fault::Kill) && Fault::Kill.mixes_with(Fault::Pause));
        // Members would be started on disks without power.
        assert!(!Fault::Power.mixes_with(Fault::Kill) && !Fault::Kill.mixes_with(Fault::Power));
        for alone in [
            Fault::Members,
            Fault::Resize,
            Fault::Lag,
            Fault::CorruptSnapshot,
            Fault::Restart,
        ] {
            assert!(
                Fault::ALL
                    .into_iter()
                    .all(|other| !alone.mixes_with(other) && !other.mixes_with(alone))
            );
        }
        assert!(Fault::ALL.into_iter().all(|fault| !fault.mixes_with(fault)));
    }

    #[test]
    fn in_a_ring_everyone_has_a_majority_and_no_two_the_same() {
        for len in [5, 7] {
            let cut: BTreeSet<(usize, usize)> = ring(len).into_iter().collect();
            let heard = |a: usize| (0..len).filter(|b| !cut.contains(&(a, *b))).collect::<BTreeSet<_>>();
            let heard: BTreeSet<_> = (0..len).map(heard).collect();
            assert_eq!(heard.len(), len, "no two hear the same");
            assert!(
                heard
                    .iter()
                    .all(|members| members.len() > len / 2 && members.len() < len),
                "{heard:?}"
            );
            assert!(
                cut.iter().all(|(a, b)| cut.contains(&(*b, *a))),
                "links are cut in both directions"
            );
        }
        assert_eq!(ring(3), [(0, 1), (1, 0)]);
    }
}
