//! proreus: a Kubernetes control plane in one binary, with its own replicated database.
//!
//! This package only composes: it reads flags and configuration, opens the parts that the other crates own, connects
//! them, and stops them in order. Logic that another crate could own does not belong here.

mod admin;
mod agent;
mod certificates;
mod certs;
mod commands;
mod config;
mod duration;
mod host;
mod init;
mod join;
mod kubeconfig;
mod leader;
mod leave;
mod lock;
mod node;
mod node_init;
mod operate;
mod output;
mod reset;
mod server;
mod shutdown;
mod status;
mod store;
mod telemetry;
mod token;
mod trim;
mod up;

use std::process::ExitCode;

use clap::Parser;

use commands::{Cli, Command};

/// Requests make many small allocations, which cost less of the processor here than in the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One crypto provider for the whole process; a second one would make building a TLS configuration panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: a TLS crypto provider was installed before main");
        return ExitCode::FAILURE;
    }
    let outcome = match cli.command {
        Command::Up(args) => up::run(args),
        Command::Init(args) => init::run(*args),
        Command::Join(args) => join::run(*args),
        Command::Token(args) => token::run(*args),
        Command::Leave(args) => leave::run(&args),
        Command::Reset(args) => reset::run(&args),
        Command::Certs(args) => certificates::run(&args),
        Command::Server(args) => server::run(&args.config),
        Command::Agent(args) => agent::run(&args.config),
        Command::Node(args) => node::run(&args.config),
        Command::NodeInit(args) => node_init::run(&args.config),
        Command::Store(args) => store::run(args.flags),
        Command::Status(args) => status::run(&args),
        Command::Member(args) => operate::member::run(&args),
        Command::Leader(args) => operate::leader::run(&args),
        Command::Compact(args) => operate::compact::run(&args),
        Command::Backup(args) => operate::backup::run(&args),
        Command::Restore(args) => operate::restore::run(&args),
        Command::Verify(args) => operate::verify::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
