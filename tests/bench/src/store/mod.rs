//! The keyspace beside etcd: the same clients, the same flags, the same disk, one after the other in turns.
//!
//! Both write to disk before they answer. Everything runs on this machine, clients included, so that what clients use is lost to
//! the members; the rows "cores of ..." tell how much that is.

mod database;
pub mod echo;
mod load;
mod works;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use database::Peer;
use load::Span;
use works::{Figure, Work};

#[derive(Args)]
pub struct Options {
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Work::value_variants().to_vec())]
    work: Vec<Work>,
    /// How often, each database in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measured seconds of each load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The etcd binaries to compare with
    #[arg(long, value_delimiter = ',', default_value = "/usr/bin/etcd")]
    etcd: Vec<PathBuf>,
    /// The proreus binary; without it, the one that lies beside this program
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where data is put: a disk that data can be synced to, no tmpfs
    #[arg(long, default_value = "/var/tmp")]
    place: PathBuf,
}

const TRIES: usize = 3;
const WORK_TIMEOUT: Duration = Duration::from_secs(900);

/// The values of each figure, by database.
type Values = BTreeMap<usize, Vec<f64>>;

pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            measured = measure(options) => measured,
            // Whoever stops this stops the databases, too.
            stop = stopped() => stop,
        }
    })
}

async fn stopped() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        done = tokio::signal::ctrl_c() => done?,
    }
    bail!("stopped")
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let binary = options.binary.clone().map_or_else(crate::cluster::binary, Ok)?;
    refuse_memory(&options.place)?;
    let mut peers = vec![Peer::proreus(binary)?];
    for program in &options.etcd {
        peers.push(Peer::etcd(program.clone())?);
    }
    peers.push(Peer::echo()?);
    let span = Span {
        warm: Duration::from_secs(1),
        measured: Duration::from_secs(options.seconds),
    };
    let mut table: Vec<(Figure, Values)> = Vec::new();
    for run in 0..options.runs {
        for work in &options.work {
            // Whoever is first in one run is last in the next.
            let mut turns: Vec<usize> = (0..peers.len()).collect();
            if run % 2 == 1 {
                turns.reverse();
            }
            for turn in turns {
                let peer = &peers[turn];
                if peer.is_echo && !work.has_ceiling() {
                    continue;
                }
                let measured = tried(*work, peer, &options.place, span).await;
                for figure in measured.with_context(|| format!("{work:?} of {}", peer.name))? {
                    eprintln!(
                        "{run} {} | {} | {} | {:.2}",
                        peer.name, figure.work, figure.unit, figure.value
                    );
                    note(&mut table, turn, figure);
                }
            }
        }
    }
    print(&peers, &table);
    Ok(())
}

/// A leader may change under load, which spoils a measurement; it is made again.
async fn tried(work: Work, peer: &Peer, place: &Path, span: Span) -> anyhow::Result<Vec<Figure>> {
    let mut failed = None;
    for _ in 0..TRIES {
        match tokio::time::timeout(WORK_TIMEOUT, work.measure(peer, place, span)).await {
            Ok(Ok(figures)) => return Ok(figures),
            Ok(Err(error)) => failed = Some(error),
            Err(late) => failed = Some(late.into()),
        }
        eprintln!("{work:?} of {} is to be made again: {failed:?}", peer.name);
    }
    Err(failed.context("no try")?)
}

/// What is synced to memory is synced at no cost.
fn refuse_memory(place: &Path) -> anyhow::Result<()> {
    use nix::sys::statfs::{TMPFS_MAGIC, statfs};
    let kind = statfs(place).with_context(|| format!("--place: no such directory: {}", place.display()))?;
    ensure!(
        kind.filesystem_type() != TMPFS_MAGIC,
        "--place: {} is a tmpfs",
        place.display()
    );
    Ok(())
}

fn note(table: &mut Vec<(Figure, Values)>, turn: usize, figure: Figure) {
    let row = table
        .iter()
        .position(|(known, _)| known.work == figure.work && known.unit == figure.unit);
    let row = row.unwrap_or_else(|| {
        table.push((figure.clone(), Values::new()));
        table.len() - 1
    });
    table[row].1.entry(turn).or_default().push(figure.value);
}

/// Prints medians with the least and the most, and what proreus' median is in parts of each other's.
fn print(peers: &[Peer], table: &[(Figure, Values)]) {
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    let ratios: Vec<String> = names[1..].iter().map(|name| format!("/ {name}")).collect();
    println!("| work | unit | {} | {} |", names.join(" | "), ratios.join(" | "));
    println!("|---|---{}|", "|---".repeat(names.len() + ratios.len()));
    for (figure, values) in table {
        let cell = |peer: usize| values.get(&peer).map_or(String::new(), |values| spread(values));
        let own = values.get(&0).map(|values| median(values));
        let ratio = |peer: usize| match (own, values.get(&peer)) {
            (Some(own), Some(values)) => format!("{:.2}", own / median(values)),
            _ => String::new(),
        };
        let cells: Vec<String> = (0..peers.len()).map(cell).collect();
        let ratios: Vec<String> = (1..peers.len()).map(ratio).collect();
        println!(
            "| {} | {} | {} | {} |",
            figure.work,
            figure.unit,
            cells.join(" | "),
            ratios.join(" | ")
        );
    }
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({} to {})", short(median(values)), short(least), short(most))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Three digits, or all before the point.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert!((median(&[4.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn cells_have_three_digits() {
        assert_eq!(spread(&[1234.5, 12.34, 1.234]), "12.3 (1.23 to 1234)");
    }
}
