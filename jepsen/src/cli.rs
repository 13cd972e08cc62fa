//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::nemesis::Fault;
use crate::workload::{Append, Election, Kube, Lease, Lock, Pods, Register, Set, Txn, Watch, Wr};
use crate::{db, run, suite};

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
    /// Judge the stored history of a test again.
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
    #[arg(long, default_value_t = 60)]
    pub(crate) time_limit: u64,
    /// Clients.
    #[arg(long, default_value_t = 12)]
    pub(crate) concurrency: usize,
    /// Operations a second, of all clients together.
    #[arg(long, default_value_t = 150.0)]
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

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SuiteArgs {
    /// Minutes of operations and faults; starting, healing and judging come on top.
    #[arg(long, default_value_t = 120)]
    pub(crate) budget: u64,
    /// Seconds of each test.
    #[arg(long, default_value_t = 60)]
    pub(crate) time_limit: u64,
    /// Operations a second, of all clients together.
    #[arg(long, default_value_t = 150.0)]
    pub(crate) rate: f64,
    /// The first test of the matrix.
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u64,
    /// Make every so many-th test only: two suites share the matrix with `--from 0 --step 2` and `--from 1 --step 2`.
    #[arg(long, default_value_t = 1)]
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
