//! The flags of the operator's commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::commands::Output;

/// How long a command waits for the cluster, in seconds.
const TIMEOUT_S: &str = "30";

/// Where the cluster is, and who asks.
#[derive(Args, Clone)]
pub struct DoorArgs {
    /// Client URLs of members, tried in this order
    #[arg(
        long,
        env = "ETCDCTL_ENDPOINTS",
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379"
    )]
    pub endpoints: Vec<String>,
    /// Authority (PEM) that the members' certificates are checked against; makes https the default
    #[arg(long, env = "ETCDCTL_CACERT", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Certificate (PEM) to show
    #[arg(long, env = "ETCDCTL_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "ETCDCTL_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// User of a store with authentication
    #[arg(long, env = "ETCDCTL_USER", value_name = "NAME[:PASSWORD]", hide_env_values = true)]
    pub user: Option<String>,
    /// The user's password
    #[arg(long, env = "ETCDCTL_PASSWORD", requires = "user", hide_env_values = true)]
    pub password: Option<String>,
    /// The directory given to `up`: asks that cluster, as its administrator, instead
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Seconds to wait for the cluster
    #[arg(long, value_name = "SECONDS", default_value = TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Args)]
pub struct MemberArgs {
    #[command(subcommand)]
    pub command: MemberCommand,
}

#[derive(Subcommand)]
pub enum MemberCommand {
    /// Show the members
    List {
        #[command(flatten)]
        door: DoorArgs,
    },
    /// Add a member, and print what to start it with
    Add {
        /// Its name
        name: String,
        /// Where its peers will reach it
        #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        /// Leave it without a vote until it is promoted; else it gets its vote once it has caught up
        #[arg(long)]
        learner: bool,
        #[command(flatten)]
        door: DoorArgs,
    },
    /// Remove a member for good: it stops, and its id never comes back
    Remove {
        /// Its id or name
        member: String,
        #[command(flatten)]
        door: DoorArgs,
    },
    /// Give a learner its vote
    Promote {
        /// Its id or name
        member: String,
        #[command(flatten)]
        door: DoorArgs,
    },
    /// Say where a member's peers reach it now
    Update {
        /// Its id or name
        member: String,
        /// Where its peers reach it
        #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        #[command(flatten)]
        door: DoorArgs,
    },
}

#[derive(Args)]
pub struct LeaderArgs {
    #[command(subcommand)]
    pub command: LeaderCommand,
}

#[derive(Subcommand)]
pub enum LeaderCommand {
    /// Show which member leads
    Show {
        #[command(flatten)]
        door: DoorArgs,
    },
    /// Have another member lead
    Move {
        /// The id or name of the member that is to lead
        member: String,
        #[command(flatten)]
        door: DoorArgs,
    },
}

#[derive(Args)]
pub struct BackupArgs {
    #[command(subcommand)]
    pub command: BackupCommand,
}

#[derive(Subcommand)]
pub enum BackupCommand {
    /// Save everything the store holds as a file
    Save {
        /// The file to write; it appears once it is whole
        file: PathBuf,
        #[command(flatten)]
        door: DoorArgs,
    },
    /// Check a file, and show what is in it
    Status {
        /// The file
        file: PathBuf,
        /// Output format
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

#[derive(Args)]
pub struct RestoreArgs {
    /// A file of `backup save`, `etcdctl snapshot save` or `etcdutl snapshot save`
    #[arg(required_unless_present = "from_etcd")]
    pub file: Option<PathBuf>,
    /// The same, of an etcd
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub from_etcd: Option<PathBuf>,
    /// Directory to make for a member of `store`, or the directory of a stopped cluster of `up`, whose data is replaced
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The member's name (default: default)
    #[arg(long)]
    pub name: Option<String>,
    /// All members of the new cluster, as `store` takes them; each is restored from the same file
    #[arg(long, value_name = "NAME=URL,...")]
    pub initial_cluster: Option<String>,
    /// Sets clusters restored from the same file apart
    #[arg(long, value_name = "TOKEN")]
    pub initial_cluster_token: Option<String>,
    /// Where its peers will reach the member
    #[arg(long, value_name = "URLS")]
    pub initial_advertise_peer_urls: Option<String>,
    /// Move the revision up by so much and compact what is below, so that no revision that clients have seen is used
    /// again (default: 0; for a cluster of `up` 1000000000)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..=i64::MAX / 4))]
    pub bump_revision: Option<i64>,
    /// Take a file without a checksum: a copy of etcd's `member/snap/db`
    #[arg(long)]
    pub skip_hash_check: bool,
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// The data directory of a member of `store`, or that of a cluster of `up`; the members must not run
    #[arg(value_name = "DATA_DIR")]
    pub directory: PathBuf,
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Args)]
pub struct CompactArgs {
    /// Forget what is older than this revision
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub revision: i64,
    /// Return only once the member that was asked has removed it
    #[arg(long)]
    pub physical: bool,
    #[command(flatten)]
    pub door: DoorArgs,
}
