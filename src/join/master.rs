//! A machine becomes a master: it fetches what masters share, is added to the store's members, and starts. The store has it
//! learn first and gives it its vote once it has caught up; nothing waits for it meanwhile.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use client::{Client, Credential, Key};
use pki::kubeadm::SHARED;
use pki::seal::SealKey;
use proto::etcd::etcdserverpb::{Member, MemberAddRequest, MemberAddResponse, MemberRemoveRequest};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::args::JoinArgs;
use super::discovery::discover;
use super::{answer, masters};
use crate::config::Master;
use crate::host::process;
use crate::init::master::{CLIENT_PORT, Plan, door};
use crate::init::objects::{CERTIFICATES, CONFIG_MAPS, CONFIGURATION, entry};
use crate::operate::door::Door;
use crate::output::say;
use crate::token::SECRETS;

/// How long other masters that join at the same time are waited for.
const TURN_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the store may take to give this member its vote.
const VOTE_TIMEOUT: Duration = Duration::from_secs(600);
const RETRY: Duration = Duration::from_secs(1);
const SYSTEM: &str = "kube-system";

pub async fn join(args: &JoinArgs, certificate_key: &str) -> anyhow::Result<()> {
    let key = SealKey::parse(certificate_key).map_err(|reason| anyhow!("--certificate-key: {reason}"))?;
    let mut plan = Plan::new(
        &args.machine,
        args.apiserver_advertise_address,
        None,
        &args.apiserver_cert_extra_sans,
    )?;
    plan.preflight(&args.machine.ignore_preflight_errors)?;
    let cluster = discover(args).await?;
    let bootstrap = cluster.client(Credential::Token(args.token.reveal()))?;
    adopt_configuration(&bootstrap, args, &mut plan).await?;
    check_certificates(&plan, &cluster.ca_pem)?;
    download_certificates(&bootstrap, &plan, &key).await?;
    plan.write_certificates()?;
    plan.write_kubeconfigs()?;

    // The kubeconfig leads to the master that is not there yet, so the identity is used where the cluster is.
    let mut options = client::RemoteOptions::from_kubeconfig(plan.host.kubeconfig("admin.conf"))?;
    options.servers = vec![cluster.server.clone(), cluster.advertised.clone()];
    let admin = Client::remote(options)?;
    let masters = masters(&admin).await?;
    let doors = masters
        .iter()
        .map(|api| std::net::SocketAddr::new(api.ip(), CLIENT_PORT));
    let doors: Vec<String> = doors.map(|door| format!("https://{door}")).collect();
    let store = Door::open(&door(&plan.host, doors)).await?;
    let added = become_member(&store, &plan).await?;
    let id = added.member.as_ref().map_or(0, |member| member.id);
    let cluster_id = added
        .header
        .as_ref()
        .map(|header| header.cluster_id)
        .filter(|id| *id != 0);
    let cluster_id = cluster_id.context("the store does not say which cluster it is")?;
    let members = added.members.iter().map(|member| known(member, id, &plan));
    let members: Vec<Master> = members.collect::<anyhow::Result<_>>()?;
    plan.write_config(members, &format!("{cluster_id:016x}"), Some(cluster_id))?;

    let mut started = process::start(&plan.host, &plan.host.server())?;
    plan.wait(&mut started).await?;
    // Under its name, too: a member without one counts as never started.
    let settled = |member: &Member| member.id == id && !member.is_learner && member.name == plan.name;
    let votes = async || {
        let members = store.members().await.ok()?;
        members.iter().any(settled).then_some(())
    };
    started
        .until("the store has given this member its vote", VOTE_TIMEOUT, votes)
        .await?;
    say!(
        "\nThis machine is the master {}, a voting member of the store.",
        plan.name
    );
    Ok(())
}

/// Takes over what the first master was told of the whole cluster.
async fn adopt_configuration(client: &Client, args: &JoinArgs, plan: &mut Plan) -> anyhow::Result<()> {
    let map = client
        .get::<Value>(&CONFIG_MAPS, &Key::new(SYSTEM, CONFIGURATION))
        .await;
    let map = answer(map, &args.token, "cannot read the cluster's configuration")?;
    let text = map["data"]["ClusterConfiguration"].as_str().unwrap_or_default();
    let read: Value = serde_saphyr::from_str(text).map_err(|e| anyhow!("ConfigMap {CONFIGURATION}: {e}"))?;
    let Some(endpoint) = read["controlPlaneEndpoint"].as_str() else {
        return Ok(());
    };
    plan.endpoint = Some(endpoint.into());
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) => plan.extra_addresses.push(address),
        Err(_) => plan.extra_names.push(host.into()),
    }
    Ok(())
}

/// What another cluster's authority has signed would stay, and be of no use.
fn check_certificates(plan: &Plan, ca_pem: &str) -> anyhow::Result<()> {
    let ca = plan.host.pki().join("ca.crt");
    match std::fs::read_to_string(&ca) {
        Ok(text) if text != ca_pem => bail!(
            "{} is of another cluster: `proreus reset` takes this machine out of that one first",
            ca.display()
        ),
        _ => Ok(()),
    }
}

/// Puts the certificates that all masters share in their places.
async fn download_certificates(client: &Client, plan: &Plan, key: &SealKey) -> anyhow::Result<()> {
    let secret = match client.get::<Value>(&SECRETS, &Key::new(SYSTEM, CERTIFICATES)).await {
        // Who may not read one that is not there is told so of one that is there, too.
        Err(error) if error.is_not_found() || error.is_forbidden() => bail!(
            "--certificate-key: the certificates of masters are not uploaded any more: on a master, run `proreus init phase \
             upload-certs --upload-certs`, which prints a new key"
        ),
        secret => secret.context("cannot read the uploaded certificates")?,
    };
    let open = |file: &str| -> anyhow::Result<String> {
        let sealed = secret["data"][entry(file)]
            .as_str()
            .and_then(|text| STANDARD.decode(text).ok());
        let sealed = sealed.with_context(|| format!("{file} is not among the uploaded certificates"))?;
        let opened = key
            .open(&sealed)
            .map_err(|reason| anyhow!("--certificate-key: {file}: {reason}"))?;
        String::from_utf8(opened).with_context(|| format!("{file} is no text"))
    };
    // All of them before any is written: half of them would be taken for a cluster of this machine's own.
    let files: Vec<(&str, String)> = SHARED
        .iter()
        .map(|file| Ok((*file, open(file)?)))
        .collect::<anyhow::Result<_>>()?;
    for (file, content) in files {
        let path = plan.host.pki().join(file);
        match file.ends_with(".key") {
            true => pki::write_private(&path, &content)?,
            false => pki::write_public(&path, &content)?,
        }
    }
    say!("[download-certs] in {}", plan.host.pki().display());
    Ok(())
}

/// Adds this master to the store's members. While others join, it waits for its turn.
async fn become_member(store: &Door, plan: &Plan) -> anyhow::Result<MemberAddResponse> {
    let url = format!("https://{}", plan.master(0).peer());
    take_back(store, &url).await?;
    let deadline = Instant::now() + TURN_TIMEOUT;
    loop {
        let request = MemberAddRequest {
            peer_ur_ls: vec![url.clone()],
            is_learner: false,
        };
        let status = match store.cluster().member_add(request).await {
            Ok(added) => {
                say!("[etcd-join] added to the members of the store");
                return Ok(added.into_inner());
            }
            Err(status) => status,
        };
        let busy = status.message().contains("too many learner")
            || matches!(status.code(), tonic::Code::Unavailable | tonic::Code::ResourceExhausted);
        if !busy || Instant::now() >= deadline {
            return Err(store.failed("add this master to the members of the store", &status));
        }
        say!("[etcd-join] waiting: {}", status.message());
        sleep(RETRY).await;
    }
}

/// A member with this machine's address that never started is what an attempt left behind that went wrong. It is taken back
/// rather than taken over: nobody knows what became of its data.
async fn take_back(store: &Door, url: &str) -> anyhow::Result<()> {
    let members = store.members().await?;
    let Some(left) = members
        .iter()
        .find(|member| member.peer_ur_ls.iter().any(|known| known == url))
    else {
        return Ok(());
    };
    if !left.name.is_empty() || !left.is_learner {
        bail!(
            "the store has a member {} ({:x}) with the address {url} already: if it is gone for good, remove it with \
             `proreus member remove {:x}`",
            left.name,
            left.id,
            left.id
        );
    }
    let removed = store.cluster().member_remove(MemberRemoveRequest { id: left.id }).await;
    removed.map_err(|status| store.failed("remove what an earlier attempt left", &status))?;
    Ok(())
}

/// A member of the store as a master: this one, or another.
fn known(member: &Member, own: u64, plan: &Plan) -> anyhow::Result<Master> {
    if member.id == own {
        return Ok(plan.master(own));
    }
    let url = member.peer_ur_ls.first().map(String::as_str).unwrap_or_default();
    let address: std::net::SocketAddr = url
        .trim_start_matches("https://")
        .parse()
        .with_context(|| format!("the store has a member at {url:?}, which is no https://IP:PORT"))?;
    let name = match member.name.as_str() {
        // It joins, too, and has not said its name.
        "" => format!("{:x}", member.id),
        name => name.to_owned(),
    };
    Ok(Master {
        id: member.id,
        name,
        address: address.ip(),
        peer_port: address.port(),
        ..plan.master(0)
    })
}
