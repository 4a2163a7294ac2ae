//! Label selectors, by trying every small one on every small set of labels.
//!
//! Two keys, two values: nine sets of labels; every `matchLabels` beside none, one or two `matchExpressions`. What a
//! selector selects is read a second time straight from its text, by the words of the API's documentation
//! (`LabelSelector` of `k8s.io/apimachinery/pkg/apis/meta/v1`).

use std::collections::BTreeSet;

use policy_core::eval::{Decision, Flows, Passage, evaluate};
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{
    Attachment, BridgeNetwork, BridgePort, Labels, Mac, Namespace, NamespacedName, Network, NetworkConfig,
    Object, Pod, Policy, PortKind,
};
use policy_core::ruleset::Hook;
use policy_core::spec::parse;
use policy_core::{Compiler, Input, Time};
use serde_json::{Map, Value, json};

const KEYS: [&str; 2] = ["app", "tier"];
/// A label may have an empty value, which is not the same as having none.
const VALUES: [&str; 2] = ["web", ""];

/// Every set of labels over the keys and values, none of them included.
fn label_sets() -> Vec<Map<String, Value>> {
    let mut sets = vec![Map::new()];
    for key in KEYS {
        let with = |value: &str, set: &Map<String, Value>| {
            let mut set = set.clone();
            set.insert(key.into(), value.into());
            set
        };
        let more: Vec<_> = sets.iter().flat_map(|set| VALUES.map(|value| with(value, set))).collect();
        sets.extend(more);
    }
    sets
}

/// Every requirement over the keys and values.
fn requirements() -> Vec<Value> {
    let mut requirements = Vec::new();
    for key in KEYS {
        for operator in ["Exists", "DoesNotExist"] {
            requirements.push(json!({"key": key, "operator": operator}));
        }
        for operator in ["In", "NotIn"] {
            for values in [&VALUES[..1], &VALUES[1..], &VALUES[..]] {
                requirements.push(json!({"key": key, "operator": operator, "values": values}));
            }
        }
    }
    requirements
}

/// Every selector of the size this file is about.
fn selectors() -> Vec<Value> {
    let requirements = requirements();
    let mut lists = vec![vec![]];
    for (at, first) in requirements.iter().enumerate() {
        lists.push(vec![first.clone()]);
        lists.extend(requirements.iter().skip(at).map(|second| vec![second.clone(), first.clone()]));
    }
    let with = |labels: Map<String, Value>, list: &Vec<Value>| {
        let mut selector = Map::new();
        if !labels.is_empty() {
            selector.insert("matchLabels".into(), labels.into());
        }
        if !list.is_empty() {
            selector.insert("matchExpressions".into(), list.clone().into());
        }
        Value::Object(selector)
    };
    label_sets()
        .into_iter()
        .flat_map(|labels| lists.iter().map(move |list| with(labels.clone(), list)))
        .collect()
}

/// What the documentation says: all labels and all expressions must hold.
fn selects(selector: &Value, labels: &Map<String, Value>) -> bool {
    let every_label = selector["matchLabels"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)));
    let every_expression = selector["matchExpressions"].as_array().is_none_or(|expressions| {
        expressions.iter().all(|expression| {
            let value = labels.get(expression["key"].as_str().unwrap());
            let listed = || expression["values"].as_array().unwrap().contains(value.unwrap());
            match expression["operator"].as_str().unwrap() {
                "In" => value.is_some() && listed(),
                "NotIn" => value.is_none() || !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("{other}"),
            }
        })
    });
    every_label && every_expression
}

fn policy(name: &str, spec: &Value) -> Policy {
    let spec = serde_json::from_value(spec.clone()).unwrap();
    let policy = parse(NamespacedName::new("shop", name), Some("data"), &spec);
    assert_eq!(policy.problems, []);
    policy
}

fn labels(set: &Map<String, Value>) -> Labels {
    set.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect()
}

#[test]
fn every_small_selector_selects_what_its_text_says() {
    let (sets, mut selected) = (label_sets(), 0);
    let selectors = selectors();
    for selector in &selectors {
        let policy = policy("one", &json!({"podSelector": selector}));
        for set in &sets {
            let wanted = selects(selector, set);
            assert_eq!(policy.selector.matches(&labels(set)), wanted, "{selector} on {set:?}");
            selected += usize::from(wanted);
        }
    }
    let tried = selectors.len() * sets.len();
    assert_eq!((sets.len(), tried), (9, 9 * 9 * (1 + 16 + 16 * 17 / 2)));
    assert!(selected > tried / 20 && selected < tried / 2, "{selected} of {tried} say yes");
}

fn mac(number: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(number).unwrap()])
}

/// One pod for each set of labels, in the namespace of that number, with a port of its own.
fn pod(number: usize, set: &Map<String, Value>, namespace: &str) -> [Object; 2] {
    let attachment = Attachment {
        network: NamespacedName::new("shop", "data"),
        interface: "net1".into(),
        mac: Some(mac(number)),
        addresses: vec![[10, 0, 0, u8::try_from(number).unwrap()].into()],
    };
    let pod = Pod {
        id: NamespacedName::new(namespace, format!("pod-{number}")),
        labels: labels(set),
        node: Some(crate::worlds::NODE.into()),
        attachments: vec![attachment],
        ports: Vec::new(),
    };
    let port = BridgePort {
        index: u32::try_from(number).unwrap(),
        name: format!("veth{number}").into(),
        bridge: "br0".into(),
        far_mac: Some(mac(number)),
        far_name: Some("net1".into()),
        kind: PortKind::Veth,
        stations: BTreeSet::new(),
    };
    [Object::Pod(pod), Object::Port(port)]
}

/// The receiver, which every selector is a peer for. It has a label that no selector asks for.
const RECEIVER: usize = 99;

/// Nine pods that differ in their own labels, nine that differ in their namespaces' labels, and the receiver.
fn world() -> Compiler {
    let bridge = BridgeNetwork { bridge: "br0".into(), vlan: None, dhcp: false, guard: None };
    let config = NetworkConfig::Bridge(bridge);
    let mut objects = vec![Object::Network(Network { id: NamespacedName::new("shop", "data"), config })];
    let namespace =
        |name: &str, labels| Object::Namespace(Namespace { name: name.into(), labels, log: None });
    objects.push(namespace("shop", [("receiver", "yes")].into_iter().collect()));
    let receives = Map::from_iter([("receiver".to_owned(), Value::from("yes"))]);
    objects.extend(pod(RECEIVER, &receives, "shop"));
    for (at, set) in label_sets().iter().enumerate() {
        objects.extend(pod(1 + at, set, "shop"));
        objects.push(namespace(&format!("ns-{at}"), labels(set)));
        objects.extend(pod(11 + at, &Map::new(), &format!("ns-{at}")));
    }
    let mut compiler = Compiler::new(&policy_core::Config::new(crate::worlds::NODE));
    for object in objects {
        compiler.handle_input(Input::Upsert(object), Time::default());
    }
    compiler
}

/// Whether a connection from the pod of one number reaches that of another.
fn reaches(compiler: &Compiler, from: usize, to: usize) -> bool {
    let address = |number: usize| [10, 0, 0, u8::try_from(number).unwrap()].into();
    let transport = Transport::Tcp { source_port: 40_000, destination_port: 80, flags: 2 };
    let payload = Payload::Ip { source: address(from), destination: address(to), transport };
    let frame = FrameSpec { source: mac(from), destination: mac(to), payload }.bytes();
    let (input, output) = (u32::try_from(from).ok(), u32::try_from(to).ok());
    let passage = Passage { hook: Hook::Forward, input, output, bridge: None, frame: &frame };
    evaluate(compiler.desired(), &mut Flows::default(), &passage) == Decision::Accept
}

/// The label index, the peer groups and the compiled rules must all read a selector the same way, while policies take
/// each other's place.
#[test]
fn every_small_selector_isolates_and_admits_what_its_text_says() {
    let mut compiler = world();
    let sets = label_sets();
    for selector in selectors() {
        let receiver = json!({"matchLabels": {"receiver": "yes"}});
        let specs = [
            ("isolates", json!({"podSelector": selector})),
            (
                "admits",
                json!({"podSelector": receiver, "ingress": [{"from": [
                    {"podSelector": selector},
                    {"namespaceSelector": selector, "podSelector": {"matchExpressions": [
                        {"key": "receiver", "operator": "DoesNotExist"}]}},
                ]}]}),
            ),
        ];
        for (name, spec) in &specs {
            compiler.handle_input(Input::Upsert(Object::Policy(policy(name, spec))), Time::default());
        }
        let own_namespace = selects(&selector, &Map::from_iter([("receiver".to_owned(), "yes".into())]));
        for (at, set) in sets.iter().enumerate() {
            let wanted = selects(&selector, set);
            assert_eq!(reaches(&compiler, RECEIVER, 1 + at), !wanted, "{selector} isolates {set:?}");
            let admitted = wanted || own_namespace;
            assert_eq!(reaches(&compiler, 1 + at, RECEIVER), admitted, "{selector} admits {set:?}");
            assert_eq!(reaches(&compiler, 11 + at, RECEIVER), wanted, "{selector} admits namespace {set:?}");
        }
    }
}
