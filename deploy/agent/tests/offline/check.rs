//! `check`: problems and their places.

use serde_json::json;

use crate::program::{run, run_with};

#[test]
fn every_problem_has_a_place_a_path_and_a_reason() {
    let ran = run("check -f broken");
    let wanted = r#"broken/policies.yaml:4:16: network shop/data: spec.config: configuration field vlan: 5000: not a VLAN from 1 to 4094
broken/policies.yaml:6:1: policy shop/web: is written again at broken/policies.yaml:27:1, which counts
broken/policies.yaml:11:48: policy shop/web: metadata.annotations[k8s.v1.cni.cncf.io/policy-for][1]: "a/b/c": not a network's name or namespace/name
broken/policies.yaml:17:27: policy shop/web: spec.ingress[0].from[1].ipBlock.cidr: "10.0.0.0/33": prefix length over 32
broken/policies.yaml:19:22: policy shop/web: spec.ingress[0].ports[0].protocol: "tcp": not one of TCP, UDP, SCTP
broken/policies.yaml:20:18: policy shop/web: spec.ingress[0].ports[1].port: "80": a number in quotes is a name, which no port has
broken/policies.yaml:21:13: policy shop/web: spec.ingress[1].form: unknown field
broken/policies.yaml:24:7: MultiNetworkPolicy of "k8s.cni.cncf.io/v1beta3" is not one of the kinds that are read
broken/policies.yaml:32:48: policy shop/web: metadata.annotations[k8s.v1.cni.cncf.io/policy-for]: network shop/data: its configuration is unreadable: configuration field vlan: 5000: not a VLAN from 1 to 4094
9 problems in 1 policy, 1 network, 0 pods, 0 namespaces
"#;
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (1, wanted, ""));
}

#[test]
fn good_manifests_have_no_problem() {
    let wanted =
        "no problem in 2 policies, 2 networks, 4 pods, 2 namespaces; 1 of kinds that no policy depends on\n";
    assert_eq!(run("check -f shop").answer(), wanted);
}

#[test]
fn the_json_form_is_stable() {
    let policy = r#"{"apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"podSelector": {}}}"#;
    let ran = run_with(policy, "check -f - --output json");
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).expect("the answer is JSON");
    let problem = json!({
        "file": "-",
        "line": 2,
        "column": 21,
        "object": "policy b/a",
        "path": "metadata.annotations[k8s.v1.cni.cncf.io/policy-for]",
        "reason": "missing or empty: the policy applies to no network",
    });
    assert_eq!(answer, json!({"problems": [problem], "objects": 1, "of_other_kinds": 0}));
    assert_eq!(ran.status, 1);
}

#[test]
fn text_that_is_no_manifest_is_a_problem_with_a_place() {
    let ran = run_with("a: [1,\n", "check -f -");
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.starts_with("-:1:4: "), "{}", ran.stdout);
}
