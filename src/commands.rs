//! The command line: every command and flag, with its bounds. A wrong value fails here, naming the flag.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, builder::RangedU64ValueParser};

use crate::certificates::CertsArgs;
use crate::init::args::InitArgs;
use crate::join::args::JoinArgs;
use crate::leave::LeaveArgs;
use crate::operate::args::{BackupArgs, CompactArgs, LeaderArgs, MemberArgs, RestoreArgs, VerifyArgs};
use crate::reset::ResetArgs;
use crate::token::TokenArgs;

/// Where `up` and `status` keep and look for a cluster unless told otherwise.
const DEFAULT_DATA_DIR: &str = "proreus-data";

#[derive(Parser)]
#[command(
    name = "proreus",
    version,
    about = "A Kubernetes control plane in one binary, with its own replicated database"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a whole cluster on this machine, in the foreground
    Up(UpArgs),
    /// Make this machine the first master of a cluster of several machines
    Init(Box<InitArgs>),
    /// Make this machine a node or a master of a cluster that exists
    Join(Box<JoinArgs>),
    /// Make, show and delete the tokens that machines join with
    Token(Box<TokenArgs>),
    /// Take this machine out of its cluster
    Leave(LeaveArgs),
    /// Undo what `init` or `join` did to this machine
    Reset(ResetArgs),
    /// Show and renew this machine's certificates
    Certs(CertsArgs),
    /// Show the members, processes and nodes of a cluster started with `up`
    Status(StatusArgs),
    /// Run one master: store, etcd door, API, and, while it leads, scheduler and controllers
    Server(ConfigArgs),
    /// Run the keyspace and its etcd door alone, in the place of the `etcd` binary and under its flags
    Store(StoreArgs),
    /// List, add, remove, promote and update the members of a store
    Member(MemberArgs),
    /// Show or move the leadership of a store
    Leader(LeaderArgs),
    /// Forget old revisions of a store
    Compact(CompactArgs),
    /// Save everything a store holds as a file
    Backup(BackupArgs),
    /// Make a new cluster of a backup, or of a snapshot of etcd
    Restore(RestoreArgs),
    /// Check the data of members that do not run
    Verify(VerifyArgs),
    /// Run one node's agent: kubelet, service proxy, DNS
    Agent(ConfigArgs),
    /// Run a node's agent in the node's namespaces, which are made if they are not there (started by `up`)
    #[command(hide = true)]
    Node(ConfigArgs),
    /// Be process 1 of a node's namespaces (started by `node`)
    #[command(hide = true)]
    NodeInit(ConfigArgs),
}

#[derive(Args, Clone)]
pub struct UpArgs {
    /// Number of masters: 1, 3 or 5 (default 1, or what the data directory holds)
    #[arg(long, env = "PROREUS_MASTERS", value_parser = parse_masters)]
    pub masters: Option<u8>,
    /// Number of nodes (default 1, or what the data directory holds); 0 runs the control plane alone
    #[arg(long, env = "PROREUS_NODES", value_parser = RangedU64ValueParser::<u8>::new().range(0..=9))]
    pub nodes: Option<u8>,
    /// Directory that holds everything the cluster writes
    #[arg(long, env = "PROREUS_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    pub data_dir: PathBuf,
    /// Image archive (docker or OCI tar), or a directory of them, to import on every node at its start; repeatable
    #[arg(long = "images", value_name = "TAR_OR_DIR")]
    pub images: Vec<PathBuf>,
    /// Port of the API on 127.0.0.1; by default 6443 or the next free one
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub api_port: Option<u16>,
}

#[derive(Args)]
pub struct ConfigArgs {
    /// The process's configuration file (YAML)
    #[arg(long, env = "PROREUS_CONFIG")]
    pub config: PathBuf,
}

#[derive(Args)]
pub struct StoreArgs {
    /// Flags of the `etcd` binary; ETCD_... variables mean the same
    #[arg(value_name = "FLAGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub flags: Vec<String>,
}

#[derive(Args)]
pub struct StatusArgs {
    /// The directory given to `up`
    #[arg(long, env = "PROREUS_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    pub data_dir: PathBuf,
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

fn parse_masters(value: &str) -> Result<u8, String> {
    match value {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("a cluster has 1, 3 or 5 masters: an even number survives no more failures than one less".into()),
    }
}
