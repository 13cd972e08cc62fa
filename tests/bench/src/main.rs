//! Benchmarks of a running cluster. Each prints a row for `docs/benchmarks.md`; nothing here is a test.
//!
//! `cargo run --release -p bench -- idle`, `-- pods`, `-- failover` and `-- starve` start a cluster with the `proreus` binary
//! that lies beside this one, measure, and stop it. `-- store` measures the keyspace alone, beside etcd.

mod cluster;
mod failover;
mod idle;
mod pods;
mod starve;
mod store;

/// Generated clients of etcd's services.
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
mod services {
    tonic::include_proto!("etcdserverpb");

    /// What the bare echo serves of them.
    pub mod echo {
        tonic::include_proto!("etcdserverpb.KV");
        tonic::include_proto!("etcdserverpb.Maintenance");
    }
}

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
    /// The keyspace alone beside etcd: throughput, latency, memory, restart and failover
    Store(store::Options),
    /// Serves what etcd serves without doing anything, for `store`
    #[command(hide = true)]
    Echo {
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        flags: Vec<String>,
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
        Command::Store(options) => store::run(&options),
        Command::Echo { flags } => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(store::echo::serve(&flags))
        }
        Command::Pods { replicas, runs } => pods::run(replicas, runs),
    }
}
