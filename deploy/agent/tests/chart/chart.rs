//! What Helm and kubectl render.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;

/// The chart.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../chart");

/// Objects by kind, namespace and name.
pub(crate) type Objects = BTreeMap<String, Value>;

fn run(variable: &str, arguments: &[&str]) -> Output {
    let program = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} names no program: run `cargo ci chart`"));
    Command::new(&program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

/// What Helm renders with these values, as in `--set`.
pub(crate) fn rendered(values: &[&str]) -> Objects {
    let output = helm(values);
    assert!(output.status.success(), "{values:?}: {}", String::from_utf8_lossy(&output.stderr));
    objects(&output)
}

/// What Helm says against these values.
pub(crate) fn refusal(values: &[&str]) -> String {
    let output = helm(values);
    assert!(!output.status.success(), "{values:?} are taken");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What Helm renders of another chart, or into another namespace.
pub(crate) fn rendered_of(chart: &str, namespace: &str) -> Objects {
    let output = run("HELM", &["template", "mnp-nft-bridge", chart, "--namespace", namespace]);
    assert!(output.status.success(), "{chart}: {}", String::from_utf8_lossy(&output.stderr));
    objects(&output)
}

/// The chart as it is distributed: a file in `directory`.
pub(crate) fn packaged(directory: &str) -> String {
    let output = run("HELM", &["package", CHART, "--destination", directory]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    format!("{directory}/mnp-nft-bridge-{}.tgz", env!("CARGO_PKG_VERSION"))
}

fn helm(values: &[&str]) -> Output {
    let mut arguments = vec!["template", "mnp-nft-bridge", CHART, "--namespace", "kube-system"];
    for value in values {
        arguments.extend(["--set", value]);
    }
    run("HELM", &arguments)
}

/// Helm's own opinion of the chart.
pub(crate) fn lint() -> Output {
    run("HELM", &["lint", "--strict", CHART])
}

/// What kubectl renders of a directory of the manifests.
pub(crate) fn kustomized(directory: &str) -> Objects {
    let path = format!("{}/../manifests/{directory}", env!("CARGO_MANIFEST_DIR"));
    let output = run("KUBECTL", &["kustomize", &path]);
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    objects(&output)
}

fn objects(output: &Output) -> Objects {
    let text = String::from_utf8_lossy(&output.stdout);
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let name = |object: &Value| {
        let part = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{} {}/{}", part("/kind"), part("/metadata/namespace"), part("/metadata/name"))
    };
    objects.into_iter().filter(|object| !object.is_null()).map(|object| (name(&object), object)).collect()
}

/// What is at `pointer` of the `DaemonSet`.
pub(crate) fn in_daemonset<'o>(objects: &'o Objects, pointer: &str) -> Option<&'o Value> {
    objects.get("DaemonSet kube-system/mnp-nft-bridge").expect("there is one").pointer(pointer)
}
