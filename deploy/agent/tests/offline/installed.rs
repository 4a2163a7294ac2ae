//! What the manifests install: no more rights than the program uses.

use std::fs;

use serde_json::Value;

use crate::program::{at, list, text};

/// The objects of a file of the base.
fn objects(file: &str) -> Vec<Value> {
    let path = format!("{}/../manifests/base/{file}", env!("CARGO_MANIFEST_DIR"));
    let yaml = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_multiple(&yaml).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The containers of the overlay that ends enforcement.
fn cleanup() -> Value {
    let mut patch = objects("../cleanup/daemonset.yaml").pop().expect("there is one");
    patch.pointer_mut("/spec/template/spec").expect("a pod").take()
}

fn daemonset() -> Value {
    objects("daemonset.yaml").pop().expect("there is one")
}

fn words<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

#[test]
fn agent_is_not_privileged_and_keeps_two_capabilities() {
    let daemonset = daemonset();
    let context = at(&daemonset, "/spec/template/spec/containers/0/securityContext");
    assert_eq!(at(context, "/privileged"), false);
    assert_eq!(at(context, "/allowPrivilegeEscalation"), false);
    assert_eq!(at(context, "/readOnlyRootFilesystem"), true);
    assert_eq!(text(context, "/seccompProfile/type"), "RuntimeDefault");
    assert_eq!(words(context, "/capabilities/drop"), ["ALL"]);
    assert_eq!(words(context, "/capabilities/add"), ["NET_ADMIN", "NET_BROADCAST"]);
    for forbidden in ["hostPID", "hostIPC"] {
        assert!(at(&daemonset, "/spec/template/spec").get(forbidden).is_none());
    }
}

#[test]
fn account_may_read_what_policies_depend_on_and_write_events() {
    let objects = objects("cluster-role.yaml");
    let role = objects.iter().find(|object| text(object, "/kind") == "ClusterRole").expect("there is one");
    let mut readable = Vec::new();
    for rule in list(role, "/rules") {
        if words(rule, "/resources") == ["events"] {
            assert_eq!(words(rule, "/verbs"), ["create", "patch"]);
            continue;
        }
        assert_eq!(words(rule, "/verbs"), ["get", "list", "watch"]);
        readable.extend(words(rule, "/resources"));
    }
    readable.sort_unstable();
    let expected = ["multi-networkpolicies", "namespaces", "network-attachment-definitions", "pods"];
    assert_eq!(readable, expected);
}

#[test]
fn image_is_of_one_version_and_of_no_one_architecture() {
    let daemonset = daemonset();
    let image = text(&daemonset, "/spec/template/spec/containers/0/image");
    assert_eq!(image, concat!("mnp-nft-bridge:", env!("CARGO_PKG_VERSION")));
    assert!(at(&daemonset, "/spec/template/spec/nodeSelector").get("kubernetes.io/arch").is_none());
}

#[test]
fn cleanup_is_done_by_the_same_image_with_fewer_capabilities() {
    let (daemonset, mut pod) = (daemonset(), cleanup());
    let agent = at(&daemonset, "/spec/template/spec/containers/0");
    let cleanup = pod.pointer_mut("/initContainers/0").expect("a container");
    assert_eq!(cleanup.get("image"), agent.get("image"));
    let capabilities = cleanup.pointer_mut("/securityContext/capabilities/add").expect("a list").take();
    assert_eq!(capabilities, serde_json::json!(["NET_ADMIN"]));
    let mut context = at(agent, "/securityContext").clone();
    *context.pointer_mut("/capabilities/add").expect("a list") = Value::Null;
    assert_eq!(at(cleanup, "/securityContext"), &context);
    assert!(words(&pod, "/containers/0/args").contains(&"--dry-run"), "what runs afterwards changes nothing");
}
