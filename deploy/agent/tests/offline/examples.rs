//! The example that the README begins with means what it says.

use std::fs;

use serde_json::{Value, json};
use test_case::test_case;

use crate::program::{run_with, text};

/// The example once its pods run: with the statuses that Multus writes.
fn running() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-policy.yaml");
    let yaml = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut objects: Vec<Value> =
        serde_saphyr::from_multiple(&yaml).unwrap_or_else(|error| panic!("{path}: {error}"));
    let pods = objects.iter_mut().filter(|object| text(object, "/kind") == "Pod");
    for (pod, number) in pods.zip(2..) {
        let status = json!([{"name": "shop/lan", "interface": "net1", "ips": [format!("10.20.0.{number}")],
                             "mac": format!("02:00:0a:14:00:{number:02x}")}]);
        let annotations = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        let annotations = annotations.expect("the pod asks for a network");
        annotations.insert("k8s.v1.cni.cncf.io/network-status".to_owned(), json!(status.to_string()));
        let spec = pod.pointer_mut("/spec").and_then(Value::as_object_mut).expect("a specification");
        spec.insert("nodeName".to_owned(), json!("worker-1"));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

#[test]
fn first_policy_has_no_problems() {
    let checked = run_with(&running(), "check -f -");
    assert_eq!(checked.status, 0, "{} {}", checked.stdout, checked.stderr);
}

#[test]
fn readme_shows_the_answer_that_the_program_gives() {
    let answer = run_with(&running(), "explain -f - --from shop/other --to shop/web --port tcp/80").answer();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    for line in answer.lines() {
        // Where the policy is written depends on what else the cluster holds.
        let shown = match line.split_once(" (-:") {
            Some((before, after)) => {
                format!("{before} (-:LINE:COLUMN){}", after.split_once(')').map_or("", |(_, after)| after))
            }
            None => line.to_owned(),
        };
        assert!(readme.contains(&shown), "the README lacks: {shown}");
    }
}

#[test_case("client", "tcp/80", "allowed")]
#[test_case("client", "icmp", "denied")]
#[test_case("other", "tcp/80", "denied")]
fn first_policy_lets_one_client_reach_one_port(from: &str, port: &str, verdict: &str) {
    let answer =
        run_with(&running(), &format!("explain -f - --from shop/{from} --to shop/web --port {port}"))
            .answer();
    let first = answer.lines().next().unwrap_or_default();
    assert!(first.ends_with(verdict), "{answer}");
}
