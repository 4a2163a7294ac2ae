//! The chart with its default values is the kustomize base.

use serde_json::json;

use crate::chart::{CHART, kustomized, lint, packaged, rendered, rendered_of};

#[test]
fn defaults_render_what_the_base_holds() {
    let (chart, base) = (rendered(&[]), kustomized("base"));
    assert_eq!(chart.keys().collect::<Vec<_>>(), base.keys().collect::<Vec<_>>());
    for (name, object) in &base {
        assert_eq!(chart.get(name), Some(object), "{name}");
    }
    assert!(base.contains_key("DaemonSet kube-system/mnp-nft-bridge"));
}

#[test]
fn packaged_chart_renders_the_same() {
    let file = packaged(env!("CARGO_TARGET_TMPDIR"));
    assert_eq!(rendered_of(&file, "kube-system"), rendered(&[]));
}

#[test]
fn another_namespace_gets_everything_that_has_one() {
    let elsewhere = rendered_of(CHART, "network");
    let names: Vec<&str> = elsewhere.keys().map(String::as_str).collect();
    let expected = [
        "ClusterRole /mnp-nft-bridge",
        "ClusterRoleBinding /mnp-nft-bridge",
        "DaemonSet network/mnp-nft-bridge",
        "ServiceAccount network/mnp-nft-bridge",
    ];
    assert_eq!(names, expected);
    let binding = elsewhere.get("ClusterRoleBinding /mnp-nft-bridge").expect("there is one");
    assert_eq!(binding.pointer("/subjects/0/namespace"), Some(&json!("network")));
}

#[test]
fn crds_are_those_of_the_manifests_and_outlive_the_release() {
    let with_crds = rendered(&["crds.install=true"]);
    for (name, mut expected) in kustomized("crds") {
        let keep = json!({"helm.sh/resource-policy": "keep"});
        expected.pointer_mut("/metadata").expect("metadata")["annotations"] = keep;
        assert_eq!(with_crds.get(&name), Some(&expected), "{name}");
    }
    assert_eq!(with_crds.len(), rendered(&[]).len() + kustomized("crds").len());
}

#[test]
fn helm_finds_nothing_wrong_with_the_chart() {
    let output = lint();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
