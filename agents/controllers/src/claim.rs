//! Who controls what: an owner adopts what its selector selects and nobody controls, and releases what it controls but
//! no longer selects.

use client::objects::LabelSelector;
use client::{Client, Error, Key, Meta, OwnerReference, Patch, Resource};
use serde_json::{Value, json};

/// What an owner has to do about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the owner's.
    Mine,
    /// Nobody controls it and the owner selects it.
    Adopt,
    /// The owner controls it but does not select it.
    Release,
    /// Somebody else's, or nobody's that the owner selects.
    Foreign,
}

/// What `owner`, whose selector this is, has to do about `object`.
pub(crate) fn claim(owner: &Meta, selector: &LabelSelector, object: &Meta) -> Claim {
    // An empty selector would adopt the whole namespace.
    let selected = !selector.is_empty() && selector.matches(&object.labels);
    match object.controller() {
        Some(controller) if controller.uid == owner.uid => match selected {
            true => Claim::Mine,
            false if owner.is_deleting() => Claim::Mine,
            false => Claim::Release,
        },
        Some(_) => Claim::Foreign,
        None if selected && !owner.is_deleting() && !object.is_deleting() => Claim::Adopt,
        None => Claim::Foreign,
    }
}

/// Makes `owner` the controller of the object. The owner is read from the API first: the cache may show an owner that is
/// being deleted or replaced by now.
pub(crate) async fn adopt(client: &Client, owner: (&Resource, &Meta), object: (&Resource, &Meta)) -> Result<(), Error> {
    let live: client::MetaOnly = client.get(owner.0, &owner.1.key()).await?;
    if live.metadata.uid != owner.1.uid || live.metadata.is_deleting() {
        return Ok(());
    }
    let mut references = object.1.owner_references.clone();
    references.push(OwnerReference::controlled_by(owner.0, owner.1));
    set_owners(client, object.0, object.1, &references).await
}

/// Takes `owner` out of the object's owners. Nothing to do if the object is gone.
pub(crate) async fn release(client: &Client, owner_uid: &str, resource: &Resource, object: &Meta) -> Result<(), Error> {
    let references: Vec<_> = object
        .owner_references
        .iter()
        .filter(|o| o.uid != owner_uid)
        .cloned()
        .collect();
    match set_owners(client, resource, object, &references).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

/// Replaces the owners of the object as it was observed; a conflict if it has changed since.
pub(crate) async fn set_owners(
    client: &Client,
    resource: &Resource,
    object: &Meta,
    references: &[OwnerReference],
) -> Result<(), Error> {
    let body = json!({ "metadata": {
        "uid": object.uid,
        "resourceVersion": object.resource_version,
        "ownerReferences": references,
    } });
    client
        .patch::<Value>(resource, &object.key(), None, Patch::Merge, &body)
        .await
        .map(|_| ())
}

/// The key of the object's controller, if that is of this kind.
pub(crate) fn controller_key(kind: &Resource, object: &Meta) -> Option<Key> {
    let controller = object
        .controller()
        .filter(|c| c.kind == kind.kind && group(&c.api_version) == kind.group)?;
    Some(Key::new(&object.namespace, &controller.name))
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let selector: LabelSelector = serde_json::from_value(json!({ "matchLabels": { "app": "a" } })).unwrap();
        let owner: Meta = serde_json::from_value(json!({ "name": "o", "uid": "me" })).unwrap();
        let object = |app: &str, controller: &str| -> Meta {
            let references = match controller {
                "" => json!([]),
                uid => json!([{ "uid": uid, "controller": true }]),
            };
            serde_json::from_value(json!({ "labels": { "app": app }, "ownerReferences": references })).unwrap()
        };
        for (app, controller, expected) in [
            ("a", "me", Claim::Mine),
            ("b", "me", Claim::Release),
            ("a", "", Claim::Adopt),
            ("b", "", Claim::Foreign),
            ("a", "other", Claim::Foreign),
        ] {
            assert_eq!(
                claim(&owner, &selector, &object(app, controller)),
                expected,
                "{app} {controller}"
            );
        }
        assert_eq!(
            claim(&owner, &LabelSelector::default(), &object("a", "")),
            Claim::Foreign
        );
    }
}
