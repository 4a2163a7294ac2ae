//! Files of manifests, and where the mistakes in them are.

use core::fmt::Write as _;

use driver_kube::manifest::{Contents, read};
use driver_kube::{Manifest, Options, identify};
use policy_core::model::ObjectId;
use serde_json::json;
use test_case::test_case;

const POLICY: &str = r#"---
# A comment before the first document.
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  managedFields: [{manager: kubectl}]
---
apiVersion: k8s.cni.cncf.io/v1beta1
kind: MultiNetworkPolicy
metadata:
  name: web
  namespace: shop
  annotations:
    k8s.v1.cni.cncf.io/policy-for: data, x/y/z
spec:
  podSelector:
    matchLabels: {app: web}
  ingress:
    - from: []
    - from:
        - ipBlock:
            cidr: 10.0.0.0/33
        - podSelector: {matchLabels: {app.kubernetes.io/name: "_"}}
"#;

fn ids(contents: &Contents) -> Vec<String> {
    contents.manifests.iter().map(|located| located.manifest.id().to_string()).collect()
}

fn mistakes(contents: &Contents) -> Vec<String> {
    contents.mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn documents_are_read_in_their_order() {
    let contents = read(POLICY, "a.yaml");
    assert_eq!(ids(&contents), ["namespace shop", "policy shop/web"]);
    assert_eq!(mistakes(&contents), [""; 0]);
}

#[test]
fn every_problem_of_a_policy_has_a_line_and_a_column() {
    let contents = read(POLICY, "a.yaml");
    let located = &contents.manifests[1];
    let converted = located.manifest.object(&Options::default());
    let places: Vec<String> = converted
        .problems
        .iter()
        .map(|problem| format!("{} {}", located.place_of(&problem.path), problem.path))
        .collect();
    let wanted = [
        "15:36 metadata.annotations[k8s.v1.cni.cncf.io/policy-for][1]",
        "23:19 spec.ingress[1].from[0].ipBlock.cidr",
        "24:63 spec.ingress[1].from[1].podSelector.matchLabels[app.kubernetes.io/name]",
    ];
    assert_eq!(places, wanted);
    assert_eq!(located.place_of("spec.nothing.here").to_string(), located.place_of("spec").to_string());
}

#[test]
fn a_list_is_its_items_with_their_own_places() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Service\n  metadata: {name: b}\n- {apiVersion: v1, kind: Pod, metadata: {}}\n";
    let contents = read(text, "list.yaml");
    assert_eq!(ids(&contents), ["pod default/a"]);
    let wanted = [
        r#"list.yaml:8:9: Service of "v1" is not one of the kinds that are read"#,
        "list.yaml:10:41: Pod without a name: metadata: missing field `name`",
    ];
    assert_eq!(mistakes(&contents), wanted);
}

#[test]
fn json_is_read_like_yaml() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"PodList\",\n\t\"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\", \"namespace\": \"b\"}}]\n}";
    let contents = read(text, "pods.json");
    assert_eq!((ids(&contents), mistakes(&contents)), (vec!["pod b/a".into()], vec![]));
}

#[test_case("", &[]; "an empty file")]
#[test_case("---\n---\n# nothing\n", &[]; "empty documents")]
#[test_case("a: [1", &["f:1:4: unclosed bracket '['"]; "an open bracket")]
#[test_case("a: 1\na: 2\n", &["f:2:1: "]; "a repeated key")]
#[test_case("text", &["f:1:1: manifest: .: not an object"]; "a text")]
#[test_case("kind: Pod", &["f:1:1: manifest: apiVersion: missing"]; "no version")]
#[test_case("apiVersion: v1", &["f:1:1: manifest: kind: missing"]; "no kind")]
#[test_case("apiVersion: 1\nkind: Pod", &["f:1:13: manifest: apiVersion: not a string"]; "version of the wrong type")]
#[test_case("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {b: 1}}", &["f:3:33: Pod a: metadata.labels.b: invalid type: integer `1`, expected a string"]; "a label of the wrong type")]
#[test_case("apiVersion: v1\nkind: Pod\nmetadata: {name: A}", &[r#"f:3:18: Pod A: metadata.name: "A": not an object's name"#]; "a name that no object has")]
#[test_case("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b.c}", &[r#"f:3:32: Pod a: metadata.namespace: "b.c": not a namespace's name"#]; "a namespace that cannot be")]
#[test_case("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: [{containerPort: x}]}]}", &["f:4:46: Pod a: spec.containers[0].ports[0].containerPort: invalid type: string \"x\", expected i64"]; "a port of the wrong type")]
#[test_case("apiVersion: k8s.cni.cncf.io/v1alpha1\nkind: MultiNetworkPolicy", &[r#"f:2:7: MultiNetworkPolicy of "k8s.cni.cncf.io/v1alpha1" is not one of the kinds that are read"#]; "another version")]
fn mistakes_have_a_place(text: &str, wanted: &[&str]) {
    let contents = read(text, "f");
    assert_eq!(ids(&contents), [""; 0]);
    let mistakes = mistakes(&contents);
    assert_eq!(mistakes.len(), wanted.len(), "{mistakes:?}");
    for (mistake, wanted) in mistakes.iter().zip(wanted) {
        assert!(mistake.starts_with(wanted), "{mistake:?} does not start with {wanted:?}");
    }
}

#[test]
fn deep_documents_are_refused() {
    for text in ["[".repeat(100_000), "a: ".repeat(100_000), "- ".repeat(100_000)] {
        assert_eq!(read(&text, "deep").mistakes.len(), 1);
    }
}

#[test]
fn aliases_do_not_explode() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").expect("a string takes any text");
    }
    assert_eq!(read(&text, "bomb").mistakes.len(), 1);
}

#[test_case("v1beta1"; "the stored version")]
#[test_case("v1beta2"; "the newer version")]
fn both_versions_of_policies_are_read(version: &str) {
    let value = json!({"apiVersion": format!("k8s.cni.cncf.io/{version}"), "kind": "MultiNetworkPolicy", "metadata": {"name": "a"}});
    assert_eq!(Manifest::from_value(value).expect("a policy").id().to_string(), "policy default/a");
}

#[test]
fn commands_name_objects() {
    let shown = |id: ObjectId| id.to_string();
    assert_eq!(identify("Pod", Some("a"), "b").map(shown).unwrap(), "pod a/b");
    assert_eq!(identify("Pod", None, "b").map(shown).unwrap(), "pod default/b");
    assert_eq!(identify("NetworkAttachmentDefinition", None, "b").map(shown).unwrap(), "network default/b");
    assert_eq!(identify("MultiNetworkPolicy", None, "b").map(shown).unwrap(), "policy default/b");
    assert_eq!(identify("Namespace", None, "b").map(shown).unwrap(), "namespace b");
    let refused = [
        identify("Namespace", Some("a"), "b").unwrap_err().to_string(),
        identify("Service", None, "b").unwrap_err().to_string(),
        identify("Pod", None, "B").unwrap_err().to_string(),
    ];
    let wanted = [
        "Namespace b: namespace: a Namespace is in none",
        r#"Service of "" is not one of the kinds that are read"#,
        r#"Pod B: metadata.name: "B": not an object's name"#,
    ];
    assert_eq!(refused, wanted);
}

#[test]
fn a_file_may_hold_a_whole_cluster() {
    let many = "1,".repeat(260_000);
    let mut text = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: a}}, unread: [{many}]}}\n");
    for number in 0..2000 {
        writeln!(text, "---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: n{number}}}}}")
            .expect("a text");
    }
    let contents = read(&text, "cluster.yaml");
    assert_eq!(mistakes(&contents), [""; 0]);
    assert_eq!(contents.manifests.len(), 2001);
}
