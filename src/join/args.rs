//! The flags of `join`; kubeadm's.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use pki::pin::Pin;

use crate::init::args::MachineFlags;
use crate::token::Token;

#[derive(Args)]
pub struct JoinArgs {
    /// `host:port` of the API of a master, or of what leads to the masters
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// The token to join with: `proreus token create --print-join-command` prints the whole command
    #[arg(long, env = "PROREUS_TOKEN", hide_env_values = true, value_parser = Token::parse)]
    pub token: Token,
    /// How to know the cluster's authority: `sha256:` and the digest of its public key; repeatable, any one will do
    #[arg(long, value_name = "PIN", value_delimiter = ',', value_parser = Pin::parse, required_unless_present = UNPINNED)]
    pub discovery_token_ca_cert_hash: Vec<Pin>,
    /// Take whatever authority the token vouches for: whoever knows the token can pretend to be the cluster
    #[arg(long, conflicts_with = "discovery_token_ca_cert_hash")]
    pub discovery_token_unsafe_skip_ca_verification: bool,
    #[command(flatten)]
    pub machine: MachineFlags,
    /// The address of this node (default: that of the link with the default route)
    #[arg(long, value_name = "IP")]
    pub node_ip: Option<IpAddr>,
    /// A container runtime (`unix:///run/...`); without, the node runs a containerd of its own
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "control_plane")]
    pub cri_socket: Option<String>,
    /// Directory of image archives (.tar) to import at every start of the node
    #[arg(long, value_name = "DIR", conflicts_with = "control_plane")]
    pub images: Option<PathBuf>,
    /// Join as a master
    #[arg(long, requires = "certificate_key")]
    pub control_plane: bool,
    /// The key of the certificates that `proreus init phase upload-certs --upload-certs` uploaded
    #[arg(long, value_name = "KEY", env = "PROREUS_CERTIFICATE_KEY", hide_env_values = true)]
    pub certificate_key: Option<String>,
    /// With --control-plane: the address by which other machines reach this master's API and store
    #[arg(long, value_name = "IP", requires = "control_plane")]
    pub apiserver_advertise_address: Option<IpAddr>,
    /// With --control-plane: further names and addresses that the API's certificate is good for
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "control_plane")]
    pub apiserver_cert_extra_sans: Vec<String>,
    /// Write everything that a node needs, and start nothing
    #[arg(long, conflicts_with = "control_plane")]
    pub no_start: bool,
}

const UNPINNED: &str = "discovery_token_unsafe_skip_ca_verification";
