//! etcd's snapshot: its database file, as this store's content makes it, followed by the file's SHA-256.
//!
//! The file is spooled, without a name, to the directory that the configuration names: its first page says where its last one is.
//!
//! Left out: the members; a restored etcd gets new ones.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Auth, Dump, RowSink};
use prost::Message;
use proto::etcd::etcdserverpb::SnapshotResponse;
use raftstore::Store;
use ring::digest;
use tokio::sync::mpsc;
use tonic::Status;

use crate::{VERSION, bolt::Writer, error::status, limits};

type Answer = Result<SnapshotResponse, Status>;

/// Rows on their way into a file.
struct Spool {
    directory: PathBuf,
    bolt: io::Result<Writer<BufWriter<File>>>,
}

impl RowSink for Spool {
    fn begin(&mut self) {
        let file = tempfile::tempfile_in(&self.directory);
        self.bolt = file.and_then(|file| Writer::new(BufWriter::new(file)));
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> bool {
        let written = match &mut self.bolt {
            Ok(bolt) => bolt.row(key, value),
            Err(_) => return false,
        };
        if let Err(error) = written {
            self.bolt = Err(error);
        }
        self.bolt.is_ok()
    }
}

/// Takes a snapshot and sends it.
pub async fn send(store: Store, directory: PathBuf, client: mpsc::Sender<Answer>) {
    if let Err(refused) = try_send(store, directory, &client).await {
        let _ = client.send(Err(refused)).await;
    }
}

async fn try_send(store: Store, directory: PathBuf, client: &mpsc::Sender<Answer>) -> Result<(), Status> {
    let bolt = Err(io::ErrorKind::Other.into());
    let spool = Arc::new(parking_lot::Mutex::new(Spool { directory, bolt }));
    let dump = store.dump(spool.clone()).await.map_err(status)?;
    let spool = std::mem::replace(&mut spool.lock().bolt, Err(io::ErrorKind::Other.into()));
    let client = client.clone();
    let sent = tokio::task::spawn_blocking(move || {
        let (file, length) = complete(spool?, &dump)?;
        transfer(file, length, &client)
    });
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a snapshot could not be made");
        Status::internal(format!("the snapshot could not be made: {error}"))
    };
    match sent.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Buckets that etcd expects and that have nothing to say here.
const EMPTY_BUCKETS: [&[u8]; 4] = [b"alarm", b"cluster", b"members", b"members_removed"];

/// Adds everything but the keys, which are there.
fn complete(mut bolt: Writer<BufWriter<File>>, dump: &Dump) -> io::Result<(File, u64)> {
    bolt.finish_bucket(b"key")?;
    for lease in dump.view.leases() {
        let lease = Lease {
            id: lease.id,
            ttl: lease.ttl_s,
            remaining_ttl: lease.remaining_ttl_s,
        };
        bolt.row(&lease.id.to_be_bytes(), &lease.encode_to_vec())?;
    }
    bolt.finish_bucket(b"lease")?;
    let applied = dump
        .view
        .applied()
        .map_or((0, 0), |applied| (applied.index, applied.term));
    bolt.row(b"consistent_index", &applied.0.to_be_bytes())?;
    if dump.compacted > 0 {
        let compacted = revision(dump.compacted);
        bolt.row(b"finishedCompactRev", &compacted)?;
        bolt.row(b"scheduledCompactRev", &compacted)?;
    }
    bolt.row(b"term", &applied.1.to_be_bytes())?;
    bolt.finish_bucket(b"meta")?;
    users(&mut bolt, dump.view.auth())?;
    for name in EMPTY_BUCKETS {
        bolt.finish_bucket(name)?;
    }
    let (file, length) = bolt.finish()?;
    Ok((file.into_inner().map_err(io::IntoInnerError::into_error)?, length))
}

fn users(bolt: &mut Writer<BufWriter<File>>, auth: &Auth) -> io::Result<()> {
    bolt.row(b"authEnabled", &[u8::from(auth.enabled())])?;
    bolt.row(b"authRevision", &auth.revision().to_be_bytes())?;
    bolt.finish_bucket(b"auth")?;
    for role in auth.roles() {
        bolt.row(&role.name, &role.encode_to_vec())?;
    }
    bolt.finish_bucket(b"authRoles")?;
    for user in auth.users() {
        bolt.row(&user.name, &user.encode_to_vec())?;
    }
    bolt.finish_bucket(b"authUsers")
}

/// etcd's record of a lease.
#[derive(Clone, PartialEq, Message)]
pub struct Lease {
    #[prost(int64, tag = "1")]
    pub id: i64,
    #[prost(int64, tag = "2")]
    pub ttl: i64,
    #[prost(int64, tag = "3")]
    pub remaining_ttl: i64,
}

/// etcd's form of a revision without a place in it.
fn revision(main: i64) -> Vec<u8> {
    let mut bytes = main.to_be_bytes().to_vec();
    bytes.push(b'_');
    bytes.extend(0i64.to_be_bytes());
    bytes
}

fn transfer(mut file: File, length: u64, client: &mpsc::Sender<Answer>) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut checksum = digest::Context::new(&digest::SHA256);
    let mut remaining_bytes = length;
    let respond = |remaining_bytes: u64, blob: Bytes| {
        let version = VERSION.into();
        let response = SnapshotResponse {
            remaining_bytes,
            blob,
            version,
            ..Default::default()
        };
        client.blocking_send(Ok(response)).is_ok()
    };
    let mut buffer = vec![0; limits::SNAPSHOT_CHUNK_BYTES];
    while remaining_bytes > 0 {
        let chunk = &mut buffer[..limits::SNAPSHOT_CHUNK_BYTES.min(remaining_bytes as usize)];
        file.read_exact(chunk)?;
        checksum.update(chunk);
        remaining_bytes -= chunk.len() as u64;
        if !respond(remaining_bytes, Bytes::copy_from_slice(chunk)) {
            // The client went away.
            return Ok(());
        }
    }
    respond(0, Bytes::copy_from_slice(checksum.finish().as_ref()));
    Ok(())
}
