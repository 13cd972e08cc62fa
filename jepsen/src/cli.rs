//! The command line.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand, ValueEnum};

use crate::limits::{CLIENTS_MAX, RATE, SUITE_MINUTES_MAX, TEST_SECONDS_MAX};
use crate::nemesis::Fault;
use crate::workload::{Append, Election, Kube, Lease, Lock, Pods, Register, Set, Txn, Watch, Wr};
use crate::{db, leftovers, run, suite};

#[derive(Parser)]
#[command(
    name = "jepsen",
    about = "Breaks real members on a schedule and judges what their clients saw"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster, drive it, break it, heal it, and judge it.
    Test(TestArgs),
    /// Run the matrix of all workloads and faults for some time, and go on with it later.
    Suite(SuiteArgs),
    /// Remove what tests that were killed left on this machine: namespaces, links, rules, disks.
    Clean,
    /// Judge the stored history of a test again, also of one that was killed.
    Check {
        /// The test's directory.
        directory: PathBuf,
    },
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// What the clients do.
    #[arg(long)]
    pub(crate) workload: Workload,
    /// Faults, comma separated; none without.
    #[arg(long, value_delimiter = ',')]
    pub(crate) nemesis: Vec<Fault>,
    /// Seconds of operations and faults.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=TEST_SECONDS_MAX))]
    pub(crate) time_limit: u64,
    /// Clients.
    #[arg(long, default_value_t = 12, value_parser = RangedU64ValueParser::<usize>::new().range(1..=CLIENTS_MAX))]
    pub(crate) concurrency: usize,
    /// Operations a second, of all clients together.
    #[arg(long, default_value_t = 150.0, value_parser = parse_rate)]
    pub(crate) rate: f64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) members: u8,
    /// Fixes the schedule of faults and the clients' choices.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[arg(long, default_value = "proreus")]
    pub(crate) db: db::Kind,
    /// The database's program; without, the one that PATH has.
    #[arg(long)]
    pub(crate) binary: Option<PathBuf>,
    /// Let `register`, `set` and `lease` read from one member's own state: a fault of the clients that must be found.
    #[arg(long)]
    pub(crate) stale_reads: bool,
    /// Where tests leave their directories.
    #[arg(long, default_value = "store")]
    pub(crate) store: PathBuf,
}

#[cfg(test)]
impl TestArgs {
    /// Of a test's command line.
    pub(crate) fn of(arguments: &str) -> Option<TestArgs> {
        let words = format!("jepsen test {arguments}");
        match Cli::try_parse_from(words.split_whitespace()).ok()?.command {
            Command::Test(args) => Some(args),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SuiteArgs {
    /// Minutes of operations and faults; starting, healing and judging come on top.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=SUITE_MINUTES_MAX))]
    pub(crate) budget: u64,
    /// Seconds of each test.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=TEST_SECONDS_MAX))]
    pub(crate) time_limit: u64,
    /// Operations a second, of all clients together.
    #[arg(long, default_value_t = 150.0, value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// The first test of the matrix.
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u64,
    /// Make every so many-th test only: two suites share the matrix with `--from 0 --step 2` and `--from 1 --step 2`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) step: u64,
    #[arg(long, default_value = "proreus")]
    pub(crate) db: db::Kind,
    /// The database's program; without, the one that PATH has.
    #[arg(long)]
    pub(crate) binary: Option<PathBuf>,
    /// Where the results are added up, a line a test; a table is made beside it.
    #[arg(long, default_value = "store/results.jsonl")]
    pub(crate) results: PathBuf,
    /// Where tests leave their directories.
    #[arg(long, default_value = "store")]
    pub(crate) store: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    Register,
    Txn,
    Append,
    Wr,
    Set,
    Watch,
    Lease,
    Lock,
    Election,
    Kube,
    Pods,
}

impl Workload {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_string())
            .unwrap_or_default()
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if RATE.contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("has to be from {} to {}", RATE.start(), RATE.end()))
    }
}

/// Runs the program; it ends with 1 when a promise was broken and 2 when that is unknown, as it is when the test could not be
/// made.
pub fn main() {
    let code = work().unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        2
    });
    std::process::exit(code)
}

fn work() -> anyhow::Result<i32> {
    Ok(match Cli::parse().command {
        Command::Test(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(test(args))?
        }
        Command::Suite(args) => suite::run(&args)?,
        Command::Clean => {
            let removed = leftovers::clean()?;
            removed.iter().for_each(|what| println!("removed {what}"));
            0
        }
        Command::Check { directory } => check(&directory)?,
    })
}

async fn test(args: TestArgs) -> anyhow::Result<i32> {
    match args.workload {
        Workload::Register => run::test::<Register>(args).await,
        Workload::Txn => run::test::<Txn>(args).await,
        Workload::Append => run::test::<Append>(args).await,
        Workload::Wr => run::test::<Wr>(args).await,
        Workload::Set => run::test::<Set>(args).await,
        Workload::Watch => run::test::<Watch>(args).await,
        Workload::Lease => run::test::<Lease>(args).await,
        Workload::Lock => run::test::<Lock>(args).await,
        Workload::Election => run::test::<Election>(args).await,
        Workload::Kube => run::test::<Kube>(args).await,
        Workload::Pods => run::test::<Pods>(args).await,
    }
}

fn check(directory: &std::path::Path) -> anyhow::Result<i32> {
    let name = run::workload_of(directory)?;
    let workload = Workload::from_str(&name, true).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    match workload {
        Workload::Register => run::check::<Register>(directory),
        Workload::Txn => run::check::<Txn>(directory),
        Workload::Append => run::check::<Append>(directory),
        Workload::Wr => run::check::<Wr>(directory),
        Workload::Set => run::check::<Set>(directory),
        Workload::Watch => run::check::<Watch>(directory),
        Workload::Lease => run::check::<Lease>(directory),
        Workload::Lock => run::check::<Lock>(directory),
        Workload::Election => run::check::<Election>(directory),
        Workload::Kube => run::check::<Kube>(directory),
        Workload::Pods => run::check::<Pods>(directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_refused_before_anything_is_started() {
        let refused = |arguments: &str| {
            let words = format!("jepsen test --workload register {arguments}");
            Cli::try_parse_from(words.split_whitespace()).is_err()
        };
        for arguments in [
            "--rate 0",
            "--rate=-1",
            "--rate nan",
            "--rate inf",
            "--rate 1e-300",
            "--time-limit 0",
            "--time-limit 18446744073709551615",
            "--concurrency 0",
            "--concurrency 18446744073709551615",
            "--members 0",
        ] {
            assert!(refused(arguments), "{arguments}");
        }
        assert!(!refused("--rate 0.5 --time-limit 1 --concurrency 1 --members 5"));
        let suite = |arguments: &str| {
            let words = format!("jepsen suite {arguments}");
            Cli::try_parse_from(words.split_whitespace()).is_ok()
        };
        assert!(suite("--budget 1 --time-limit 5 --step 2"));
        assert!(!suite("--time-limit 0") && !suite("--rate 0") && !suite("--step 0") && !suite("--budget 0"));
    }
}
