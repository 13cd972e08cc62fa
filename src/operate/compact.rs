//! `proreus compact`: forgetting old revisions.

use proto::etcd::etcdserverpb::CompactionRequest;
use serde_json::json;

use super::args::CompactArgs;
use super::door::Door;
use super::{block_on, show};
use crate::commands::Output;
use crate::output::say;

pub fn run(args: &CompactArgs) -> anyhow::Result<()> {
    block_on(async {
        let door = Door::open(&args.door).await?;
        let CompactArgs { revision, physical, .. } = *args;
        let compacted = door.keys().compact(CompactionRequest { revision, physical }).await;
        compacted.map_err(|status| door.failed("compact", &status))?;
        match args.door.output {
            Output::Json => show::json(&json!({ "compacted": revision })),
            Output::Table => {
                say!("compacted revision {revision}");
                Ok(())
            }
        }
    })
}
