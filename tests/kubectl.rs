//! kubectl against a control plane without nodes: the everyday commands, and the errors their users know.

use crate::harness::cluster::{Cluster, missing};
use crate::harness::{output, skip, text};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'example.com/web:1'}]}
";

const CRON_TABS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: When it runs.}
              image: {type: string, default: busybox}
              replicas: {type: integer, maximum: 10}
          status: {type: object, properties: {replicas: {type: integer}}}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
";

fn cron_tab(kind: &str, field: &str, replicas: u32) -> String {
    format!(
        "apiVersion: stable.example.com/v1\nkind: {kind}\nmetadata: {{name: tab}}\n\
         spec: {{{field}: '* *', replicas: {replicas}}}\n"
    )
}

#[test]
fn everyday_commands_and_their_errors() {
    if let Some(reason) = missing("kubectl") {
        return skip(&reason);
    }
    let cluster = Cluster::start(1, 0, &[]);
    discovery(&cluster);
    objects_live(&cluster);
    workloads_are_controlled(&cluster);
    access_is_answered(&cluster);
    bad_input_is_named(&cluster);
    custom_resources_are_like_others(&cluster);
}

fn discovery(cluster: &Cluster) {
    assert!(cluster.kubectl(&["version"]).contains("Server Version: v1.36"));
    let resources = cluster.kubectl(&["api-resources"]);
    for kind in ["Deployment", "EndpointSlice", "ClusterRoleBinding"] {
        assert!(resources.contains(kind), "{kind} is not in\n{resources}");
    }
    assert!(
        cluster
            .kubectl(&["explain", "pod.spec.containers"])
            .contains("terminationMessagePath")
    );
    assert_eq!(cluster.kubectl(&["get", "--raw", "/readyz"]).trim(), "ok");
}

fn objects_live(cluster: &Cluster) {
    cluster.kubectl(&["create", "configmap", "c", "--from-literal=a=1"]);
    cluster.kubectl(&["label", "configmap", "c", "tier=front"]);
    cluster.kubectl(&["annotate", "configmap", "c", "note=x"]);
    cluster.kubectl(&["patch", "configmap", "c", "-p", r#"{"data":{"b":"2"}}"#]);
    cluster.kubectl(&[
        "patch",
        "configmap",
        "c",
        "--type=merge",
        "-p",
        r#"{"data":{"a":null}}"#,
    ]);
    cluster.kubectl(&[
        "patch",
        "configmap",
        "c",
        "--type=json",
        "-p",
        r#"[{"op":"add","path":"/data/c","value":"3"}]"#,
    ]);
    let data = cluster.kubectl(&[
        "get",
        "configmap",
        "-l",
        "tier=front",
        "-o",
        "jsonpath={.items[*].data}",
    ]);
    assert_eq!(data.trim(), r#"{"b":"2","c":"3"}"#);
    let table = cluster.kubectl(&["get", "configmap", "c"]);
    assert!(table.starts_with("NAME") && table.contains("DATA"), "{table}");
    let describe = cluster.kubectl(&["describe", "configmap", "c"]);
    assert!(describe.contains("tier=front"), "{describe}");
    cluster.kubectl(&["delete", "configmap", "c"]);
    cluster.kubectl(&["create", "secret", "generic", "s", "--from-literal=k=v"]);
    assert_eq!(
        cluster.kubectl(&["get", "secret", "s", "-o", "jsonpath={.data.k}"]),
        "dg=="
    );
    cluster.kubectl(&["create", "namespace", "short-lived"]);
    cluster.kubectl(&["create", "configmap", "inside", "-n", "short-lived"]);
    cluster.kubectl(&["delete", "namespace", "short-lived", "--timeout=60s"]);
    assert!(
        cluster
            .kubectl_fails(&["get", "namespace", "short-lived"])
            .contains("NotFound")
    );
}

fn workloads_are_controlled(cluster: &Cluster) {
    assert!(cluster.apply(DEPLOYMENT).contains("created"));
    assert!(cluster.apply(DEPLOYMENT).contains("unchanged"));
    assert!(
        cluster
            .apply(&DEPLOYMENT.replace("web:1", "web:2"))
            .contains("configured")
    );
    cluster.kubectl(&["wait", "--for=create", "replicaset", "-l", "app=web", "--timeout=60s"]);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=3"]);
    cluster.kubectl(&["expose", "deployment/web", "--port=80"]);
    let address = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    assert!(address.starts_with("10."), "{address}");
    cluster.kubectl(&["rollout", "undo", "deployment/web"]);
    let history = cluster.kubectl(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("REVISION"), "{history}");
    cluster.kubectl(&["delete", "deployment/web", "service/web", "--timeout=60s"]);
}

fn access_is_answered(cluster: &Cluster) {
    assert!(cluster.kubectl(&["auth", "whoami"]).contains("kubernetes-admin"));
    assert_eq!(cluster.kubectl(&["auth", "can-i", "create", "pods"]).trim(), "yes");
    let account = "--as=system:serviceaccount:default:default";
    let refused = output(
        cluster
            .command("kubectl")
            .args(["auth", "can-i", "create", "pods", account]),
    );
    assert_eq!(text(&refused.stdout).trim(), "no");
    assert!(cluster.kubectl_fails(&["get", "pods", account]).contains("Forbidden"));
    assert_eq!(
        cluster
            .kubectl(&["create", "token", "default"])
            .trim()
            .split('.')
            .count(),
        3
    );
}

fn bad_input_is_named(cluster: &Cluster) {
    let apply = |manifest: &str| {
        let path = cluster.directory().join("bad.yaml");
        std::fs::write(&path, manifest).unwrap();
        cluster.kubectl_fails(&["apply", "-f", path.to_str().unwrap()])
    };
    let cases = [
        (
            DEPLOYMENT.replace("replicas: 2", "replica: 2"),
            "unknown field \"spec.replica\"",
        ),
        (
            DEPLOYMENT.replace("labels: {app: web}", "labels: {app: other}"),
            "spec.template.metadata.labels",
        ),
        (
            DEPLOYMENT.replace("name: web}\nspec", "name: Not_A_Name}\nspec"),
            "metadata.name",
        ),
        (DEPLOYMENT.replace("replicas: 2", "replicas: two"), "spec.replicas"),
    ];
    for (manifest, expected) in cases {
        let error = apply(&manifest);
        assert!(error.contains(expected), "{expected:?} is not in\n{error}");
    }
    assert!(
        cluster
            .kubectl_fails(&["get", "configmap", "nobody"])
            .contains("configmaps \"nobody\" not found")
    );
    cluster.kubectl(&["create", "configmap", "twice"]);
    assert!(
        cluster
            .kubectl_fails(&["create", "configmap", "twice"])
            .contains("already exists")
    );
    assert!(
        cluster
            .kubectl_fails(&["get", "--raw", "/api/v1/pods?resourceVersion=x"])
            .contains("resourceVersion")
    );
}

/// Nobody told kubectl about the kind: everything it knows comes from discovery and OpenAPI.
fn custom_resources_are_like_others(cluster: &Cluster) {
    let write = |manifest: &str| {
        let path = cluster.directory().join("tab.yaml");
        std::fs::write(&path, manifest).unwrap();
        path.to_str().unwrap().to_owned()
    };
    cluster.apply(CRON_TABS);
    cluster.kubectl(&["wait", "--for=condition=established", "crd/crontabs.stable.example.com"]);
    cluster.apply(&cron_tab("CronTab", "cronSpec", 3));
    let table = cluster.kubectl(&["get", "ct"]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("   ").map(str::trim).collect())
        .collect();
    let shown = rows
        .iter()
        .map(|row| row.iter().filter(|cell| !cell.is_empty()).copied().collect());
    let shown: Vec<Vec<&str>> = shown.collect();
    assert_eq!(shown, [["NAME", "SPEC", "REPLICAS"], ["tab", "* *", "3"]], "{table}");
    assert!(
        cluster
            .kubectl(&["explain", "ct.spec.cronSpec"])
            .contains("When it runs.")
    );
    assert!(
        cluster
            .kubectl(&["get", "all"])
            .contains("crontab.stable.example.com/tab")
    );
    cluster.kubectl(&["scale", "ct", "tab", "--replicas=5"]);
    let replicas = ["get", "ct", "tab", "-o", "jsonpath={.spec.replicas}/{.spec.image}"];
    assert_eq!(cluster.kubectl(&replicas), "5/busybox");
    for (manifest, expected) in [
        (cron_tab("CronTab", "odd", 3), "unknown field \"spec.odd\""),
        (
            cron_tab("CronTab", "cronSpec", 11),
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        (
            cron_tab("Unknown", "cronSpec", 1),
            "no matches for kind \"Unknown\" in version \"stable.example.com/v1\"\nensure CRDs are installed first",
        ),
    ] {
        let error = cluster.kubectl_fails(&["apply", "-f", &write(&manifest)]);
        assert!(error.contains(expected), "{expected:?} is not in\n{error}");
    }
    cluster.kubectl(&["delete", "crd", "crontabs.stable.example.com"]);
    // Whether kubectl remembers the kind or asks again, it is told that there is none.
    let gone = cluster.kubectl_fails(&["get", "ct"]);
    let told = ["could not find the requested resource", "doesn't have a resource type"];
    assert!(told.iter().any(|text| gone.contains(text)), "{gone}");
}
