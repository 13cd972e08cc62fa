//! The Election service: the leader is whoever is first in the queue of the election's name.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, stream};
use proto::etcd::{
    mvccpb::KeyValue,
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
        ResignRequest, ResignResponse,
    },
};
use raftstore::{Delivery, WatchSpec, Watcher};
use tonic::{Request, Response, Status};

use crate::{
    Refusal,
    client::Client,
    door::Door,
    error::status,
    queue::{self, Place, Waiting},
    services::v3electionpb::election_server::Election,
};

pub(crate) struct ElectionService(pub Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}

/// The place a client claims to hold.
fn claimed(leader: Option<LeaderKey>) -> Result<Place, Status> {
    let leader = leader.ok_or_else(|| Status::invalid_argument("\"leader\" field must be provided"))?;
    if leader.key.is_empty() {
        return Err(Refusal::EmptyKey.into());
    }
    Ok(Place {
        key: leader.key,
        revision: leader.rev,
        lease: leader.lease,
    })
}

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(&self, request: Request<CampaignRequest>) -> Answer<CampaignResponse> {
        let client = Client::of(&self.0, &request);
        let CampaignRequest { name, lease, value } = request.into_inner();
        let (place, found) = queue::join(&client, &name, lease, value.clone()).await?;
        let waiting = Waiting::new(&client, place.clone());
        if found.is_some_and(|found| found.value != value) && !queue::set(&client, &place, value).await? {
            return Err(not_leader());
        }
        queue::wait(&client, &name, &place).await?;
        waiting.keep();
        let Place {
            key,
            revision: rev,
            lease,
        } = place;
        let leader = Some(LeaderKey { name, key, rev, lease });
        Ok(Response::new(CampaignResponse {
            header: self.0.header_now(),
            leader,
        }))
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Answer<ProclaimResponse> {
        let client = Client::of(&self.0, &request);
        let ProclaimRequest { leader, value } = request.into_inner();
        if !queue::set(&client, &claimed(leader)?, value).await? {
            return Err(not_leader());
        }
        Ok(Response::new(ProclaimResponse {
            header: self.0.header_now(),
        }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Answer<LeaderResponse> {
        let client = Client::of(&self.0, &request);
        let (first, revision) = queue::first(&client, &request.into_inner().name, 0).await?;
        let kv = first.ok_or_else(|| Status::unknown("election: no leader"))?;
        Ok(Response::new(LeaderResponse {
            header: self.0.header(revision),
            kv: Some(kv),
        }))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn observe(&self, request: Request<LeaderRequest>) -> Answer<Self::ObserveStream> {
        let client = Client::of(&self.0, &request);
        let name = request.into_inner().name;
        let (leader, revision) = queue::first(&client, &name, 0).await?;
        let key = queue::prefix(&name);
        let range_end = mvcc::prefix_end(&key).into();
        let spec = WatchSpec {
            key,
            range_end,
            start_revision: revision + 1,
        };
        let watcher = client.store()?.watch(spec).await.map_err(status)?;
        let start = leader.clone().map(|kv| {
            Ok(LeaderResponse {
                header: self.0.header(revision),
                kv: Some(kv),
            })
        });
        let observer = Observer {
            client,
            name: name.to_vec(),
            watcher,
            leader,
        };
        let stopped = self.0.stop.clone().cancelled_owned();
        let changes = stream::try_unfold(observer, |mut observer| async move {
            Ok::<_, Status>(Some((observer.next().await?, observer)))
        });
        let changes = changes.flat_map(|batch| {
            stream::iter(match batch {
                Ok(responses) => responses.into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            })
        });
        Ok(Response::new(Box::pin(
            stream::iter(start).chain(changes).take_until(stopped),
        )))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Answer<ResignResponse> {
        let store = Client::of(&self.0, &request).store()?;
        let place = claimed(request.into_inner().leader)?;
        queue::leave(&store, &place.key, place.revision).await?;
        Ok(Response::new(ResignResponse {
            header: self.0.header_now(),
        }))
    }
}

/// Follows an election: every value its leaders proclaim, in order.
struct Observer {
    client: Client,
    name: Vec<u8>,
    watcher: Watcher,
    leader: Option<KeyValue>,
}

impl Observer {
    async fn next(&mut self) -> Result<Vec<LeaderResponse>, Status> {
        match self.watcher.next().await.map_err(status)? {
            Delivery::Blocks { blocks, .. } => {
                let mut responses = Vec::new();
                for block in blocks {
                    self.block(&block, &mut responses).await?;
                }
                Ok(responses)
            }
            Delivery::Progress { .. } => Ok(Vec::new()),
            Delivery::Compacted { .. } => Err(Refusal::Compacted.into()),
        }
    }

    async fn block(&mut self, block: &mvcc::Block, responses: &mut Vec<LeaderResponse>) -> Result<(), Status> {
        for event in block
            .events
            .iter()
            .filter(|event| self.watcher.spec().matches(&event.entry.key))
        {
            let is_leaders = self.leader.as_ref().is_none_or(|leader| leader.key == event.entry.key);
            if !is_leaders {
                continue;
            }
            self.leader = if event.is_delete() {
                queue::first(&self.client, &self.name, block.revision).await?.0
            } else {
                Some(event.entry.to_kv())
            };
            if let Some(kv) = &self.leader {
                responses.push(LeaderResponse {
                    header: self.client.door.header(block.revision),
                    kv: Some(kv.clone()),
                });
            }
        }
        Ok(())
    }
}
