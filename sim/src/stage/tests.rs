//! Which events come of a scenario, and in which order.

use super::*;

/// Two pods on one bridge, one of them on another node, and two steps.
const SCENARIO: &str = r#"
description: a test
objects:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
  - apiVersion: k8s.cni.cncf.io/v1
    kind: NetworkAttachmentDefinition
    metadata: {name: data, namespace: shop}
    spec: {config: '{"type": "bridge", "bridge": "br0"}'}
  - &far
    apiVersion: v1
    kind: Pod
    metadata:
      name: far
      namespace: shop
      annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "shop/data", "ips": ["10.0.0.1"]}]'}
    spec: {nodeName: node-2}
steps:
  - name: a pod appears
    apply:
      - apiVersion: v1
        kind: Pod
        metadata:
          name: near
          namespace: shop
          annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "shop/data", "ips": ["10.0.0.2"]}]'}
        spec: {nodeName: node-1}
    expect: {}
  - name: its network is deleted
    delete: [{kind: NetworkAttachmentDefinition, namespace: shop, name: data}]
    agent: stop
    expect: {}
  - name: it is deleted
    delete: [{kind: Pod, namespace: shop, name: near}]
    expect: {}
"#;

/// What happens in each stage, shortened.
fn events(text: &str) -> Result<Vec<Vec<String>>, ScenarioError> {
    let file = Path::new("test.yaml");
    let scenario = Scenario::parse(file, text)?;
    // What is written to an API server that these tests do not have is left out.
    let seen = |event: &&Event| !matches!(event, Event::Announce(_) | Event::Write(_));
    let short = |event: &Event| match event {
        Event::Agent { node, change } => format!("{node}: agent {change:?}"),
        Event::Announce(_) | Event::Write(_) => unreachable!("they are left out"),
        Event::Attach(station) => format!("attach {}", station.id),
        Event::Detach(station) => format!("detach {}", station.id),
        Event::Rewire { after, .. } => format!("rewire {}", after.id),
        Event::Tamper { node, tampering } => format!("{node}: tamper {tampering:?}"),
        Event::Tell { node, input: Input::Relist { kind, objects } } => {
            format!("{node}: list {} {kind:?}", objects.len())
        }
        Event::Tell { node, input: Input::Upsert(object) } => format!("{node}: upsert {}", object.id()),
        Event::Tell { node, input: Input::Remove(id) } => format!("{node}: remove {id}"),
        Event::Tell { node, input } => format!("{node}: {input:?}"),
    };
    let stages = stages(file, &scenario)?;
    Ok(stages.iter().map(|stage| stage.events.iter().filter(seen).map(short).collect()).collect())
}

#[test]
fn wires_come_before_the_status_and_stay_without_their_network() {
    let events = events(SCENARIO).expect("a good scenario");
    let wanted: [&[&str]; 4] = [
        &[
            "node-1: list 1 Namespace",
            "node-1: list 1 Network",
            "node-1: list 1 Pod",
            "node-1: list 0 Policy",
        ],
        &["attach shop/near@net1", "node-1: upsert pod shop/near"],
        &["node-1: remove network shop/data", "node-1: agent Stop"],
        // An agent that is stopped hears nothing.
        &["detach shop/near@net1"],
    ];
    assert_eq!(events, wanted);
}

#[test]
fn every_agent_that_runs_hears_of_everything_and_lists_for_itself() {
    let nodes = "description: a test\nnodes: [node-1, node-2]\n";
    let text = SCENARIO
        .replace("description: a test\n", nodes)
        .replace("agent: stop", "agent: stop\n    node: node-2");
    let events = events(&text).expect("a good scenario");
    let start = events.first().expect("the start");
    assert_eq!(start.first().map(String::as_str), Some("attach shop/far@net1"));
    assert_eq!(start.iter().filter(|event| event.contains(": list ")).count(), 8);
    let wanted: [&[&str]; 3] = [
        &["attach shop/near@net1", "node-1: upsert pod shop/near", "node-2: upsert pod shop/near"],
        &["node-1: remove network shop/data", "node-2: remove network shop/data", "node-2: agent Stop"],
        &["detach shop/near@net1", "node-1: remove pod shop/near"],
    ];
    assert_eq!(
        events.get(1..),
        Some(wanted.map(|events| events.iter().map(|event| (*event).to_owned()).collect()).as_slice())
    );
}

#[test]
fn a_node_that_is_not_built_has_no_agent() {
    let text = SCENARIO.replace("agent: stop", "agent: stop\n    node: node-2");
    let error = events(&text).expect_err("there is one node");
    assert_eq!(error.to_string(), "test.yaml: its network is deleted: there is no node \"node-2\"");
}

#[test]
fn an_agent_that_runs_cannot_be_started() {
    let text = SCENARIO.replace("agent: stop", "agent: start");
    let error = events(&text).expect_err("it runs");
    assert_eq!(error.to_string(), "test.yaml: its network is deleted: agent: start: it runs already");
}
