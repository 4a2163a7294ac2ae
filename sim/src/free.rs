//! Who is free: the stations that no policy isolates, found by looking at every policy. Pure.

use alloc::collections::{BTreeMap, BTreeSet};

use policy_core::model::{Direction, NetworkConfig, Object, ObjectId, Pod, Policy};

use crate::options::UnknownPorts;
use crate::plan::{Position, Station, StationId};
use crate::probe::ProbeKind;
use crate::scenario::Scenario;

/// Whether frames of free stations can be counted: agents that guard all ports or quarantine some do drop such frames, one
/// that is away does what it did, and a kernel that puts fragments together counts them once.
fn are_counted(scenario: &Scenario, agents: &BTreeMap<String, bool>) -> bool {
    agents.values().all(|runs| *runs)
        && scenario.options.guard.is_none()
        && scenario.options.unknown_ports == UnknownPorts::Accept
        && !scenario.probes.iter().any(|kind| matches!(kind, ProbeKind::UdpBig(_)))
}

/// The stations at ports of which nothing that they send (egress) or get (ingress) may be dropped. Where a guard judges
/// what a pod sends, or it cannot be told, they are left out. `agents` are the nodes, and whether their agents run.
pub(crate) fn free(
    scenario: &Scenario,
    agents: &BTreeMap<String, bool>,
    objects: &BTreeMap<ObjectId, Object>,
    stations: &BTreeMap<StationId, Station>,
) -> BTreeSet<(StationId, Direction)> {
    if !are_counted(scenario, agents) {
        return BTreeSet::new();
    }
    let at_ports = stations.values().filter(|station| station.position == Position::Port);
    let both = at_ports.flat_map(|station| Direction::ALL.map(|direction| (station, direction)));
    let free = both.filter(|(station, direction)| is_free(objects, station, *direction));
    free.map(|(station, direction)| (station.id.clone(), direction)).collect()
}

fn is_free(objects: &BTreeMap<ObjectId, Object>, station: &Station, direction: Direction) -> bool {
    let pods =
        objects.values().filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None });
    let Some(pod) = pods.into_iter().find(|pod| pod.id.to_string() == station.id.owner) else {
        // A machine that is no pod.
        return true;
    };
    let mut of_pod = pod.attachments.iter().zip(1..).filter(|(attachment, number)| {
        let unnamed = attachment.interface.is_empty() && station.id.interface == format!("net{number}");
        unnamed || *attachment.interface == *station.id.interface
    });
    of_pod.all(|(attachment, _)| {
        let Some(Object::Network(network)) = objects.get(&ObjectId::Network(attachment.network.clone()))
        else {
            return false;
        };
        let NetworkConfig::Bridge(bridge) = &network.config else { return false };
        let guarded = bridge.guard.is_some() && direction == Direction::Egress;
        let mut policies = objects.values().filter_map(of_policy);
        !guarded && !policies.any(|policy| isolates(policy, pod, &attachment.network, direction))
    })
}

const fn of_policy(object: &Object) -> Option<&Policy> {
    if let Object::Policy(policy) = object { Some(policy) } else { None }
}

fn isolates(
    policy: &Policy,
    pod: &Pod,
    network: &policy_core::model::NamespacedName,
    direction: Direction,
) -> bool {
    policy.id.namespace == pod.id.namespace
        && policy.networks.contains(network)
        && policy.selector.matches(&pod.labels)
        && policy.rules(direction).is_some()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use policy_core::model::Direction;
    use test_case::test_case;

    use crate::scenario::Scenario;
    use crate::stage::stages;

    /// Two pods and a machine, and a policy that isolates the ingress of one pod.
    const SCENARIO: &str = r#"
description: a test
hosts: [{name: printer, bridge: br0, mac: "02:00:00:00:00:09", addresses: [10.0.0.9]}]
objects:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
  - apiVersion: k8s.cni.cncf.io/v1
    kind: NetworkAttachmentDefinition
    metadata: {name: data, namespace: shop}
    spec: {config: '{"type": "bridge", "bridge": "br0"}'}
  - apiVersion: v1
    kind: Pod
    metadata: {name: web, namespace: shop, annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "shop/data", "ips": ["10.0.0.1"]}]'}}
    spec: {nodeName: node-1}
  - apiVersion: v1
    kind: Pod
    metadata: {name: db, namespace: shop, labels: {app: db}, annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "shop/data", "ips": ["10.0.0.2"]}]'}}
    spec: {nodeName: node-1}
  - apiVersion: k8s.cni.cncf.io/v1beta1
    kind: MultiNetworkPolicy
    metadata: {name: db, namespace: shop, annotations: {k8s.v1.cni.cncf.io/policy-for: data}}
    spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}
"#;

    /// Who is free at the start of the scenario, and how.
    fn free(text: &str) -> Vec<String> {
        let file = Path::new("test.yaml");
        let scenario = Scenario::parse(file, text).expect("good YAML");
        let stages = stages(file, &scenario).expect("a good scenario");
        let start = stages.first().expect("the start");
        let short = |direction: &Direction| if *direction == Direction::Egress { "out" } else { "in" };
        start.free.iter().map(|(id, direction)| format!("{} {}", id.owner, short(direction))).collect()
    }

    #[test_case("", "" => vec!["printer out", "printer in", "shop/db out", "shop/web out", "shop/web in"]; "as written")]
    #[test_case("matchLabels: {app: db}", "" => vec!["printer out", "printer in", "shop/db out", "shop/web out"]; "all pods are selected")]
    #[test_case("policy-for: data", "policy-for: other" => vec!["printer out", "printer in", "shop/db out", "shop/db in", "shop/web out", "shop/web in"]; "another network")]
    #[test_case("description: a test", "description: a test\noptions: {guard: mac}" => Vec::<String>::new(); "a guard of all ports")]
    fn whom_no_policy_isolates_is_free(what: &str, by: &str) -> Vec<String> {
        free(&SCENARIO.replacen(what, by, 1))
    }
}
