//! What people are told about policies: everything that cannot be enforced, once, and not more than they can read.

use policy_core::model::{BridgeNetwork, Kind, NamespacedName, Network, NetworkConfig, Object, ObjectId};
use policy_core::spec::{PROBLEMS_MAX, parse};
use policy_core::{Compiler, Config, Input, Output, Time};
use test_case::test_case;

fn policy(networks: &str) -> Input {
    let spec = serde_json::from_str(r#"{"podSelector": {}}"#).unwrap();
    let policy = parse(NamespacedName::new("shop", "web"), Some(networks), &spec);
    Input::Upsert(Object::Policy(policy))
}

fn network(config: NetworkConfig) -> Input {
    Input::Upsert(Object::Network(Network { id: NamespacedName::new("shop", "data"), config }))
}

fn bridge() -> NetworkConfig {
    NetworkConfig::Bridge(BridgeNetwork { bridge: "br0".into(), vlan: None, dhcp: false, guard: None })
}

/// A core that has heard of every network: there is none.
fn knowing_all_networks() -> Compiler {
    let mut compiler = Compiler::new(&Config::new("here"));
    compiler.handle_input(listed(vec![]), Time::default());
    while compiler.poll_output().is_some() {}
    compiler
}

/// Every network there is.
fn listed(objects: Vec<Object>) -> Input {
    Input::Relist { kind: Kind::Network, objects }
}

/// The problems that an event makes the core report, if it reports anything.
fn reported(compiler: &mut Compiler, input: Input) -> Option<Vec<String>> {
    compiler.handle_input(input, Time::default());
    let mut reports = Vec::new();
    while let Some(output) = compiler.poll_output() {
        if let Output::Report(report) = output {
            assert_eq!(report.object.to_string(), "policy shop/web");
            reports.push(report.problems.iter().map(ToString::to_string).collect());
        }
    }
    assert!(reports.len() <= 1, "one event is one report");
    reports.pop()
}

const AT: &str = "metadata.annotations[k8s.v1.cni.cncf.io/policy-for]: ";

#[test]
fn each_change_is_reported_once() {
    let mut compiler = knowing_all_networks();
    let mut reported = |input| reported(&mut compiler, input);
    let missing = vec![format!("{AT}network shop/data does not exist")];
    assert_eq!(reported(policy("data")), Some(missing.clone()));
    assert_eq!(reported(policy("data")), None, "nothing is new");
    assert_eq!(reported(network(bridge())), Some(vec![]), "the problem is solved");
    assert_eq!(reported(network(bridge())), None);
    let other = network(NetworkConfig::Other { plugin: "macvlan".into() });
    let not_a_bridge = format!(
        "{AT}network shop/data: its plugin \"macvlan\" is not a bridge, so nothing is enforced there"
    );
    assert_eq!(reported(other), Some(vec![not_a_bridge]));
    assert_eq!(
        reported(Input::Remove(ObjectId::Network(NamespacedName::new("shop", "data")))),
        Some(missing)
    );
    assert_eq!(reported(Input::Remove(ObjectId::Policy(NamespacedName::new("shop", "web")))), None);
    assert_eq!(reported(network(bridge())), None, "nobody names the network any more");
}

#[test]
fn a_network_is_not_missed_before_all_of_them_are_known() {
    let mut compiler = Compiler::new(&Config::new("here"));
    assert_eq!(reported(&mut compiler, policy("data, other")), None, "the list is still to come");
    let Input::Upsert(data) = network(bridge()) else { unreachable!("a network is an object") };
    let missing = vec![format!("{AT}network shop/other does not exist")];
    assert_eq!(reported(&mut compiler, listed(vec![data.clone()])), Some(missing));
    assert_eq!(reported(&mut compiler, listed(vec![data])), None, "nothing is new");
}

#[test]
fn a_network_that_cannot_be_read_says_why() {
    let mut compiler = knowing_all_networks();
    let reason = "configuration field type: missing";
    reported(&mut compiler, network(NetworkConfig::Unreadable { reason: reason.into() }));
    let wanted = format!("{AT}network shop/data: its configuration is unreadable: {reason}");
    assert_eq!(reported(&mut compiler, policy("data")), Some(vec![wanted]));
}

#[test_case(PROBLEMS_MAX, 0; "as many as are listed")]
#[test_case(PROBLEMS_MAX + 1, 1; "one more")]
#[test_case(20_000, 20_000 - PROBLEMS_MAX; "an annotation full of them")]
fn many_networks_are_reported_briefly(count: usize, more: usize) {
    let mut compiler = knowing_all_networks();
    let networks: Vec<String> = (0..count).map(|at| format!("n{at}")).collect();
    let mut problems = reported(&mut compiler, policy(&networks.join(","))).unwrap();
    if more > 0 {
        let last = problems.pop();
        assert_eq!(last, Some(format!("{AT}{more} more networks are not enforced and not listed")));
    }
    assert_eq!(problems.len(), PROBLEMS_MAX);
    assert!(problems.iter().all(|problem| problem.ends_with(" does not exist")));
}
