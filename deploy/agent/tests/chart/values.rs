//! Every value does what its description says, and a slip is refused.

use std::process::Command;

use serde_json::{Value, json};
use test_case::test_case;

use crate::chart::{in_daemonset, refusal, rendered};

const POD: &str = "/spec/template/spec";
const AGENT: &str = "/spec/template/spec/containers/0";

#[test_case("image.repository=registry.example/agent", "/image", json!("registry.example/agent:0.1.0"))]
#[test_case("image.tag=1.2.3", "/image", json!("mnp-nft-bridge:1.2.3"))]
#[test_case("image.pullPolicy=Never", "/imagePullPolicy", json!("Never"))]
#[test_case("resources.limits.memory=1Gi", "/resources/limits/memory", json!("1Gi"))]
#[test_case("agent.logLevel=debug", "/env/1", json!({"name": "RUST_LOG", "value": "debug"}))]
fn value_shows_in_the_container(value: &str, pointer: &str, expected: Value) {
    assert_eq!(in_daemonset(&rendered(&[value]), &format!("{AGENT}{pointer}")), Some(&expected));
}

#[test_case("image.pullSecrets={one,two}", "/imagePullSecrets", json!([{"name": "one"}, {"name": "two"}]))]
#[test_case("cniConfigDirectory=/opt/net.d", "/volumes/0/hostPath/path", json!("/opt/net.d"))]
#[test_case("priorityClassName=high", "/priorityClassName", json!("high"))]
#[test_case("tolerations[0].key=mine", "/tolerations", json!([{"key": "mine"}]))]
#[test_case("nodeSelector.bridges=many", "/nodeSelector/bridges", json!("many"))]
#[test_case("affinity.podAffinity.a=b", "/affinity/podAffinity", json!({"a": "b"}))]
fn value_shows_in_the_pod(value: &str, pointer: &str, expected: Value) {
    assert_eq!(in_daemonset(&rendered(&[value]), &format!("{POD}{pointer}")), Some(&expected));
}

#[test]
fn labels_and_annotations_are_added() {
    let objects = rendered(&["podLabels.team=net", "podAnnotations.a=b", "maxUnavailable=2"]);
    let metadata = in_daemonset(&objects, "/spec/template/metadata");
    let expected = json!({"labels": {"app": "mnp-nft-bridge", "team": "net"}, "annotations": {"a": "b"}});
    assert_eq!(metadata, Some(&expected));
    let most = in_daemonset(&objects, "/spec/updateStrategy/rollingUpdate/maxUnavailable");
    assert_eq!(most, Some(&json!(2)));
    let objects = rendered(&["serviceAccount.annotations.a=b"]);
    let account = objects.get("ServiceAccount kube-system/mnp-nft-bridge").expect("there is one");
    assert_eq!(account.pointer("/metadata/annotations"), Some(&json!({"a": "b"})));
}

#[test]
fn label_of_the_selector_cannot_be_changed() {
    let objects = rendered(&["podLabels.app=other"]);
    assert_eq!(in_daemonset(&objects, "/spec/template/metadata/labels/app"), Some(&json!("mnp-nft-bridge")));
}

/// The arguments that the agent gets with these values.
fn arguments(values: &[&str]) -> Vec<String> {
    let objects = rendered(values);
    let arguments = in_daemonset(&objects, &format!("{AGENT}/args")).and_then(Value::as_array).cloned();
    let arguments = arguments.expect("a list of arguments");
    arguments.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test_case(&["agent.acceptIcmp=true"], "--accept-icmp")]
#[test_case(&["agent.acceptIcmpv6=true"], "--accept-icmpv6")]
#[test_case(&["agent.guard=mac-ip"], "--guard=mac-ip")]
#[test_case(&["agent.unknownPorts=drop"], "--unknown-ports=drop")]
#[test_case(&["agent.uplinks={eth0,eth1}"], "--uplink=eth0,eth1")]
#[test_case(&["agent.bridgePlugins={bridge,ovs}"], "--bridge-plugins=bridge,ovs")]
#[test_case(&["agent.state=sets"], "--state=sets")]
#[test_case(&["agent.logGroup=7"], "--log-group=7")]
#[test_case(&["agent.logRate=1"], "--log-rate=1")]
#[test_case(&["agent.extraArguments={--start-within=9}"], "--start-within=9")]
#[test_case(&["agent.log=text"], "--log=text")]
fn setting_becomes_an_argument_that_the_agent_takes(values: &[&str], expected: &str) {
    let arguments = arguments(values);
    assert!(arguments.iter().any(|argument| argument == expected), "{arguments:?}");
    // With --help behind everything else, what stands before it has been read and found right.
    let run = Command::new(env!("CARGO_BIN_EXE_mnp-nft-bridge"))
        .args(&arguments)
        .args(["--node", "n", "--help"])
        .output()
        .expect("the program starts");
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
}

#[test_case("agent.guard=ip", "agent.guard" ; "a guard that there is not")]
#[test_case("agent.gaurd=mac", "gaurd" ; "a name with a slip")]
#[test_case("agent.logRate=0", "agent.logRate" ; "a rate of nothing")]
#[test_case("image.tag=latest", "image.tag" ; "a tag that says nothing")]
#[test_case("agent.unknownPorts=maybe", "agent.unknownPorts" ; "neither accept nor drop")]
#[test_case("cniConfigDirectory=net.d", "cniConfigDirectory" ; "a path without a beginning")]
#[test_case("maxUnavailable=all", "maxUnavailable" ; "neither number nor share")]
fn slip_is_refused_and_named(value: &str, named: &str) {
    let refusal = refusal(&[value]);
    let plain = refusal.replace('/', ".");
    assert!(plain.contains(named), "{refusal}");
}
