//! `proreus init`: the first master of a cluster of several machines, in kubeadm's phases. Each can be left out, or done alone
//! with the flags that `init` was given; what is there already stays, so all of it can be repeated.

pub mod args;
pub mod master;
pub mod objects;

use anyhow::Context;
use clap::ValueEnum;
use client::{Client, Key, Patch};
use pki::seal::SealKey;
use serde_json::{Value, json};

use crate::config::{MASTER_LABEL, MASTER_TAINT_EFFECT};
use crate::host::process::{self, Started};
use crate::operate::block_on;
use crate::output::{say, word};
use crate::token::{JoinTo, NewToken, Token};
use args::{InitArgs, InitCommand, InitFlags, Phase};
use master::Plan;

pub fn run(args: InitArgs) -> anyhow::Result<()> {
    block_on(async {
        match args.command {
            Some(InitCommand::Phase { phase, flags }) => Init::new(&flags)?.one(phase).await,
            None => Init::new(&args.flags)?.all().await,
        }
    })
}

struct Init<'a> {
    flags: &'a InitFlags,
    plan: Plan,
    token: Token,
    /// Whether the cluster knows it.
    token_made: bool,
    /// The master's process, once it was started here.
    started: Option<Started>,
    /// The key of the certificates that were uploaded.
    key: Option<String>,
}

impl<'a> Init<'a> {
    fn new(flags: &'a InitFlags) -> anyhow::Result<Init<'a>> {
        Ok(Init {
            flags,
            plan: Plan::new(
                &flags.machine,
                flags.apiserver_advertise_address,
                flags.control_plane_endpoint.as_deref(),
                &flags.apiserver_cert_extra_sans,
            )?,
            token: flags.token.clone().unwrap_or_else(Token::generate),
            token_made: flags.token.is_some(),
            started: None,
            key: flags.certificate_key.clone(),
        })
    }

    async fn all(mut self) -> anyhow::Result<()> {
        for phase in Phase::value_variants() {
            if self.flags.skip_phases.contains(phase) {
                say!("[{}] left out", phase.name());
                continue;
            }
            if *phase == Phase::WaitControlPlane && self.flags.no_start {
                let config = self.plan.host.server().config;
                say!(
                    "\nNothing was started. To go on: proreus server --config {}",
                    word(&config)
                );
                say!("and then `proreus init phase`, from wait-control-plane on.");
                return Ok(());
            }
            self.phase(*phase)
                .await
                .with_context(|| format!("phase {}", phase.name()))?;
        }
        Ok(())
    }

    async fn one(mut self, phase: Phase) -> anyhow::Result<()> {
        self.phase(phase).await
    }

    async fn phase(&mut self, phase: Phase) -> anyhow::Result<()> {
        match phase {
            Phase::Preflight => self.plan.preflight(&self.flags.machine.ignore_preflight_errors),
            Phase::Certs => self.plan.write_certificates(),
            Phase::Kubeconfig => self.plan.write_kubeconfigs(),
            Phase::ControlPlane => self.control_plane(),
            Phase::WaitControlPlane => self.wait().await,
            Phase::UploadConfig => self.upload_configuration().await,
            Phase::UploadCerts => self.upload_certificates().await,
            Phase::MarkControlPlane => mark(&self.client()?, &self.plan.name).await,
            Phase::BootstrapToken => self.bootstrap_token().await,
            Phase::ShowJoinCommand => self.show(),
        }
    }

    fn client(&self) -> anyhow::Result<Client> {
        self.plan.own_client()
    }

    fn control_plane(&mut self) -> anyhow::Result<()> {
        let part = self.plan.host.server();
        if !part.is_set_up() {
            let token = format!("{:016x}", rand::random::<u64>());
            let id = raftstore::member_id(&token, &self.plan.name);
            self.plan.write_config(vec![self.plan.master(id)], &token, None)?;
        }
        if !self.flags.no_start {
            self.started = Some(process::start(&self.plan.host, &part)?);
        }
        Ok(())
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let mut started = self
            .started
            .take()
            .unwrap_or_else(|| Started::elsewhere(self.plan.host.server()));
        self.plan.wait(&mut started).await?;
        self.plan.remember_cluster()
    }

    async fn upload_configuration(&self) -> anyhow::Result<()> {
        objects::upload_configuration(&self.client()?, &self.plan).await?;
        say!("[upload-config] ConfigMaps kubeadm-config and kubelet-config in kube-system");
        Ok(())
    }

    async fn upload_certificates(&mut self) -> anyhow::Result<()> {
        if !self.flags.upload_certs {
            say!("[upload-certs] left out; masters can join after `proreus init phase upload-certs --upload-certs`");
            return Ok(());
        }
        let key = match &self.key {
            Some(text) => SealKey::parse(text).map_err(|reason| anyhow::anyhow!("--certificate-key: {reason}"))?,
            None => SealKey::generate().map_err(anyhow::Error::msg)?,
        };
        objects::upload_certificates(&self.client()?, &self.plan, &key).await?;
        say!(
            "[upload-certs] Secret kubeadm-certs in kube-system, for two hours, under the certificate key\n{}",
            key.reveal()
        );
        self.key = Some(key.reveal());
        Ok(())
    }

    async fn bootstrap_token(&mut self) -> anyhow::Result<()> {
        let client = self.client()?;
        objects::publish_cluster_info(&client, &self.plan).await?;
        let new = NewToken::joining(self.token.clone(), self.flags.token_ttl, "Made by proreus init");
        new.create(&client).await?;
        self.token_made = true;
        say!("[bootstrap-token] ConfigMap cluster-info in kube-public, and a token to join with");
        Ok(())
    }

    fn show(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.token_made,
            "--token: name the token to join with, as `proreus token list` shows it"
        );
        let kubeconfig = self.plan.host.kubeconfig("admin.conf");
        let to = JoinTo::of(&kubeconfig)?;
        say!("\nThe first master runs. To use the cluster:\n");
        say!("  export KUBECONFIG={}", word(&kubeconfig));
        match &self.key {
            Some(key) => {
                say!("\nTo join another master, within two hours (whoever has the key and a token has the cluster):\n");
                say!("  {}", to.command(&self.token, Some(key)));
            }
            None => say!("\nTo join another master, first: proreus init phase upload-certs --upload-certs"),
        }
        say!("\nTo join a node:\n");
        say!("  {}", to.command(&self.token, None));
        Ok(())
    }
}

/// How often the Node is read again when somebody else changed it in between, as its agent often does.
const MARK_TRIES: usize = 20;

/// Gives the Node of a machine that carries a master its label and taint, if there is such a Node.
pub async fn mark(client: &Client, name: &str) -> anyhow::Result<()> {
    let nodes = client::objects::NODES;
    let key = Key::new("", name);
    for _ in 0..MARK_TRIES {
        let node = client.find::<Value>(&nodes, &key).await;
        let Some(node) = node.context("cannot read the Node")? else {
            say!("[mark-control-plane] this machine is no node: there is nothing to mark");
            return Ok(());
        };
        match client
            .patch::<Value>(&nodes, &key, None, Patch::Merge, &marks(&node))
            .await
        {
            Err(error) if error.is_conflict() => {}
            marked => {
                marked.context("cannot mark the Node")?;
                say!("[mark-control-plane] label and taint {MASTER_LABEL} on Node {name}");
                return Ok(());
            }
        }
    }
    anyhow::bail!("cannot mark the Node: somebody changes it all the time; try `proreus init phase mark-control-plane`")
}

/// The merge patch that marks a Node. The list of taints is written whole, so it must be the one that was read.
fn marks(node: &Value) -> Value {
    let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    if !taints.iter().any(|taint| taint["key"] == MASTER_LABEL) {
        taints.push(json!({ "key": MASTER_LABEL, "effect": MASTER_TAINT_EFFECT }));
    }
    json!({
        "metadata": { "labels": { MASTER_LABEL: "" }, "resourceVersion": node["metadata"]["resourceVersion"] },
        "spec": { "taints": taints },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marking_keeps_other_taints_and_adds_none_twice() {
        let other = json!({ "key": "a", "effect": "NoExecute" });
        let node = json!({ "metadata": { "resourceVersion": "7" }, "spec": { "taints": [other] } });
        let marked = marks(&node);
        assert_eq!(marked["metadata"]["resourceVersion"], "7");
        assert_eq!(marked["spec"]["taints"][0], other);
        assert_eq!(marked["spec"]["taints"][1]["key"], MASTER_LABEL);
        assert_eq!(marks(&marked)["spec"], marked["spec"]);
        assert_eq!(marks(&json!({}))["spec"]["taints"].as_array().unwrap().len(), 1);
    }
}
