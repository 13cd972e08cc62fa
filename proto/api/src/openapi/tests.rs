use super::*;
use crate::resources::group_versions;

#[test]
fn every_group_version_has_a_closed_document() {
    for (group, version) in group_versions() {
        let document = openapi_v3(group, version, &()).unwrap();
        let text = document.to_string();
        let prefix = "#/components/schemas/";
        for (index, _) in text.match_indices(prefix) {
            let rest = &text[index + prefix.len()..];
            let name = &rest[..rest.find('"').unwrap()];
            assert!(
                document["components"]["schemas"].get(name).is_some(),
                "{group}/{version} refers to {name}"
            );
        }
    }
    assert!(openapi_v3("nope", "v1", &()).is_none());
}

#[test]
fn the_index_names_documents_by_their_hash() {
    let index = openapi_v3_index([("", "v1", "A1"), ("apps", "v1", "B2")]);
    let url = |path: &str| index["paths"][path]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert_eq!(url("apis/apps/v1"), "/openapi/v3/apis/apps/v1?hash=B2");
    assert_eq!(url("api/v1"), "/openapi/v3/api/v1?hash=A1");
}

#[test]
fn version_2_is_one_closed_document() {
    struct Echo;
    impl Words for Echo {
        fn about(&self, definition: &str, field: &str) -> Option<&str> {
            (definition.ends_with(".PodSpec") && field == "nodeName").then_some("where it runs")
        }
    }
    let document = openapi_v2(&Echo);
    let text = document.to_string();
    assert!(!text.contains("#/components/") && !text.contains(r#""oneOf":["#));
    for (index, prefix) in text.match_indices("#/definitions/") {
        let rest = &text[index + prefix.len()..];
        let name = &rest[..rest.find('"').unwrap()];
        assert!(document["definitions"].get(name).is_some(), "{name}");
    }
    let spec = &document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(spec["nodeName"]["description"], "where it runs");
    assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    let post = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"]["post"];
    assert_eq!(post["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let body = post["parameters"].as_array().unwrap().last().unwrap();
    assert_eq!(body["schema"]["$ref"], "#/definitions/io.k8s.api.apps.v1.Deployment");
    assert!(gnostic(&document).len() > 100_000);
}

#[test]
fn patches_are_described_for_kubectl() {
    let document = openapi_v3("apps", "v1", &()).unwrap();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert!(
        patch["requestBody"]["content"]
            .get("application/apply-patch+yaml")
            .is_some()
    );
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(
        containers["items"]["$ref"],
        "#/components/schemas/io.k8s.api.core.v1.Container"
    );
    let template = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["template"];
    assert_eq!(
        template["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec"
    );
}
