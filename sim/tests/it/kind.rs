//! `sim kind`: scenarios for clusters of real pods.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sim::kind;

/// What is printed for a scenario, and whether it can be played.
fn printed(file: &Path) -> (bool, String) {
    let mut out = Vec::new();
    let has_script =
        kind::print(file, "image", &mut out).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
    (has_script, String::from_utf8(out).expect("text"))
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn script(file: &str) -> Value {
    let (has_script, text) = printed(&scenarios().join(file));
    assert!(has_script, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// The object of a stage with this kind and name.
fn applied<'s>(script: &'s Value, stage: usize, kind: &str, name: &str) -> &'s Value {
    let objects = script.pointer(&format!("/stages/{stage}/apply")).and_then(Value::as_array);
    let objects = objects.expect("a list of objects");
    let text = |object: &Value, pointer| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let is_it = |object: &&Value| {
        text(object, "/kind").as_deref() == Some(kind)
            && text(object, "/metadata/name").as_deref() == Some(name)
    };
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name} in {objects:?}"))
}

#[test]
fn every_scenario_has_a_script_or_a_reason_why_not() {
    let (mut scripts, mut reasons) = (0, 0);
    let directories = scenarios().read_dir().expect("scenarios").map(|entry| entry.expect("an entry").path());
    for directory in directories.filter(|path| path.is_dir()) {
        for file in directory.read_dir().expect("files").map(|entry| entry.expect("an entry").path()) {
            let (has_script, text) = printed(&file);
            if has_script {
                scripts += 1;
                let script: Value = serde_json::from_str(&text).expect("JSON");
                let stages = script["stages"].as_array().expect("a list");
                assert!(stages.iter().all(|stage| stage["name"].is_string()), "{text}");
            } else {
                reasons += 1;
                assert!(text.contains(": not with real pods: "), "{text}");
            }
        }
    }
    assert!(scripts > 80 && reasons > 20, "{scripts} scripts, {reasons} reasons");
}

#[test]
fn status_becomes_the_request_that_leads_to_it() {
    let script = script("30-policy/rule-added.yaml");
    let pod = applied(&script, 0, "Pod", "web");
    let request = pod.pointer("/metadata/annotations/k8s.v1.cni.cncf.io~1networks").and_then(Value::as_str);
    let request: Value = serde_json::from_str(request.expect("a request")).expect("JSON");
    let expected = json!([{"namespace": "shop", "name": "data", "interface": "net1", "mac": "02:00:0a:0a:00:0b",
                           "ips": ["10.10.0.11/24", "fd00:10::11/64"]}]);
    assert_eq!(request, expected);
    assert!(pod.get("status").is_none());
    assert_eq!(pod["spec"]["nodeSelector"], json!({"sim.mnp-nft-bridge.io/node": "node-1"}));
    let config = applied(&script, 0, "NetworkAttachmentDefinition", "data")["spec"]["config"].as_str();
    let config: Value = serde_json::from_str(config.expect("a configuration")).expect("JSON");
    assert_eq!(config["ipam"], json!({"type": "static"}));
    assert_eq!(config["capabilities"], json!({"ips": true, "mac": true}));
    assert_eq!(script["bridges"], json!(["br-data"]));
}

#[test]
fn namespaces_come_first_and_only_changes_follow() {
    let script = script("30-policy/rule-added.yaml");
    assert_eq!(script["stages"][0]["apply"][0]["kind"], "Namespace");
    let step = script["stages"][1]["apply"].as_array().expect("a list");
    assert_eq!(step.len(), 1, "{step:?}");
    assert_eq!(
        applied(&script, 2, "MultiNetworkPolicy", "web")["spec"]["ingress"][0]["ports"][0]["port"],
        53
    );
    assert_eq!(script["stages"][3]["pods"], json!(["shop/client", "shop/other", "shop/web"]));
}

#[test]
fn probes_say_where_they_go_and_what_is_wanted() {
    let script = script("30-policy/rule-added.yaml");
    let probes = script["stages"][0]["probes"].as_array().expect("a list");
    let of = |from: &str, via: &str| {
        let is_it = |probe: &&Value| {
            probe["from"] == from
                && probe["to"] == "shop/web"
                && probe["via"] == via
                && probe["address"] == "10.10.0.11"
        };
        probes.iter().find(is_it).expect("a probe")["open"].clone()
    };
    assert_eq!(of("shop/client", "tcp"), true);
    assert_eq!(of("shop/other", "tcp"), false);
    assert_eq!(of("shop/client", "icmp"), false);
}

#[test]
fn deleted_pod_need_not_run() {
    let script = script("10-pod/recreated-with-a-new-mac.yaml");
    let stages = script["stages"].as_array().expect("a list");
    let gone = stages.iter().find(|stage| stage["delete"] != json!([])).expect("a deletion");
    let pod = &gone["delete"][0];
    assert_eq!(pod["kind"], "Pod");
    let name = format!("{}/{}", pod["namespace"].as_str().expect("one"), pod["name"].as_str().expect("one"));
    assert!(!gone["pods"].as_array().expect("a list").contains(&json!(name)));
}
