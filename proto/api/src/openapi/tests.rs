use super::*;

#[test]
fn every_group_version_has_a_closed_document() {
    for (group, version) in group_versions() {
        let document = openapi_v3(group, version).unwrap();
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
    assert!(openapi_v3("nope", "v1").is_none());
}

#[test]
fn the_index_names_every_document() {
    let index = openapi_v3_index();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="));
    assert!(index["paths"].get("api/v1").is_some());
    assert_eq!(index, openapi_v3_index());
}

#[test]
fn patches_are_described_for_kubectl() {
    let document = openapi_v3("apps", "v1").unwrap();
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
