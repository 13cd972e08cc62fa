//! Objects behind the API, each under one name, with a uid for each of its lives and a version for each of its states:
//!
//! | anomaly | the promise it breaks |
//! |---|---|
//! | `resource-version-backwards` | versions of a name, of lists, and of writes, whichever their names, never go back: what is asked for later is not older |
//! | `version-given-twice` | each write makes a version of its own, whichever names they are of |
//! | `wrong-list` | a list shows what was there at the version it tells: nothing newer, nothing replaced or deleted, nobody missing |
//! | `stale-read` | an acknowledged write is not missed by who reads later |
//! | `two-states` | an object has one state at one version |
//! | `two-versions` | a value, which is written once, has one version |
//! | `two-winners` | of two updates of one version one wins, whether it was answered or only seen |
//! | `lost-update` | an update replaces the version it names: no other one of the name lies between, and it stays the same life |
//! | `wrong-answer` | a write is answered with what it wrote, a read of a name with that name |
//! | `listed-twice` | a list shows a name once |
//! | `phantom` | a value was written to the name by someone who had asked by then and was not refused |
//! | `vanished` | who was there is there until someone can have deleted it |
//! | `created-twice` | a name has a second life only after the first one can have been deleted |
//! | `deleted-came-back` | an acknowledged delete stays deleted |
//! | `deleted-twice` | of two deletions of one uid one is acknowledged |
//! | `uid-reused` | a uid never serves two names |
//!
//! They follow from one linearizable store beneath (etcd's API guarantees, <https://etcd.io/docs/v3.5/learning/api_guarantees/>)
//! and from what Kubernetes says of uids and resource versions
//! (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md>).

mod lives;
mod revisions;
mod states;

use serde::{Deserialize, Serialize};

use crate::{Operation, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Create {
        key: String,
        value: String,
    },
    /// Replaces the object if it has that resource version.
    Update {
        key: String,
        resource_version: u64,
        value: String,
    },
    /// Deletes the object if it has that uid.
    Delete {
        key: String,
        uid: String,
    },
    Get {
        key: String,
    },
    List,
}

/// An object as an answer showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub key: String,
    pub uid: String,
    pub resource_version: u64,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Of a list: its own. Of anything else: that of the object, where there is one.
    pub resource_version: Option<u64>,
    pub objects: Vec<Object>,
}

type Op = Operation<Call, Return>;

/// Values are unique in a test, and nobody else touches its objects.
pub fn check(operations: &[Op]) -> Verdict {
    let mut verdict = Verdict::valid("objects");
    let checks = [
        states::lists_go_forward,
        states::names_go_forward,
        states::updates_go_forward,
        revisions::writes_go_forward,
        revisions::one_name_at_a_version,
        revisions::lists_show_their_version,
        states::one_at_a_version,
        states::one_version_of_a_value,
        states::one_winner,
        states::updates_replace_what_they_name,
        states::answers_fit,
        states::values_were_written,
        lives::nobody_vanishes,
        lives::one_after_the_other,
        lives::deletes_last,
        lives::one_deletion,
        lives::uids_are_unique,
    ];
    checks
        .iter()
        .flat_map(|check| check(operations))
        .for_each(|anomaly| verdict.broken(anomaly));
    verdict.needs_answers(operations);
    verdict.note(format!("{} operations", operations.len()));
    verdict
}

/// The objects that an answer shows as being there. What a deletion shows is no longer there.
fn shown(op: &Op) -> &[Object] {
    match op.call {
        Call::Delete { .. } => &[],
        _ => op.outcome.result().map_or(&[], |answer| &answer.objects),
    }
}

fn showings(operations: &[Op]) -> impl Iterator<Item = (&Op, &Object)> {
    operations
        .iter()
        .flat_map(|op| shown(op).iter().map(move |object| (op, object)))
}
