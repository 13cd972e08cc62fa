//! Keeps the served custom resources in step with their definitions.

use super::custom::{Compiled, Origin, compile};
use super::{DEFINITIONS, cleanup, is, names};
use crate::ApiError;
use crate::registry::fields::{at, name};
use crate::registry::{Overlay, Reader, Registry, RequestContext, Served};
use crate::status::from_storage;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use storage::{ChangeKind, Freshness, ListQuery, Watch, WatchEvent};
use tokio_util::sync::CancellationToken;

/// How often what only the leading member does is looked at again: it may have become one.
const TICK: Duration = Duration::from_secs(2);
/// How long to wait after a watch that failed.
const RETRY: Duration = Duration::from_millis(500);

/// The definitions as of a revision.
#[derive(Default)]
struct Known {
    definitions: BTreeMap<String, Arc<Value>>,
    revision: i64,
}

/// The loop that follows the definitions.
pub(crate) struct Follower {
    registry: Weak<Registry>,
    reader: Reader,
    /// Definitions that are being emptied.
    emptying: Arc<Mutex<HashSet<String>>>,
}

impl Follower {
    pub(crate) fn new(registry: &Arc<Registry>) -> Follower {
        Follower {
            registry: Arc::downgrade(registry),
            reader: registry.reader().clone(),
            emptying: Arc::default(),
        }
    }

    /// Runs until `stop`, or until the server is gone.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while self.registry.strong_count() > 0 {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.follow() => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "the watch of definitions ended");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn follow(&self) -> Result<(), ApiError> {
        let mut watch = self.reader.watch(DEFINITIONS, "").await?;
        let mut known = Known::default();
        let mut complete = false;
        // Whether this member led, and everything was judged, when it last looked.
        let mut judged = false;
        let mut ticks = tokio::time::interval(TICK);
        loop {
            let changed = tokio::select! {
                changed = take(&mut watch, &mut known, &mut complete) => changed.map(|()| true)?,
                _ = ticks.tick() => false,
            };
            if !complete {
                continue;
            }
            if changed {
                lay_over(&self.reader, &known);
            }
            let Some(registry) = self.registry.upgrade() else {
                return Ok(());
            };
            let leading = registry.reader().storage().store().leadership().borrow().leading;
            if leading && (changed || !judged) {
                judged = accept_all(&registry, &known).await;
            }
            judged &= leading;
            let due = known
                .definitions
                .values()
                .filter(|definition| leading && cleanup::is_due(definition));
            due.for_each(|definition| self.empty(&registry, definition));
        }
    }

    /// Empties a definition beside the loop, which has others to follow.
    fn empty(&self, registry: &Arc<Registry>, definition: &Arc<Value>) {
        let own = name(definition).to_owned();
        if !self.emptying.lock().insert(own.clone()) {
            return;
        }
        let (registry, emptying, definition) = (registry.clone(), self.emptying.clone(), definition.clone());
        tokio::spawn(async move {
            if let Err(error) = cleanup::run(&registry, &definition).await {
                tracing::debug!(%error, definition = own, "cannot empty a definition yet");
            }
            // What is left (objects with finalizers) is looked at again with the next tick.
            emptying.lock().remove(&own);
        });
    }
}

async fn take(watch: &mut Watch, known: &mut Known, complete: &mut bool) -> Result<(), ApiError> {
    let events = watch
        .next()
        .await
        .map_err(|error| from_storage(error, DEFINITIONS, ""))?;
    for event in events {
        match event {
            WatchEvent::Change(change) => {
                known.revision = known.revision.max(change.item.revision());
                let own = change.item.meta().name.to_string();
                match (change.kind, change.item.value()) {
                    (ChangeKind::Deleted, _) | (_, Err(_)) => drop(known.definitions.remove(&own)),
                    (_, Ok(definition)) => drop(known.definitions.insert(own, Arc::new(definition))),
                }
            }
            WatchEvent::Bookmark { revision, initial_end } => {
                known.revision = known.revision.max(revision);
                *complete |= initial_end;
            }
        }
    }
    Ok(())
}

/// Judges every definition's names. True when all that had to be written was.
async fn accept_all(registry: &Arc<Registry>, known: &Known) -> bool {
    let outlines: Vec<Value> = known
        .definitions
        .values()
        .map(|definition| outline(definition))
        .collect();
    let mut done = true;
    for (definition, outline) in known.definitions.values().zip(&outlines) {
        let going = at(definition, "metadata.deletionTimestamp").is_some();
        if going || !names::judge(&mut outline.clone(), &outlines) {
            continue;
        }
        if let Err(error) = accept(registry, name(definition), &outlines).await {
            tracing::debug!(%error, definition = name(definition), "cannot set the status of a definition");
            done = false;
        }
    }
    done
}

/// The little of a definition that its names are judged by.
fn outline(definition: &Value) -> Value {
    json!({"metadata": {"name": name(definition)}, "status": definition["status"],
        "spec": {"group": definition["spec"]["group"], "names": definition["spec"]["names"]}})
}

async fn accept(registry: &Arc<Registry>, definition: &str, outlines: &[Value]) -> Result<(), ApiError> {
    let context = RequestContext::system();
    let updated = registry
        .update(&context, DEFINITIONS, "status", "", definition, |definition| {
            names::judge(definition, outlines);
            Ok(())
        })
        .await;
    match updated {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Puts what the definitions say in place of what was served, unless that is newer. What has not changed stays as it is.
fn lay_over(reader: &Reader, known: &Known) {
    // One at a time: the loop, and requests that look for themselves.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let before = reader.overlay();
    if known.revision < before.revision {
        return;
    }
    let mut served: Vec<Arc<Served>> = Vec::new();
    let mut stored: Vec<Arc<Served>> = Vec::new();
    for definition in known
        .definitions
        .values()
        .filter(|definition| is(definition, "Established"))
    {
        let origin = Origin::of(definition);
        let same = |one: &&Arc<Served>| one.custom.as_ref().is_some_and(|custom| custom.origin == origin);
        let kept: Vec<Arc<Served>> = before.served.iter().filter(same).cloned().collect();
        let kept_stored = before.stored.iter().find(same).cloned();
        let compiled = match kept_stored {
            Some(_) => Compiled {
                served: kept,
                stored: kept_stored,
            },
            None => compile(definition),
        };
        served.extend(compiled.served);
        stored.extend(compiled.stored);
    }
    let unchanged = before.served.len() == served.len()
        && before.stored.len() == stored.len()
        && before.served.iter().zip(&served).all(|(a, b)| Arc::ptr_eq(a, b));
    if !unchanged || before.revision == 0 {
        reader.set_overlay(Overlay::new(served, stored, known.revision));
    }
}

/// Looks at the definitions as they are now, if one of them may serve what this server does not know. False when there is none.
pub(crate) async fn look(reader: &Reader, group: &str, resource: &str) -> Result<bool, ApiError> {
    // A definition is named after what it defines.
    let own = format!("{resource}.{group}");
    if !group.contains('.') {
        return Ok(false);
    }
    match reader.item(DEFINITIONS, "", &own, Freshness::Latest).await {
        Ok(item) => {
            let definition = item.value().map_err(ApiError::internal)?;
            if !is(&definition, "Established") {
                return Ok(false);
            }
        }
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error),
    }
    load(reader).await.map(|()| true)
}

/// Serves what the definitions say now.
pub(crate) async fn load(reader: &Reader) -> Result<(), ApiError> {
    let served = reader.served(DEFINITIONS)?;
    let query = ListQuery {
        freshness: Some(Freshness::Latest),
        ..ListQuery::default()
    };
    let page = reader.storage().list(&served.collection, &query).await;
    let page = page.map_err(|error| from_storage(error, DEFINITIONS, ""))?;
    let values = page.items.iter().filter_map(|item| item.value().ok());
    let known = Known {
        definitions: values.map(|value| (name(&value).to_owned(), Arc::new(value))).collect(),
        revision: page.revision,
    };
    lay_over(reader, &known);
    Ok(())
}
