//! What is installed to watch the agents: it asks for metrics that there are.

use alloc::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::agent::{Agent, directory, in_new_namespace, raise_loopback};
use crate::http::{ADDRESS, ask};
use crate::objects::{CLUSTER, SETTLED};

const PREFIX: &str = "mnp_nft_bridge_";

fn file(name: &str) -> String {
    let path = format!("{}/../monitoring/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of our metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(PREFIX)).map(str::to_owned).collect()
}

/// The series that the built program serves: the names after which values may stand.
fn served() -> BTreeSet<String> {
    let mut served = BTreeSet::new();
    in_new_namespace(|| {
        raise_loopback();
        let files = directory("monitored");
        fs::write(files.join("cluster.yaml"), CLUSTER).expect("the directory can be written");
        let files = files.to_str().expect("a path in UTF-8");
        let arguments = ["--node", "edge-1", "--manifests", files, "--metrics-address", ADDRESS];
        let mut agent = Agent::start(&arguments);
        agent.logged(SETTLED);
        let (_, text) = ask("/metrics");
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let Some((name, kind)) = line.split_once(' ') else { continue };
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_count", "_sum"],
                "info" => &["_info"],
                _ => &[""],
            };
            served.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
        }
    });
    served
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_are_served_and_explained() {
    let served = served();
    let explained = named(&file("README.md"));
    for name in ["alerts.yaml", "dashboard.json"] {
        let asked = named(&file(name));
        assert!(asked.len() >= 5, "{name} asks for {asked:?}");
        let absent: Vec<_> = asked.difference(&served).collect();
        assert!(absent.is_empty(), "{name} asks for {absent:?}, which nobody serves");
    }
    let unexplained: Vec<_> = served
        .iter()
        .filter(|name| {
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
            !explained.contains(*name) && !base.is_some_and(|base| explained.contains(base))
        })
        .collect();
    assert!(unexplained.is_empty(), "deploy/monitoring/README.md does not explain {unexplained:?}");
}

#[test]
fn every_alert_says_when_and_what() {
    let rules: Value = serde_saphyr::from_str(&file("alerts.yaml")).expect("it is YAML");
    let groups = rules.get("groups").and_then(Value::as_array).expect("there are groups");
    let alerts: Vec<&Value> =
        groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten().collect();
    assert!(alerts.len() >= 5);
    for alert in alerts {
        for field in [
            "/alert",
            "/expr",
            "/for",
            "/labels/severity",
            "/annotations/summary",
            "/annotations/description",
        ] {
            let text = alert.pointer(field).and_then(Value::as_str).unwrap_or_default();
            assert!(!text.is_empty(), "{field} of {alert}");
        }
    }
}

#[test]
fn dashboard_has_panels_with_a_title_and_a_question() {
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).expect("it is JSON");
    let panels = dashboard.get("panels").and_then(Value::as_array).expect("there are panels");
    assert!(panels.len() >= 6);
    for panel in panels {
        assert!(panel.get("title").and_then(Value::as_str).is_some_and(|title| !title.is_empty()), "{panel}");
        let targets = panel.get("targets").and_then(Value::as_array).expect("a panel asks");
        assert!(targets.iter().all(|target| target.get("expr").is_some_and(Value::is_string)), "{panel}");
    }
}
