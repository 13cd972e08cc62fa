//! Benchmarks of a running cluster. Each prints a row for `docs/benchmarks.md`; nothing here is a test.
//!
//! `cargo run --release -p bench -- idle`, `-- pods`, `-- failover` and `-- starve` start a cluster with the `proreus` binary
//! that lies beside this one, measure, and stop it. Comparisons with real peers come with the depth of the store and the API.

mod cluster;
mod failover;
mod idle;
mod pods;
mod starve;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Memory and CPU of an idle cluster with one master and one node, containerd apart
    Idle {
        /// Seconds over which CPU is counted
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Time from killing the leading master of three to the next acknowledged write
    Failover {
        /// How many leaders to kill, one after the other
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// How often leaders lapse while other programs want all of the processor
    Starve {
        /// How many such programs
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(..=256))]
        programs: u32,
        /// For how long
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Time until a Deployment's pods are all Ready on one node
    Pods {
        #[arg(long, default_value_t = 30)]
        replicas: u32,
        /// How often to repeat it on the same cluster
        #[arg(long, default_value_t = 3)]
        runs: u32,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Idle { seconds } => idle::run(seconds),
        Command::Failover { runs } => failover::run(runs),
        Command::Starve { programs, seconds } => starve::run(programs, seconds),
        Command::Pods { replicas, runs } => pods::run(replicas, runs),
    }
}
