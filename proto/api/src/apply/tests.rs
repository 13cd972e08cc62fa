use super::*;
use crate::gvk::Gvk;
use crate::schema::registry;
use serde_json::json;

fn deployment() -> Schema<'static> {
    registry().schema(&Gvk::of("apps", "v1", "Deployment")).unwrap()
}

fn writer<'a>(manager: &'a str, now: &'a str) -> Writer<'a> {
    Writer {
        manager,
        api_version: "apps/v1",
        subresource: "",
        now,
    }
}

fn config(replicas: u32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "c", "image": image, "ports": [{"containerPort": 80}]}]}}}})
}

fn set_of(managed: &Managed, manager: &str) -> Value {
    let entry = managed.entries().iter().find(|entry| entry.manager == manager);
    entry.map_or(Value::Null, |entry| entry.set.render())
}

#[test]
fn an_applied_configuration_is_owned_leaf_by_leaf() {
    let applied = apply(
        deployment(),
        &Value::Null,
        &config(2, "i"),
        Managed::default(),
        writer("m", "t"),
        false,
    )
    .unwrap();
    assert_eq!(applied.object, config(2, "i"));
    assert_eq!(
        set_of(&applied.managed, "m"),
        json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            r#"k:{"name":"c"}"#: {".": {}, "f:image": {}, "f:name": {}, "f:ports": {
                r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}}}}}}}}})
    );
    let stored = applied.managed.render().unwrap();
    assert_eq!(Managed::parse(Some(&stored)).unwrap(), applied.managed);
}

#[test]
fn an_update_owns_what_it_changed_containers_included() {
    let managed = record(
        deployment(),
        &Value::Null,
        &config(2, "i"),
        Managed::default(),
        writer("kubectl", "t1"),
    );
    assert_eq!(
        set_of(&managed, "kubectl")["f:metadata"],
        json!({"f:labels": {".": {}, "f:a": {}}})
    );
    let managed = record(
        deployment(),
        &config(2, "i"),
        &config(3, "i"),
        managed,
        writer("scaler", "t2"),
    );
    assert_eq!(set_of(&managed, "scaler"), json!({"f:spec": {"f:replicas": {}}}));
    assert!(set_of(&managed, "kubectl")["f:spec"].get("f:replicas").is_none());
    let same = record(
        deployment(),
        &config(3, "i"),
        &config(3, "i"),
        managed.clone(),
        writer("idle", "t3"),
    );
    assert_eq!(same, managed);
}

#[test]
fn a_value_of_somebody_else_is_a_conflict_unless_forced() {
    let live = config(2, "i");
    let managed = record(
        deployment(),
        &Value::Null,
        &live,
        Managed::default(),
        writer("kubectl", "T"),
    );
    let wanted = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 5,
        "template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}});
    let conflicts = apply(deployment(), &live, &wanted, managed.clone(), writer("m", "t"), false).unwrap_err();
    let paths: Vec<&str> = conflicts.iter().map(|conflict| conflict.path.as_str()).collect();
    assert_eq!(
        paths,
        [".spec.replicas", ".spec.template.spec.containers[name=\"c\"].image"]
    );
    assert_eq!(conflicts[0].manager, "\"kubectl\" using apps/v1 at T");
    let forced = apply(deployment(), &live, &wanted, managed.clone(), writer("m", "t"), true).unwrap();
    assert_eq!(forced.object["spec"]["replicas"], 5);
    assert!(set_of(&forced.managed, "kubectl")["f:spec"].get("f:replicas").is_none());
    // The same value is shared, not fought over.
    let shared = apply(deployment(), &live, &config(2, "i"), managed, writer("m", "t"), false).unwrap();
    assert!(set_of(&shared.managed, "kubectl")["f:spec"].get("f:replicas").is_some());
    assert!(set_of(&shared.managed, "m")["f:spec"].get("f:replicas").is_some());
}

#[test]
fn what_is_no_longer_said_goes_unless_somebody_else_wants_it() {
    let first = apply(
        deployment(),
        &Value::Null,
        &config(2, "i"),
        Managed::default(),
        writer("m", "t"),
        false,
    )
    .unwrap();
    let label = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b", "x": "y"}}});
    let second = apply(
        deployment(),
        &first.object,
        &label,
        first.managed,
        writer("n", "t"),
        false,
    )
    .unwrap();
    let less =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 2}});
    let third = apply(
        deployment(),
        &second.object,
        &less,
        second.managed,
        writer("m", "t2"),
        false,
    )
    .unwrap();
    assert_eq!(
        third.object,
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b", "x": "y"}},
            "spec": {"replicas": 2}})
    );
    let again = apply(
        deployment(),
        &third.object,
        &less,
        third.managed.clone(),
        writer("m", "t3"),
        false,
    )
    .unwrap();
    assert_eq!((again.object, again.managed), (third.object, third.managed));
}

#[test]
fn list_elements_of_others_stay_where_they_are() {
    let service = registry().schema(&Gvk::of("", "v1", "Service")).unwrap();
    let with = |ports: &[u16]| {
        let ports: Vec<Value> = ports
            .iter()
            .map(|port| json!({"port": port, "protocol": "TCP"}))
            .collect();
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}})
    };
    let mine = |now| Writer {
        api_version: "v1",
        ..writer("m", now)
    };
    let managed = record(service, &Value::Null, &with(&[1, 2]), Managed::default(), mine("t"));
    let applied = apply(
        service,
        &with(&[1, 2]),
        &with(&[3, 2]),
        managed,
        Writer {
            manager: "n",
            ..mine("t")
        },
        false,
    )
    .unwrap();
    assert_eq!(applied.object, with(&[1, 3, 2]));
    let fewer = apply(
        service,
        &applied.object,
        &with(&[2]),
        applied.managed,
        Writer {
            manager: "n",
            ..mine("t")
        },
        false,
    )
    .unwrap();
    assert_eq!(fewer.object, with(&[1, 2]));
}

#[test]
fn client_side_apply_goes_over_without_conflicts() {
    let mut live = config(2, "i");
    live["metadata"]["annotations"] = json!({LAST_APPLIED: config(2, "i").to_string()});
    let managed = record(
        deployment(),
        &Value::Null,
        &live,
        Managed::default(),
        writer("kubectl-client-side-apply", "t"),
    );
    let applied = apply(
        deployment(),
        &live,
        &config(4, "j"),
        managed.clone(),
        writer("kubectl", "t"),
        false,
    )
    .unwrap();
    assert_eq!(applied.object["spec"]["replicas"], 4);
    assert!(
        apply(
            deployment(),
            &live,
            &config(4, "j"),
            managed,
            writer("other", "t"),
            false
        )
        .is_err()
    );
}

#[test]
fn objects_without_a_record_get_one_at_the_first_apply() {
    let applied = apply(
        deployment(),
        &config(2, "i"),
        &config(2, "i"),
        Managed::default(),
        writer("m", "t"),
        false,
    )
    .unwrap();
    assert_eq!(applied.managed.entries().len(), 2);
    assert!(set_of(&applied.managed, BEFORE_FIRST_APPLY).is_object());
}

#[test]
fn the_number_of_managers_is_bounded() {
    let mut managed = Managed::default();
    let mut live = Value::Null;
    for round in 0..30 {
        let new = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d",
            "labels": {format!("l{round}"): "x"}}, "spec": {"replicas": round}});
        let new = walk::merge(deployment(), &live, &new);
        let (manager, time) = (format!("m{round:02}"), format!("t{round:02}"));
        managed = record(deployment(), &live, &new, managed, writer(&manager, &time));
        live = new;
    }
    assert_eq!(managed.entries().len(), 10);
    assert_eq!(
        set_of(&managed, "ancient-changes")["f:metadata"]["f:labels"]["f:l3"],
        json!({})
    );
}

#[test]
fn foreign_sets_are_refused_or_normalised() {
    assert!(Set::parse(&json!({"x": {}})).is_none());
    assert!(Set::parse(&json!({"k:not json": {}})).is_none());
    assert!(
        Managed::parse(Some(
            &json!([{"operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": []}])
        ))
        .is_none()
    );
    let set = Set::parse(&json!({r#"k:{"b":1, "a":2}"#: {}})).unwrap();
    assert_eq!(set.printed(), ["[a=2,b=1]"]);
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({"f:a": deep});
    }
    assert!(Set::parse(&deep).is_none());
}
