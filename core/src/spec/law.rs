//! The law of reading: a mistake in a policy never allows anything that the policy without the mistake does not.
//!
//! A valid spec is written at random, one value in it is replaced by something that cannot stand there, and both are
//! asked about every packet of a small world. The only exception is an entry of `policyTypes`, which the contract
//! tells to ignore.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use super::{Field, PolicySpec, parse};
use crate::model::{
    Direction, Labels, NamespaceScope, NamespacedName, Peer, Peers, Policy, PolicyRule, PortNumbers, Ports,
    Protocol,
};

/// A packet: the selected end's labels, the direction, the other end, and what it carries (`None`: ping).
struct Packet<'a> {
    subject: &'a Labels,
    direction: Direction,
    peer: &'a PeerPod,
    transport: Option<(Protocol, u16)>,
}

struct PeerPod {
    labels: Labels,
    namespace: &'static str,
    namespace_labels: Labels,
    address: IpAddr,
}

fn allows(policy: &Policy, packet: &Packet<'_>) -> bool {
    match policy.rules(packet.direction).filter(|_| policy.selector.matches(packet.subject)) {
        None => true,
        Some(rules) => {
            rules.iter().any(|rule| covers_peer(rule, packet.peer) && covers_port(rule, packet.transport))
        }
    }
}

fn covers_peer(rule: &PolicyRule, pod: &PeerPod) -> bool {
    let Peers::Listed(peers) = &rule.peers else { return true };
    peers.iter().any(|peer| match peer {
        Peer::Block(block) => block.contains(pod.address),
        Peer::Pods { namespaces, pods } => {
            let named = match namespaces {
                NamespaceScope::Named(name) => **name == *pod.namespace,
                NamespaceScope::Matching(selector) => selector.matches(&pod.namespace_labels),
            };
            named && pods.matches(&pod.labels)
        }
    })
}

/// Names are taken as held by nobody, which is the same on both sides of the comparison.
fn covers_port(rule: &PolicyRule, transport: Option<(Protocol, u16)>) -> bool {
    let (ports, protocol, number) = match (&rule.ports, transport) {
        (Ports::Any, _) => return true,
        (Ports::Listed(_), None) => return false,
        (Ports::Listed(ports), Some((protocol, number))) => (ports, protocol, number),
    };
    ports.iter().any(|port| {
        port.protocol == protocol
            && match port.numbers {
                PortNumbers::All => true,
                PortNumbers::Named(_) => false,
                PortNumbers::Range(first, last) => (first..=last).contains(&number),
            }
    })
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

/// Asks about every packet of the small world.
fn every_packet(mut ask: impl FnMut(&Packet<'_>)) {
    let some = [labels(&[]), labels(&[("a", "x")]), labels(&[("a", "y"), ("b", "x")])];
    let addresses = ["10.0.0.1", "10.0.1.1", "fd00::1"].map(|text| text.parse().expect("an address"));
    let namespaces = [("shop", labels(&[("n", "x")])), ("ops", labels(&[]))];
    let transports = [None, Some((Protocol::Tcp, 80)), Some((Protocol::Tcp, 90)), Some((Protocol::Udp, 80))];
    let mut peers = Vec::new();
    for labels in &some {
        for (namespace, namespace_labels) in &namespaces {
            peers.extend(addresses.map(|address| PeerPod {
                labels: labels.clone(),
                namespace,
                namespace_labels: namespace_labels.clone(),
                address,
            }));
        }
    }
    for subject in &some {
        for direction in Direction::ALL {
            for peer in &peers {
                for transport in transports {
                    ask(&Packet { subject, direction, peer, transport });
                }
            }
        }
    }
}

/// An object of some of these fields.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let each: Vec<_> = fields.into_iter().map(|(key, value)| (Just(key), prop::option::of(value))).collect();
    let written = |fields: Vec<(&str, Option<Value>)>| {
        let some = fields.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)));
        Value::Object(some.collect::<Map<_, _>>())
    };
    each.prop_map(written).boxed()
}

fn list(entry: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(entry, 0..3).prop_map(Value::Array).boxed()
}

fn one_of(values: Vec<Value>) -> BoxedStrategy<Value> {
    select(values).boxed()
}

fn selector() -> BoxedStrategy<Value> {
    let requirement = one_of(vec![
        json!({"key": "a", "operator": "In", "values": ["x"]}),
        json!({"key": "a", "operator": "NotIn", "values": ["x", "y"]}),
        json!({"key": "b", "operator": "Exists"}),
        json!({"key": "b", "operator": "DoesNotExist", "values": []}),
    ]);
    let labels = one_of(vec![json!({}), json!({"a": "x"}), json!({"a": "y", "b": "x"}), json!({"n": "x"})]);
    object(vec![("matchLabels", labels), ("matchExpressions", list(requirement))])
}

fn peer() -> BoxedStrategy<Value> {
    let blocks = vec![
        json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.1.0/24"]}}),
        json!({"ipBlock": {"cidr": "10.0.1.0/24"}}),
        json!({"ipBlock": {"cidr": "::/0", "except": ["fd00::/127", "fd00:1::/64"]}}),
    ];
    let own = selector().prop_map(|pods| json!({"podSelector": pods}));
    let all = selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces}));
    let both = (selector(), selector())
        .prop_map(|(pods, namespaces)| json!({"podSelector": pods, "namespaceSelector": namespaces}));
    prop_oneof![3 => select(blocks), 1 => own, 1 => all, 1 => both].boxed()
}

fn rule(peers: &'static str) -> BoxedStrategy<Value> {
    let port = one_of(vec![
        json!({}),
        json!({"protocol": "UDP"}),
        json!({"port": 80}),
        json!({"protocol": "TCP", "port": 85, "endPort": 95}),
        json!({"port": "http"}),
    ]);
    object(vec![(peers, list(peer())), ("ports", list(port))])
}

fn spec() -> BoxedStrategy<Value> {
    let types = one_of(vec![json!([]), json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
    object(vec![
        ("podSelector", selector()),
        ("policyTypes", types),
        ("ingress", list(rule("from"))),
        ("egress", list(rule("to"))),
    ])
}

/// The places of all values inside `value` (JSON pointers, RFC 6901), save the entries of `policyTypes`.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut visit = |key: &str, inner: &Value| {
        let at = alloc::format!("{at}/{key}");
        places(inner, &at, found);
        found.push(at);
    };
    match value {
        Value::Array(_) if at == "/policyTypes" => {}
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                visit(&index.to_string(), inner);
            }
        }
        Value::Object(fields) => {
            for (key, inner) in fields {
                visit(key, inner);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What can stand nowhere in a spec.
fn garbage() -> BoxedStrategy<Value> {
    one_of(vec![json!(true), json!("\u{1}"), json!(7.5)])
}

fn read(spec: &Value) -> Policy {
    let spec: Field<PolicySpec> = serde_json::from_value(spec.clone()).expect("any JSON is a field");
    parse(NamespacedName::new("shop", "web"), Some("data"), &spec)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_mistake_never_opens_anything(valid in spec(), place in any::<Index>(), garbage in garbage()) {
        let mut all = vec![String::new()];
        places(&valid, "", &mut all);
        let place = place.get(&all);
        let mut broken = valid.clone();
        *broken.pointer_mut(place).expect("a place of this value") = garbage;

        let (right, wrong) = (read(&valid), read(&broken));
        prop_assert_eq!(&right.problems, &vec![], "the spec was to be valid");
        prop_assert!(!wrong.problems.is_empty(), "nothing is reported about {place}");
        let mut opened = 0;
        every_packet(|packet| {
            if allows(&wrong, packet) && !allows(&right, packet) {
                opened += 1;
            }
        });
        prop_assert_eq!(opened, 0, "{} opens packets", place);
    }
}
