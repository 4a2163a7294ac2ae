//! Names, addresses, selectors and times: what is read from text, and how it is shown to people.

use std::net::Ipv6Addr;
use std::time::Duration;

use policy_core::model::{
    Attachment, Block, BridgeNetwork, BridgePort, Direction, Kind, Labels, Mac, Namespace, NamespacedName,
    Network, NetworkConfig, Object, ObjectId, Operator, Pod, Policy, PortKind, Protocol, Requirement,
    Selector,
};
use policy_core::ruleset::{COMMENT_BYTES_MAX, comment, fingerprint, readable};
use policy_core::{Compiler, Config, Generation, Input, Time};
use test_case::test_case;

#[test_case("02:00:00:00:00:05", Some([2, 0, 0, 0, 0, 5]); "as the kernel prints it")]
#[test_case("0A-FF-00-00-00-5b", Some([10, 255, 0, 0, 0, 0x5b]); "with dashes and capitals")]
#[test_case("2:0:0:0:0:5", Some([2, 0, 0, 0, 0, 5]); "without leading zeros")]
#[test_case("", None; "nothing")]
#[test_case("02:00:00:00:00", None; "five bytes")]
#[test_case("02:00:00:00:00:05:06", None; "seven bytes")]
#[test_case("02:00:00:00:00:", None; "an empty byte")]
#[test_case("02:00:00:00:00:g5", None; "not hexadecimal")]
#[test_case("02:00:00:00:00:+5", None; "a sign")]
#[test_case("02:00:00:00:00:005", None; "three digits")]
#[test_case(" 02:00:00:00:00:05", None; "a blank before it")]
fn mac_is_six_hexadecimal_bytes(text: &str, wanted: Option<[u8; 6]>) {
    let read = text.parse::<Mac>();
    assert_eq!(read.ok(), wanted.map(Mac));
    if let Err(error) = read {
        assert_eq!(error.to_string(), "not an ethernet address of six hexadecimal bytes");
    }
}

#[test]
fn mac_is_shown_in_lower_case_and_reads_back() {
    let mac = Mac([0x0a, 0xff, 0, 0x10, 0, 0x5b]);
    assert_eq!(mac.to_string(), "0a:ff:00:10:00:5b");
    assert_eq!(mac.to_string().parse(), Ok(mac));
}

/// The example of RFC 2464, section 4.
#[test]
fn link_local_address_follows_from_the_mac() {
    let mac: Mac = "34-56-78-9A-BC-DE".parse().unwrap();
    assert_eq!(mac.link_local(), "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
}

#[test_case("data", Some("shop/data"); "a name alone is in the default namespace")]
#[test_case(" infra/data\t", Some("infra/data"); "blanks around it do not count")]
#[test_case("", None; "nothing")]
#[test_case("/data", None; "no namespace")]
#[test_case("infra/", None; "no name")]
#[test_case("infra/data/more", None; "two slashes")]
#[test_case("infra /data", None; "a blank within")]
fn namespaced_name_is_read(text: &str, wanted: Option<&str>) {
    let read = NamespacedName::parse(text, "shop").map(|name| name.to_string());
    assert_eq!(read.as_deref(), wanted);
}

fn full(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

fn objects() -> [(Object, Kind, &'static str); 5] {
    let namespace = Namespace { name: "shop".into(), labels: Labels::default(), log: None };
    let config = NetworkConfig::Other { plugin: "macvlan".into() };
    let pod = Pod {
        id: full("web"),
        labels: Labels::default(),
        node: None,
        attachments: Vec::new(),
        ports: Vec::new(),
    };
    let policy = Policy {
        id: full("guard"),
        networks: Vec::new(),
        selector: Selector::default(),
        ingress: None,
        egress: None,
        log: None,
        problems: Vec::new(),
    };
    let port = BridgePort {
        index: 7,
        name: "veth7".into(),
        bridge: "br0".into(),
        far_mac: None,
        far_name: None,
        kind: PortKind::Veth,
        stations: [].into(),
    };
    [
        (Object::Namespace(namespace), Kind::Namespace, "namespace shop"),
        (Object::Network(Network { id: full("data"), config }), Kind::Network, "network shop/data"),
        (Object::Pod(pod), Kind::Pod, "pod shop/web"),
        (Object::Policy(policy), Kind::Policy, "policy shop/guard"),
        (Object::Port(port), Kind::Port, "port 7"),
    ]
}

#[test]
fn object_is_named_by_kind_and_name() {
    for (object, kind, name) in objects() {
        assert_eq!(object.id().kind(), kind);
        assert_eq!(object.id().to_string(), name);
    }
    assert_eq!(objects().map(|(_, kind, _)| kind), Kind::ALL);
}

#[test]
fn the_world_holds_what_it_was_told_until_it_is_told_otherwise() {
    let mut compiler = Compiler::new(&Config::new("here"));
    for (object, _, _) in objects() {
        compiler.handle_input(Input::Upsert(object), Time::default());
    }
    let world = compiler.world();
    assert_eq!(world.namespace("shop"), Some(&Labels::default()));
    assert_eq!(world.namespaces().count(), 1);
    assert!(matches!(world.network(&full("data")), Some(NetworkConfig::Other { .. })));
    assert_eq!(world.bridge(&full("data")), None, "a macvlan network is no bridge");
    assert_eq!(world.pods().map(|pod| &pod.id).collect::<Vec<_>>(), [&full("web")]);
    assert_eq!(world.pods_in(&"shop".into()).count(), 1);
    assert_eq!(world.pods_in(&"shopping".into()).count(), 0);
    assert_eq!(world.policies().map(|policy| &policy.id).collect::<Vec<_>>(), [&full("guard")]);
    assert_eq!(world.policies_in(&"shop".into()).count(), 1);
    assert!(world.pod(&full("web")).is_some() && world.policy(&full("guard")).is_some());
    assert_eq!(world.port(7).map(|port| port.index), Some(7));
    assert_eq!(world.ports().count(), 1);
    for (object, _, _) in objects() {
        compiler.handle_input(Input::Remove(object.id()), Time::default());
    }
    let (world, empty) = (compiler.world(), Compiler::new(&Config::new("here")));
    assert_eq!(world, empty.world());
}

#[test]
fn a_network_stays_what_it_was_while_pods_are_attached() {
    let bridge = BridgeNetwork { bridge: "br0".into(), vlan: None, dhcp: false, guard: None };
    let network = |config| Input::Upsert(Object::Network(Network { id: full("data"), config }));
    let unreadable = || network(NetworkConfig::Unreadable { reason: "no plugin".into() });
    let attachment =
        Attachment { network: full("data"), interface: "net1".into(), mac: None, addresses: Vec::new() };
    let [_, _, (Object::Pod(pod), ..), ..] = objects() else { panic!("the third object is the pod") };
    let attached = Object::Pod(Pod { attachments: vec![attachment], ..pod.clone() });
    let mut compiler = Compiler::new(&Config::new("here"));
    let mut tell = |input| {
        compiler.handle_input(input, Time::default());
        compiler.world().bridge(&full("data")).cloned()
    };
    assert_eq!(tell(network(NetworkConfig::Bridge(bridge.clone()))), Some(bridge.clone()));
    assert_eq!(tell(unreadable()), None, "nobody is attached");
    assert_eq!(tell(network(NetworkConfig::Bridge(bridge.clone()))), Some(bridge.clone()));
    assert_eq!(tell(Input::Upsert(attached)), Some(bridge.clone()));
    assert_eq!(tell(unreadable()), Some(bridge.clone()));
    assert_eq!(tell(Input::Remove(ObjectId::Network(full("data")))), Some(bridge.clone()));
    assert_eq!(tell(Input::Upsert(Object::Pod(pod))), None, "the last attachment is gone");
}

fn requirement(key: &str, operator: Operator) -> Requirement {
    Requirement { key: key.into(), operator }
}

fn values(values: &[&str]) -> std::collections::BTreeSet<std::sync::Arc<str>> {
    values.iter().map(|value| (*value).into()).collect()
}

#[test_case(&[], "all"; "the empty selector")]
#[test_case(&[requirement("app", Operator::In(values(&["web"])))], "app=web"; "one value")]
#[test_case(&[requirement("app", Operator::In(values(&["web", "api"])))], "app in (api,web)"; "one of two values")]
#[test_case(&[requirement("app", Operator::NotIn(values(&["web"])))], "app notin (web)"; "another value")]
#[test_case(&[requirement("old", Operator::DoesNotExist), requirement("app", Operator::Exists)], "app,!old"; "presence and absence, sorted")]
#[test_case(&[requirement("app", Operator::Exists), requirement("app", Operator::Exists)], "app"; "the same twice")]
fn selector_is_shown_as_kubectl_reads_it(requirements: &[Requirement], text: &str) {
    let selector = Selector::new(requirements.iter().cloned());
    assert_eq!(selector.to_string(), text);
}

#[test]
fn labels_are_sorted_and_the_last_of_one_key_counts() {
    let labels: Labels = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
    let listed: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(listed, ["a=2", "b=3"]);
    let json = serde_json::to_string(&labels).unwrap();
    assert_eq!(json, r#"{"a":"2","b":"3"}"#);
    assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
}

#[test]
fn a_block_is_its_prefix_without_the_exceptions_inside_it() {
    let net = |text: &str| text.parse().unwrap();
    let block = Block::new(net("10.1.2.3/8"), [net("10.9.0.1/16"), net("11.0.0.0/8"), net("fd00::/8")]);
    assert_eq!(block.to_string(), "10.0.0.0/8 except 10.9.0.0/16");
    let holds = |text: &str| block.contains(text.parse().unwrap());
    assert!(holds("10.0.0.0") && holds("10.255.255.255"));
    assert!(!holds("10.9.0.0") && !holds("10.9.255.255") && !holds("11.0.0.0") && !holds("fd00::1"));
}

#[test]
fn words_of_the_language_are_shown_in_lower_case() {
    let directions = Direction::ALL.map(|direction| format!("{direction}, not {}", direction.reverse()));
    assert_eq!(directions, ["egress, not ingress", "ingress, not egress"]);
    let protocols = Protocol::ALL.map(|protocol| format!("{protocol} is {}", protocol.number()));
    assert_eq!(protocols, ["sctp is 132", "tcp is 6", "udp is 17"]);
    assert_eq!(Generation(12).to_string(), "12");
}

#[test_case("shop/web-1_a.b" => "shop/web-1_a.b"; "what nft takes in a name stays")]
#[test_case("a b\"c;é" => "a_b_c__"; "everything else becomes a line")]
#[test_case("0123456789012345678901234567890" => "01234567890123456789"; "the end is cut off")]
fn name_is_made_readable(text: &str) -> String {
    readable(text, 20)
}

#[test]
fn comment_holds_printable_text_without_quotes() {
    assert_eq!(comment("to \"shop/web\"\\ on\nbr0 é"), "to _shop/web__ on_br0 _");
    assert_eq!(comment(&"é".repeat(500)).len(), COMMENT_BYTES_MAX);
}

/// SHA-256 of the empty text begins e3b0c44298fc1c149afb (FIPS 180-4); in base 32 (RFC 4648) that is this.
#[test]
fn fingerprint_is_the_beginning_of_a_cryptographic_hash() {
    assert_eq!(fingerprint(""), "4oymiquy7qobjgx3");
    assert_eq!(fingerprint("a").len(), 16);
    assert_ne!(fingerprint("a"), fingerprint("b"));
}

#[test]
fn time_ends_instead_of_wrapping() {
    let last = Time(Duration::MAX);
    assert_eq!(last.plus(Duration::from_secs(1)), last);
    assert_eq!(Time::default().plus(Duration::from_secs(1)), Time(Duration::from_secs(1)));
}
