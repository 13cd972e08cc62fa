//! What the API server relies on, over a store in memory.

use raftstore::pb::{CompactionRequest, PutRequest};
use serde_json::{Value, json};
use std::sync::Arc;
use storage::{
    Attempt, ChangeKind, Collection, Error, Fence, Fields, Freshness, Guard, ListQuery, Matcher, Start, Storage,
    WatchEvent, WatchQuery,
};

async fn storage() -> (Storage, Collection) {
    let store = memory::store().await.unwrap();
    (
        Storage::new(store),
        Collection::builtin("pods", true, Fields::new([("spec.nodeName", "")])),
    )
}

fn pod(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a", "uid": format!("uid-{name}"),
        "labels": {"app": app}}, "spec": {"nodeName": "n1"}})
}

fn app(value: &'static str) -> Option<Matcher> {
    Some(Arc::new(move |meta| meta.label("app") == Some(value)))
}

fn names(items: &[storage::Item]) -> Vec<String> {
    items.iter().map(|item| item.meta().name.to_string()).collect()
}

#[tokio::test]
async fn an_object_is_created_once_and_read_with_its_version() {
    let (storage, pods) = storage().await;
    let created = storage.create(&pods, "a", "x", &pod("x", "web"), None).await.unwrap();
    let read = storage.get(&pods, "a", "x", Freshness::Latest).await.unwrap();
    assert_eq!(read.revision(), created.revision());
    assert_eq!(
        read.value().unwrap()["metadata"]["resourceVersion"],
        created.revision().to_string()
    );
    assert_eq!(&*read.meta().fields[0], "n1");
    let again = storage.create(&pods, "a", "x", &pod("x", "web"), None).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let missing = storage.get(&pods, "b", "x", Freshness::Latest).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_replace_of_a_stale_copy_loses_and_learns_the_current_one() {
    let (storage, pods) = storage().await;
    storage.create(&pods, "a", "x", &pod("x", "web"), None).await.unwrap();
    let stale = storage.current(&pods, "a", "x").await.unwrap();
    let first = storage
        .replace(&pods, "a", "x", &stale, &pod("x", "one"), None)
        .await
        .unwrap();
    assert!(matches!(first, Attempt::Written(_)));
    let second = storage
        .replace(&pods, "a", "x", &stale, &pod("x", "two"), None)
        .await
        .unwrap();
    let Attempt::Lost(Some(current)) = second else {
        panic!("{second:?}")
    };
    assert!(current.fresh);
    assert_eq!(current.item.meta().label("app"), Some("one"));
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_revision() {
    let (storage, pods) = storage().await;
    let created = storage.create(&pods, "a", "x", &pod("x", "web"), None).await.unwrap();
    let current = storage.current(&pods, "a", "x").await.unwrap();
    let Attempt::Written(same) = storage
        .replace(&pods, "a", "x", &current, &pod("x", "web"), None)
        .await
        .unwrap()
    else {
        panic!("nobody else wrote")
    };
    assert_eq!(same.revision(), created.revision());
}

#[tokio::test]
async fn a_moved_fence_refuses_every_kind_of_write() {
    let (storage, pods) = storage().await;
    let put = |value: &'static str| PutRequest {
        key: "/proreus/fence".into(),
        value: value.into(),
        ..PutRequest::default()
    };
    let token = storage.store().put(put("1")).await.unwrap().header.unwrap().revision;
    let fence = Fence {
        key: b"/proreus/fence".to_vec(),
        token,
    };
    storage
        .create(&pods, "a", "x", &pod("x", "web"), Some(&fence))
        .await
        .unwrap();
    let current = storage.current(&pods, "a", "x").await.unwrap();
    storage.store().put(put("2")).await.unwrap();
    let created = storage.create(&pods, "a", "y", &pod("y", "web"), Some(&fence)).await;
    assert!(matches!(created, Err(Error::Fenced)), "{created:?}");
    let replaced = storage
        .replace(&pods, "a", "x", &current, &pod("x", "late"), Some(&fence))
        .await;
    assert!(matches!(replaced, Err(Error::Fenced)), "{replaced:?}");
    let removed = storage.remove(&pods, "a", "x", &current, Some(&fence)).await;
    assert!(matches!(removed, Err(Error::Fenced)), "{removed:?}");
}

#[tokio::test]
async fn pages_are_one_revision_whatever_happens_between_them() {
    let (storage, pods) = storage().await;
    for i in 0..5 {
        storage
            .create(&pods, "a", &format!("p{i}"), &pod(&format!("p{i}"), "web"), None)
            .await
            .unwrap();
    }
    let mut query = ListQuery {
        limit: 2,
        ..ListQuery::default()
    };
    let first = storage.list(&pods, &query).await.unwrap();
    assert_eq!(
        (names(&first.items), first.remaining),
        (vec!["p0".into(), "p1".into()], Some(3))
    );
    storage
        .create(&pods, "a", "p2b", &pod("p2b", "web"), None)
        .await
        .unwrap();
    query.continuation = first.continuation;
    let second = storage.list(&pods, &query).await.unwrap();
    assert_eq!(
        (names(&second.items), second.remaining),
        (vec!["p2".into(), "p3".into()], Some(1))
    );
    assert_eq!(second.revision, first.revision);
    query.continuation = second.continuation;
    let third = storage.list(&pods, &query).await.unwrap();
    assert_eq!(
        (names(&third.items), third.continuation, third.remaining),
        (vec!["p4".into()], None, None)
    );
}

#[tokio::test]
async fn a_page_of_a_compacted_revision_expires_and_can_be_resumed() {
    let (storage, pods) = storage().await;
    for i in 0..3 {
        storage
            .create(&pods, "a", &format!("p{i}"), &pod(&format!("p{i}"), "web"), None)
            .await
            .unwrap();
    }
    let mut query = ListQuery {
        limit: 1,
        ..ListQuery::default()
    };
    query.continuation = storage.list(&pods, &query).await.unwrap().continuation;
    storage.create(&pods, "a", "p3", &pod("p3", "web"), None).await.unwrap();
    let revision = storage.store().view().revision();
    storage
        .store()
        .compact(CompactionRequest {
            revision,
            physical: true,
        })
        .await
        .unwrap();
    let Err(Error::Expired { resume, .. }) = storage.list(&pods, &query).await else {
        panic!("compacted")
    };
    query.continuation = resume;
    query.limit = 0;
    assert_eq!(
        names(&storage.list(&pods, &query).await.unwrap().items),
        ["p1", "p2", "p3"]
    );
}

#[tokio::test]
async fn exact_and_future_versions() {
    let (storage, pods) = storage().await;
    let old = storage
        .create(&pods, "a", "x", &pod("x", "web"), None)
        .await
        .unwrap()
        .revision();
    storage.create(&pods, "a", "y", &pod("y", "web"), None).await.unwrap();
    let query = |freshness| ListQuery {
        freshness: Some(freshness),
        ..ListQuery::default()
    };
    let exact = storage.list(&pods, &query(Freshness::Exactly(old))).await.unwrap();
    assert_eq!((names(&exact.items), exact.revision), (vec!["x".into()], old));
    let newer = storage.list(&pods, &query(Freshness::AtLeast(old))).await.unwrap();
    assert_eq!(newer.items.len(), 2);
    let future = storage.list(&pods, &query(Freshness::AtLeast(old + 1000))).await;
    assert!(matches!(future, Err(Error::Future { .. })), "{future:?}");
}

#[tokio::test]
async fn a_selector_turns_changes_into_additions_and_deletions() {
    let (storage, pods) = storage().await;
    let start = Start::Existing(Freshness::Latest);
    let query = WatchQuery {
        namespace: "a".into(),
        name: None,
        matcher: app("web"),
        start,
    };
    storage.create(&pods, "a", "x", &pod("x", "web"), None).await.unwrap();
    storage
        .create(&pods, "a", "other", &pod("other", "db"), None)
        .await
        .unwrap();
    let mut watch = storage.watch(&pods, query).await.unwrap();
    for app in ["db", "web", "web"] {
        let current = storage.current(&pods, "a", "x").await.unwrap();
        let mut object = pod("x", app);
        object["spec"]["n"] = current.item.revision().into();
        storage.replace(&pods, "a", "x", &current, &object, None).await.unwrap();
    }
    let current = storage.current(&pods, "a", "x").await.unwrap();
    let Attempt::Written(last) = storage.remove(&pods, "a", "x", &current, None).await.unwrap() else {
        panic!("lost")
    };
    let mut seen = Vec::new();
    while seen.len() < 6 {
        for event in watch.next().await.unwrap() {
            seen.push(match event {
                WatchEvent::Change(change) => format!("{:?} {}", change.kind, change.item.meta().label("app").unwrap()),
                WatchEvent::Bookmark { initial_end, .. } => format!("Bookmark {initial_end}"),
            });
        }
    }
    let expected = [
        "Added web",
        "Bookmark true",
        "Deleted web",
        "Added web",
        "Modified web",
        "Deleted web",
    ];
    assert_eq!(seen, expected);
    assert_eq!(last.revision(), storage.store().view().revision());
}

#[tokio::test]
async fn frames_are_encoded_once_for_all_watchers() {
    let (storage, pods) = storage().await;
    let query = WatchQuery {
        namespace: String::new(),
        name: None,
        matcher: None,
        start: Start::Now,
    };
    let mut first = storage.watch(&pods, query.clone()).await.unwrap();
    let mut second = storage.watch(&pods, query).await.unwrap();
    storage.create(&pods, "a", "x", &pod("x", "web"), None).await.unwrap();
    let mut encoded = 0;
    let mut frames = Vec::new();
    for watch in [&mut first, &mut second] {
        let Some(WatchEvent::Change(change)) = watch.next().await.unwrap().pop_front() else {
            panic!("a change")
        };
        assert_eq!(change.kind, ChangeKind::Added);
        let frame = change.frame(1, |change| {
            encoded += 1;
            Ok::<_, Error>(change.item.json())
        });
        frames.push(frame.unwrap());
    }
    assert_eq!((encoded, frames[0].as_ptr()), (1, frames[1].as_ptr()));
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision_and_bookmarks_on_request() {
    let (storage, pods) = storage().await;
    let old = storage
        .create(&pods, "a", "x", &pod("x", "web"), None)
        .await
        .unwrap()
        .revision();
    for i in 0..3 {
        storage
            .create(&pods, "a", &format!("p{i}"), &pod("p", "web"), None)
            .await
            .unwrap();
    }
    let query = WatchQuery {
        namespace: String::new(),
        name: None,
        matcher: None,
        start: Start::After(old),
    };
    let mut watch = storage.watch(&pods, query).await.unwrap();
    assert_eq!(watch.next().await.unwrap().len(), 3);
    watch.request_bookmark();
    let Some(WatchEvent::Bookmark {
        revision,
        initial_end: false,
    }) = watch.next().await.unwrap().pop_front()
    else {
        panic!("a bookmark")
    };
    assert_eq!(revision, storage.store().view().revision());
}

#[tokio::test]
async fn a_guarded_create_depends_on_the_other_object() {
    let (storage, pods) = storage().await;
    let home = storage
        .create(&pods, "a", "home", &pod("home", "web"), None)
        .await
        .unwrap();
    let guard = |item: &storage::Item| Guard {
        key: pods.key("a", "home"),
        revision: item.revision(),
        becomes: None,
    };
    let before = guard(&home);
    let create = |name: &'static str, guard: Guard| {
        let (storage, pods) = (storage.clone(), pods.clone());
        async move {
            storage
                .create_guarded(&pods, "a", name, &pod(name, "web"), None, &[guard])
                .await
        }
    };
    create("x", before.clone()).await.unwrap();
    let current = storage.current(&pods, "a", "home").await.unwrap();
    let changed = storage
        .replace(&pods, "a", "home", &current, &pod("home", "db"), None)
        .await
        .unwrap();
    let Attempt::Written(changed) = changed else {
        panic!("{changed:?}")
    };
    let refused = create("y", before.clone()).await;
    assert!(matches!(refused, Err(Error::Moved { .. })), "{refused:?}");
    // That the name is taken is the better answer.
    let taken = create("x", before).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    let mut along = guard(&changed);
    along.becomes = Some(pod("home", "along"));
    let made = create("y", along).await.unwrap();
    let home = storage.get(&pods, "a", "home", Freshness::Latest).await.unwrap();
    assert_eq!(
        (home.revision(), home.meta().label("app")),
        (made.revision(), Some("along"))
    );
}

/// Something else wrote to the keyspace, or a bit flipped: one object is lost to readers, not its whole kind.
#[tokio::test]
async fn an_unreadable_value_is_left_out_and_can_be_removed() {
    let (storage, pods) = storage().await;
    storage.create(&pods, "a", "x", &pod("x", "web"), None).await.unwrap();
    let mut watch = storage
        .watch(
            &pods,
            WatchQuery {
                namespace: String::new(),
                name: None,
                matcher: None,
                start: Start::Now,
            },
        )
        .await
        .unwrap();
    let broken = PutRequest {
        key: "/registry/pods/a/w".into(),
        value: "not an object".into(),
        ..PutRequest::default()
    };
    storage.store().put(broken).await.unwrap();
    storage.create(&pods, "a", "y", &pod("y", "web"), None).await.unwrap();
    let page = storage.list(&pods, &ListQuery::default()).await.unwrap();
    assert_eq!(names(&page.items), ["x", "y"]);
    let events = watch.next().await.unwrap();
    assert!(
        matches!(&events[0], WatchEvent::Change(change) if &*change.item.meta().name == "y"),
        "{events:?}"
    );
    let read = storage.get(&pods, "a", "w", Freshness::Latest).await;
    assert!(
        matches!(&read, Err(Error::Corrupt { key, .. }) if key == "/registry/pods/a/w"),
        "{read:?}"
    );
    assert!(storage.purge(&pods, "a", "w", None).await.unwrap());
    let read = storage.get(&pods, "a", "w", Freshness::Latest).await;
    assert!(matches!(read, Err(Error::NotFound { .. })), "{read:?}");
    // What can be read is not purged.
    assert!(!storage.purge(&pods, "a", "x", None).await.unwrap());
}

#[tokio::test]
async fn a_watch_from_the_future_is_told_so() {
    let (storage, pods) = storage().await;
    let query = WatchQuery {
        namespace: String::new(),
        name: None,
        matcher: None,
        start: Start::After(1_000_000),
    };
    let refused = storage.watch(&pods, query).await.err();
    assert!(
        matches!(refused, Some(Error::Future { asked: 1_000_000, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_member_with_a_leader_is_never_cut_off() {
    let (storage, _) = storage().await;
    storage.check_recent().await.unwrap();
    storage.check_recent().await.unwrap();
}
