//! Who is meant by what people say, and on which node's ruleset the answer is found.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use alloc::{borrow::ToOwned, format};
use core::net::Ipv4Addr;

use test_case::test_case;

use super::*;
use crate::frame::{FrameSpec, Payload};
use crate::model::{
    Attachment, Block, BridgeNetwork, ContainerPort, Labels, Mac, Namespace, NamespaceScope, Network,
    NetworkConfig, Object, Peer, Peers, Pod, Policy, PolicyRule, PortMatch, PortNumbers, Ports, Protocol,
    Selector,
};
use crate::{Config, World};

/// An attachment: network, interface, last byte of its MAC, addresses.
type Entry<'a> = (&'a str, &'a str, Option<u8>, &'a [&'a str]);

fn name(text: &str) -> NamespacedName {
    NamespacedName::parse(text, "shop").expect("a name")
}

fn pod(id: &str, node: Option<&str>, entries: &[Entry<'_>]) -> Object {
    let attachment = |(network, interface, mac, addresses): &Entry<'_>| Attachment {
        network: name(network),
        interface: (*interface).into(),
        mac: mac.map(|last| Mac([2, 0, 0, 0, 0, last])),
        addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
    };
    Object::Pod(Pod {
        id: name(id),
        labels: Labels::default(),
        node: node.map(Into::into),
        attachments: entries.iter().map(attachment).collect(),
        ports: Vec::new(),
    })
}

fn network(id: &str, bridge: &str) -> Object {
    let bridge = BridgeNetwork { bridge: bridge.into(), vlan: None, dhcp: false, guard: None };
    Object::Network(Network { id: name(id), config: NetworkConfig::Bridge(bridge) })
}

/// A policy that isolates every pod of the namespace and allows what `ingress` allows.
fn policy(ingress: Vec<PolicyRule>) -> Object {
    Object::Policy(Policy {
        id: name("all"),
        networks: vec![name("lan"), name("wan")],
        selector: Selector::default(),
        ingress: Some(ingress),
        egress: None,
        log: None,
        problems: Vec::new(),
    })
}

fn world(objects: Vec<Object>) -> World {
    let mut world = World::default();
    let shop = Namespace { name: "shop".into(), labels: Labels::default(), log: None };
    for object in
        [Object::Namespace(shop), network("lan", "br0"), network("wan", "br1"), network("lan2", "br0")]
            .into_iter()
            .chain(objects)
    {
        world.upsert(object);
    }
    world
}

fn people() -> Vec<Object> {
    vec![
        pod(
            "a",
            Some("n1"),
            &[
                ("lan", "net1", Some(1), &["10.0.0.1", "10.0.0.9", "fd00::1"]),
                ("wan", "net2", Some(2), &["10.1.0.1"]),
            ],
        ),
        pod(
            "b",
            Some("n1"),
            &[("lan", "net1", Some(3), &["fd00::2", "10.0.0.2"]), ("wan", "net2", Some(4), &[])],
        ),
        pod("c", None, &[("lan2", "net1", Some(5), &["10.0.0.3"])]),
        pod("bare", Some("n2"), &[("wan", "net1", None, &["10.1.0.7"])]),
        pod(
            "twin",
            Some("n2"),
            &[("lan", "net1", Some(8), &["10.0.0.8"]), ("lan", "net2", Some(9), &["10.0.0.10"])],
        ),
        pod("done", Some("n1"), &[]),
    ]
}

fn question(from: &str, to: &str, service: &str) -> Question {
    Question {
        from: from.parse().expect("an end"),
        to: to.parse().expect("an end"),
        service: service.parse().expect("a service"),
        network: None,
        from_address: None,
        to_address: None,
    }
}

/// The ends and addresses of each conversation, or the error.
fn met(question: &Question) -> String {
    let world = world(people());
    let side = |side: &Side| {
        let end = side.end.as_ref().map_or_else(|| "stranger".to_owned(), |end| end.label(&world));
        format!("{end} {}", side.address)
    };
    match conversations(&world, question) {
        Err(error) => error.to_string(),
        Ok(found) => {
            let lines = found.iter().map(|found| format!("{} - {}", side(&found.from), side(&found.to)));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

#[test_case("shop/a@net1", "shop/b@net1", "tcp/1", "shop/a@net1 10.0.0.1 - shop/b@net1 10.0.0.2\nshop/a@net1 fd00::1 - shop/b@net1 fd00::2"; "one of each family")]
#[test_case("shop/a@net1", "shop/b@net1", "arp", "shop/a@net1 10.0.0.1 - shop/b@net1 10.0.0.2"; "arp is of IPv4")]
#[test_case("shop/a", "shop/c", "icmp", "shop/a@net1 10.0.0.1 - shop/c@net1 10.0.0.3"; "one bridge by two names")]
#[test_case("shop/a@net2", "shop/b@net2", "icmp", "shop/a@net2 fe80::ff:fe00:2 - shop/b@net2 fe80::ff:fe00:4"; "link local without addresses")]
#[test_case("shop/a", "10.0.0.2", "udp/53", "shop/a@net1 10.0.0.1 - shop/b@net1 10.0.0.2"; "an address of a pod")]
#[test_case("fe80::ff:fe00:3", "shop/a", "udp/53", "shop/b@net1 fe80::ff:fe00:3 - shop/a@net1 fd00::1"; "a link local address of a pod")]
#[test_case("::ffff:10.0.0.2", "shop/a", "udp/53", "shop/b@net1 10.0.0.2 - shop/a@net1 10.0.0.1"; "a mapped address")]
#[test_case("shop/c", "192.0.2.1", "sctp/9", "shop/c@net1 10.0.0.3 - stranger 192.0.2.1"; "a stranger")]
#[test_case("shop/twin@net1", "shop/twin@net2", "tcp/1", "shop/twin@net1 10.0.0.8 - shop/twin@net2 10.0.0.10"; "two interfaces of one pod")]
#[test_case("shop/a", "shop/b", "icmp", "shop/a and shop/b meet in more than one place: shop/a@net1 with shop/b@net1 on shop/lan, shop/a@net2 with shop/b@net2 on shop/wan; choose with --network or @interface"; "two networks")]
#[test_case("shop/a", "192.0.2.1", "icmp", "shop/a and 192.0.2.1 meet in more than one place: shop/a@net1 with 192.0.2.1 on shop/lan, shop/a@net2 with 192.0.2.1 on shop/wan; choose with --network or @interface"; "a stranger on one of two networks")]
#[test_case("shop/b@net2", "shop/c", "icmp", "shop/b@net2 and shop/c share no network: shop/b@net2 is on shop/wan and shop/c is on shop/lan2"; "two bridges")]
#[test_case("shop/done", "shop/c", "icmp", "pod shop/done has no attachment: its network status lists none that counts"; "a completed pod")]
#[test_case("shop/gone", "shop/c", "icmp", "there is no pod shop/gone"; "no such pod")]
#[test_case("ops/a", "shop/c", "icmp", "there is no pod ops/a; there is shop/a"; "the pod of another namespace")]
#[test_case("shop/bare", "shop/b@net2", "icmp", "shop/bare and shop/b@net2 have no addresses of one family: say which they use with --from-address and --to-address"; "no common family")]
#[test_case("10.0.0.1", "10.0.0.2", "icmp", "10.0.0.1 and 10.0.0.2 are both addresses: one end must be a pod"; "no pod at all")]
fn ends_are_found(from: &str, to: &str, service: &str, wanted: &str) {
    assert_eq!(met(&question(from, to, service)), wanted);
}

#[test]
fn the_network_and_the_addresses_can_be_chosen() {
    let mut chosen = question("shop/a", "shop/b", "icmp");
    chosen.network = Some(name("wan"));
    chosen.to_address = Some("10.1.0.2".parse().expect("an address"));
    assert_eq!(met(&chosen), "shop/a@net2 10.1.0.1 - shop/b@net2 10.1.0.2");
    chosen.from_address = Some("fd01::1".parse().expect("an address"));
    assert!(met(&chosen).contains("no addresses of one family"));
    let mut twice = question("shop/a", "10.0.0.2", "icmp");
    twice.to_address = Some("10.0.0.3".parse().expect("an address"));
    assert_eq!(met(&twice), "10.0.0.2 is an address already: --from-address and --to-address are for pods");
}

#[test_case("arp"; "arp")]
#[test_case("icmp"; "icmp")]
#[test_case("tcp/1"; "tcp")]
#[test_case("udp/65535"; "udp")]
#[test_case("sctp/9"; "sctp")]
fn services_are_written_as_they_are_read(text: &str) {
    assert_eq!(text.parse::<Service>().expect("a service").to_string(), text);
}

#[test_case("tcp"; "no port")]
#[test_case("tcp/0"; "port 0")]
#[test_case("tcp/65536"; "port over 16 bits")]
#[test_case("TCP/80"; "upper case")]
#[test_case("icmp/8"; "an icmp type")]
#[test_case("tcp/http"; "a name")]
fn texts_that_name_no_service_are_refused(text: &str) {
    assert_eq!(text.parse::<Service>(), Err(ServiceError));
}

#[test_case("web"; "no namespace")]
#[test_case("Shop/web"; "upper case")]
#[test_case("a/b/c"; "two slashes")]
#[test_case("shop/web@"; "no interface")]
#[test_case("10.0.0.0/8"; "a prefix")]
#[test_case(""; "nothing")]
fn texts_that_name_no_end_are_refused(text: &str) {
    assert_eq!(text.parse::<EndSpec>(), Err(EndSpecError));
}

/// Whether each way of a pair is open, by the bench and by the traces.
fn verdicts(world: &World, from: &str, to: &str, service: &str) -> (bool, bool) {
    let config = Config::new("");
    let mut bench = Bench::new(world, &config);
    let found = conversations(world, &question(from, to, service)).expect("they meet");
    let first = found.first().expect("a conversation");
    let said = |side: &Side, direction| {
        let end = side.end.as_ref()?;
        trace(world, &config, end, direction, &first.frame)
    };
    let egress = said(&first.from, Direction::Egress);
    let ingress = said(&first.to, Direction::Ingress);
    assert_eq!(bench.egress(first), egress.as_ref().map(Trace::passes));
    assert_eq!(bench.ingress(first), ingress.as_ref().map(Trace::passes));
    (bench.allows(first), bench.distinct(first).is_ok())
}

#[test]
fn each_end_is_judged_on_its_own_node() {
    let mut objects = people();
    objects.push(policy(Vec::new()));
    let isolated = world(objects);
    // On one node, on two, and where one pod is bound to none.
    for (from, to) in
        [("shop/a@net1", "shop/b@net1"), ("shop/a@net1", "shop/twin@net1"), ("shop/c", "shop/a")]
    {
        assert_eq!(verdicts(&isolated, from, to, "tcp/80"), (false, true), "{from} to {to}");
        assert_eq!(verdicts(&world(people()), from, to, "tcp/80"), (true, true), "{from} to {to}");
    }
    // The network lan2 is not the policy's.
    assert_eq!(verdicts(&isolated, "shop/a", "shop/c", "tcp/80"), (true, true));
    assert_eq!(verdicts(&isolated, "192.0.2.1", "shop/twin@net2", "icmp"), (false, true));
    assert_eq!(verdicts(&isolated, "shop/twin@net2", "192.0.2.1", "icmp"), (true, true));
}

#[test]
fn an_attachment_without_a_mac_is_not_enforced() {
    let mut objects = people();
    objects.push(policy(Vec::new()));
    let world = world(objects);
    assert_eq!(verdicts(&world, "10.1.0.99", "shop/bare", "icmp"), (true, true));
    let end = End { pod: name("bare"), attachment: 0 };
    let found = conversations(&world, &question("10.1.0.99", "shop/bare", "icmp")).expect("they meet");
    let first = found.first().expect("a conversation");
    let said = trace(&world, &Config::new(""), &end, Direction::Ingress, &first.frame).expect("it is there");
    assert_eq!(said.standing, Standing::Unenforced(Unenforced::NoMac));
}

#[test_case(Peers::Any, true; "everyone, found by mac")]
#[test_case(Peers::Listed(vec![Peer::Block(Block::new("10.1.0.0/16".parse().expect("a prefix"), []))]), false; "a block does not find by mac")]
#[test_case(Peers::Listed(vec![Peer::Pods { namespaces: NamespaceScope::Named("shop".into()), pods: Selector::default() }]), true; "a selector, found by mac")]
fn a_named_port_of_a_receiver_without_addresses(peers: Peers, wanted: bool) {
    let mut server = pod("server", Some("n"), &[("wan", "net1", Some(2), &[])]);
    if let Object::Pod(pod) = &mut server {
        pod.ports = vec![ContainerPort { name: "http".into(), protocol: Protocol::Tcp, port: 80 }];
    }
    let http = PortMatch { protocol: Protocol::Tcp, numbers: PortNumbers::Named("http".into()) };
    let mut egress = policy(Vec::new());
    if let Object::Policy(policy) = &mut egress {
        policy.ingress = None;
        policy.egress = Some(vec![PolicyRule { peers, ports: Ports::Listed(vec![http]) }]);
    }
    let world =
        world(vec![pod("client", Some("n"), &[("wan", "net1", Some(1), &["10.1.0.1"])]), server, egress]);
    let mut question = question("shop/client", "shop/server", "tcp/80");
    question.to_address = Some("10.1.0.2".parse().expect("an address"));
    let config = Config::new("");
    let found = conversations(&world, &question).expect("they meet");
    let first = found.first().expect("a conversation");
    let client = first.from.end.as_ref().expect("a pod");
    let said = trace(&world, &config, client, Direction::Egress, &first.frame).expect("it is there");
    assert_eq!((said.passes(), Bench::new(&world, &config).allows(first)), (wanted, wanted));
}

#[test]
fn two_attachments_that_look_alike_are_told() {
    let allow = PolicyRule { peers: Peers::Any, ports: Ports::Any };
    let objects = vec![
        pod("one", Some("n"), &[("lan", "net1", Some(1), &["10.0.0.1"])]),
        pod("two", Some("n"), &[("lan", "net1", Some(1), &["10.0.0.2"])]),
        pod("elsewhere", Some("m"), &[("lan", "net1", Some(1), &["10.0.0.3"])]),
        policy(vec![allow]),
    ];
    let world = world(objects);
    let mut bench = Bench::new(&world, &Config::new(""));
    let is_shadowed =
        |bench: &mut Bench, pod: &str| bench.is_shadowed(&End { pod: name(pod), attachment: 0 });
    assert!(!is_shadowed(&mut bench, "one"));
    assert!(is_shadowed(&mut bench, "two"));
    assert!(!is_shadowed(&mut bench, "elsewhere"));
    let found = conversations(&world, &question("shop/elsewhere", "shop/two", "icmp")).expect("they meet");
    let error = bench.distinct(found.first().expect("a conversation")).expect_err("two is shadowed");
    assert_eq!(
        error.to_string(),
        "shop/two@net1 shares its mac with another attachment on its node and bridge: whose policies judge it is open"
    );
}

#[test]
fn the_ends_of_a_network_are_listed() {
    let world = world(people());
    let labels = |network: &str| -> Result<Vec<String>, PairError> {
        Ok(ends_on(&world, &name(network))?.iter().map(|end| end.label(&world)).collect())
    };
    assert_eq!(labels("wan").expect("a network"), ["shop/a@net2", "shop/b@net2", "shop/bare@net1"]);
    assert_eq!(
        labels("nowhere").expect_err("nobody is there").to_string(),
        "no pod is attached to network shop/nowhere; there are attachments to: shop/lan, shop/lan2, shop/wan"
    );
    let (one, other) = (End { pod: name("twin"), attachment: 0 }, End { pod: name("c"), attachment: 0 });
    assert_eq!(between(&world, &one, &other, Service::Arp).len(), 1);
    let nowhere = End { pod: name("gone"), attachment: 0 };
    assert_eq!(nowhere.label(&world), "shop/gone");
    assert_eq!(between(&world, &one, &nowhere, Service::Icmp), []);
}

/// An ARP reply of `shop/b` to `shop/a`.
fn arp_reply() -> FrameSpec {
    let (source, destination) = (Mac([2, 0, 0, 0, 0, 3]), Mac([2, 0, 0, 0, 0, 1]));
    let [sender_ip, target_ip] = [2, 1].map(|last| Ipv4Addr::new(10, 0, 0, last));
    let payload =
        Payload::Arp { operation: 2, sender_mac: source, sender_ip, target_mac: destination, target_ip };
    FrameSpec { source, destination, payload }
}

/// What is said about the reply at `shop/a`, and the directions of the rules that are asked.
fn reply_to_isolated(objects: Vec<Object>) -> (bool, Option<Exempt>, Vec<Direction>) {
    let world = world(people().into_iter().chain(objects).collect());
    let (config, end) = (Config::new(""), End { pod: name("a"), attachment: 0 });
    let said = trace(&world, &config, &end, Direction::Ingress, &arp_reply()).expect("it is there");
    assert_eq!(Bench::new(&world, &config).passes(&end, Direction::Ingress, &arp_reply()), said.passes());
    let passes = said.passes();
    let Standing::Isolated { exempt, policies } = said.standing else { panic!("it is isolated: {said:?}") };
    (passes, exempt, policies.iter().map(|policy| policy.direction).collect())
}

/// A policy that isolates the egress of every pod of the namespace.
fn egress_policy(egress: Vec<PolicyRule>) -> Object {
    let Object::Policy(ingress) = policy(Vec::new()) else { panic!("a policy") };
    Object::Policy(Policy { id: name("out"), ingress: None, egress: Some(egress), ..ingress })
}

#[test]
fn an_arp_reply_passes_by_the_rules_of_either_direction() {
    use Direction::{Egress, Ingress};
    let free = Some(Exempt::FreeOtherDirection);
    assert_eq!(reply_to_isolated(vec![policy(Vec::new())]), (true, free, vec![Ingress]));
    let closed = vec![policy(Vec::new()), egress_policy(Vec::new())];
    assert_eq!(reply_to_isolated(closed), (false, None, vec![Ingress, Egress]));
    // A rule whose ports are of no use opens no port, and still has peers.
    let to_everyone = PolicyRule { peers: Peers::Any, ports: Ports::Listed(Vec::new()) };
    let opened = vec![policy(Vec::new()), egress_policy(vec![to_everyone])];
    assert_eq!(reply_to_isolated(opened), (true, None, vec![Ingress, Egress]));
}
