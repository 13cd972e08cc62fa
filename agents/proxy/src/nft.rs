//! The way to the kernel: text to the `nft` program, behind a trait so that tests can record it.

use std::{future::Future, process::Stdio};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::{Error, limits};

/// Applies nft transactions.
pub trait Nft: Send + Sync {
    /// Applies `transaction` as a whole or not at all.
    fn apply(&self, transaction: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether the table `ip <table>` exists.
    fn has_table(&self, table: &str) -> impl Future<Output = Result<bool, Error>> + Send;
}

/// The real program, working on the network namespace it runs in.
#[derive(Debug, Clone)]
pub struct NftCommand {
    /// The program and leading arguments; more than one to enter another namespace first.
    command: Vec<String>,
}

impl Default for NftCommand {
    fn default() -> Self {
        Self {
            command: vec!["nft".into()],
        }
    }
}

impl NftCommand {
    /// `nft` behind another command, such as `nsenter --net=PATH`.
    pub fn behind<S: Into<String>>(prefix: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: prefix.into_iter().map(Into::into).chain(["nft".into()]).collect(),
        }
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<(), Error> {
        let line = || format!("{} {}", self.command.join(" "), arguments.join(" "));
        let start = |source| Error::Start {
            command: line(),
            source,
        };
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let work = async {
            // A program that exits early closes the pipe; its status and message tell more than the broken pipe.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = match tokio::time::timeout(limits::NFT_TIMEOUT, work).await {
            Ok(output) => output.map_err(start)?,
            Err(_) => {
                return Err(Error::Timeout {
                    command: line(),
                    seconds: limits::NFT_TIMEOUT.as_secs(),
                });
            }
        };
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_string();
        Err(Error::Refused {
            command: line(),
            status: output.status.to_string(),
            message,
        })
    }
}

impl Nft for NftCommand {
    async fn apply(&self, transaction: &str) -> Result<(), Error> {
        self.run(&["-f", "-"], transaction).await
    }

    async fn has_table(&self, table: &str) -> Result<bool, Error> {
        match self.run(&["-t", "list", "chain", "ip", table, "services"], "").await {
            Ok(()) => Ok(true),
            Err(Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
