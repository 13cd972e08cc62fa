//! The flags of `init`; kubeadm's.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::duration;
use crate::token::{TTL, Token};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InitArgs {
    #[command(flatten)]
    pub flags: InitFlags,
    #[command(subcommand)]
    pub command: Option<InitCommand>,
}

#[derive(Subcommand)]
pub enum InitCommand {
    /// Do one phase alone
    Phase {
        /// Which
        #[arg(value_enum)]
        phase: Phase,
        #[command(flatten)]
        flags: InitFlags,
    },
}

/// The steps of `init`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Check that this machine can be a master
    Preflight,
    /// Make the cluster's authorities and this master's certificates; those that are there stay
    Certs,
    /// Write admin.conf and super-admin.conf
    Kubeconfig,
    /// Write the master's configuration and start it
    ControlPlane,
    /// Wait until the API answers
    WaitControlPlane,
    /// Put the cluster's configuration into ConfigMaps
    UploadConfig,
    /// Put the certificates that masters share, sealed, into a Secret (with --upload-certs)
    UploadCerts,
    /// Give this machine's Node, if it has one, the label and the taint of masters
    MarkControlPlane,
    /// Make a token, and what machines that join are told by
    BootstrapToken,
    /// Print the commands that join machines
    ShowJoinCommand,
}

impl Phase {
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Args, Clone)]
pub struct InitFlags {
    #[command(flatten)]
    pub machine: MachineFlags,
    /// The address by which other machines reach this master's API and store (default: that of the link with the default route)
    #[arg(long, value_name = "IP")]
    pub apiserver_advertise_address: Option<IpAddr>,
    /// A name or address that leads to all masters, as that of a load balancer: HOST or HOST:PORT
    #[arg(long, value_name = "HOST[:PORT]")]
    pub control_plane_endpoint: Option<String>,
    /// Further names and addresses that the API's certificate is good for
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub apiserver_cert_extra_sans: Vec<String>,
    /// The token that machines join with; made up if none is given
    #[arg(long, env = "PROREUS_TOKEN", hide_env_values = true, value_parser = Token::parse)]
    pub token: Option<Token>,
    /// How long the token is good; 0 means until it is deleted
    #[arg(long, default_value = TTL, value_parser = duration::parse)]
    pub token_ttl: Duration,
    /// Upload the certificates that masters share, sealed, so that masters can join for two hours
    #[arg(long)]
    pub upload_certs: bool,
    /// The key (64 hexadecimal digits) to seal them with; made up if none is given
    #[arg(long, value_name = "KEY", requires = "upload_certs")]
    pub certificate_key: Option<String>,
    /// Phases to leave out
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PHASES")]
    pub skip_phases: Vec<Phase>,
    /// Write everything and start nothing: stops before what needs the API
    #[arg(long)]
    pub no_start: bool,
}

/// What `init` and `join` ask of the machine.
#[derive(Args, Clone)]
pub struct MachineFlags {
    /// The name of this machine in the cluster (default: its host name)
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Names of checks whose failure is passed over; `all` means every one
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub ignore_preflight_errors: Vec<String>,
    #[command(flatten)]
    pub root: RootFlag,
}

#[derive(Args, Clone)]
pub struct RootFlag {
    /// Directory that stands for the root of this machine's files: simulates several machines on one
    #[arg(long, env = "PROREUS_ROOTFS", value_name = "DIR", default_value = "/")]
    pub rootfs: PathBuf,
}
