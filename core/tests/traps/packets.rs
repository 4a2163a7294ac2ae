//! Traps that frames can show.

use policy_core::frame::{Payload, Transport};
use policy_core::model::{Mac, Object, ObjectId};
use policy_core::ruleset::Hook;
use policy_core::{Config, Input, Time, compile};
use test_case::test_case;

use crate::world::{
    CLIENT, SERVER, STRANGER, TCP_80, TWIN, cluster, crosses, frame, ip, ip4, ip6, mac, name, passes, policy,
    port, ruleset, settled,
};

const ISOLATED: &str =
    r#"{"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress", "Egress"]}"#;
const FROM_CLIENTS: &str = r#"{"podSelector": {"matchLabels": {"app": "server"}},
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]}"#;
const FROM_A_BLOCK: &str = r#"{"podSelector": {"matchLabels": {"app": "server"}},
    "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}]}"#;
const SCTP_80: &str = r#"{"podSelector": {"matchLabels": {"app": "server"}},
    "ingress": [{"ports": [{"protocol": "SCTP", "port": 80}]}]}"#;

const BROADCAST: Mac = Mac([0xff; 6]);

/// What the node sends or routes enters at `output`, which no bridge port sees.
#[test]
fn traffic_of_the_node_and_routed_traffic_is_judged() {
    let table = ruleset([policy("block", FROM_A_BLOCK)]);
    let to_server = |source| frame(mac(1), mac(SERVER), ip(ip4(source), ip4(SERVER), TCP_80));
    assert!(passes(&table, Hook::Output, 0, SERVER, &to_server(1)), "the node is in the block");
    assert!(!passes(&table, Hook::Output, 0, SERVER, &to_server(99)), "what it routes is not");
    let to_client = frame(mac(1), mac(CLIENT), ip(ip4(99), ip4(CLIENT), TCP_80));
    assert!(passes(&table, Hook::Output, 0, CLIENT, &to_client), "the client is not isolated");
}

#[test]
fn broadcast_is_judged_by_its_source() {
    let table = ruleset([policy("clients", FROM_CLIENTS)]);
    let datagram = Transport::Udp { source_port: 5353, destination_port: 5353 };
    let from = |number| frame(mac(number), BROADCAST, ip(ip4(number), ip4(255), datagram.clone()));
    assert!(crosses(&table, CLIENT, SERVER, &from(CLIENT)));
    assert!(!crosses(&table, STRANGER, SERVER, &from(STRANGER)));
    assert!(crosses(&table, STRANGER, CLIENT, &from(STRANGER)), "the client is not isolated");
}

/// The port decides whose policy applies, never what the pod writes into its frames.
#[test_case(mac(SERVER), SERVER; "its own MAC and address")]
#[test_case(mac(77), SERVER; "another MAC")]
#[test_case(mac(CLIENT), CLIENT; "the MAC and address of a pod that is not isolated")]
#[test_case(mac(77), 77; "a MAC and an address that nobody has")]
fn a_changed_mac_or_address_escapes_nothing(source: Mac, address: u8) {
    let table = ruleset([policy("isolated", ISOLATED)]);
    let sent = frame(source, mac(CLIENT), ip(ip4(address), ip4(CLIENT), TCP_80));
    assert!(!crosses(&table, SERVER, CLIENT, &sent));
    assert!(crosses(&table, STRANGER, CLIENT, &sent), "another port is not under this policy");
}

/// A pod with the privilege to do so changes the MAC of its interface, which its port's far end then shows.
#[test_case(mac(77); "to one that nobody has")]
#[test_case(mac(CLIENT); "to that of a pod that is not isolated")]
fn a_port_stays_whose_it_was_first(taken: Mac) {
    let objects: Vec<Object> = cluster().into_iter().chain([policy("isolated", ISOLATED)]).collect();
    let mut compiler = settled(&objects);
    let before = compiler.desired().clone();
    for far_mac in [taken, mac(78), mac(79), mac(80), mac(81), taken] {
        let changed = Object::Port(port(SERVER, "br0", far_mac));
        compiler.handle_input(Input::Upsert(changed), Time::default());
        assert_eq!(*compiler.desired(), before, "{far_mac}");
        assert_eq!(*compiler.desired(), compile(compiler.world(), &Config::new("here")), "{far_mac}");
    }
    // A port that is gone takes what is known of it along.
    compiler.handle_input(Input::Remove(ObjectId::Port(SERVER.into())), Time::default());
    let new = Object::Port(port(SERVER, "br0", mac(77)));
    compiler.handle_input(Input::Upsert(new), Time::default());
    assert_ne!(*compiler.desired(), before);
}

#[test]
fn one_mac_on_two_bridges_is_two_attachments() {
    let table = ruleset([policy("isolated", ISOLATED)]);
    let to = frame(mac(1), mac(SERVER), ip(ip4(1), ip4(SERVER), TCP_80));
    let from = frame(mac(SERVER), mac(1), ip(ip4(SERVER), ip4(1), TCP_80));
    assert!(!passes(&table, Hook::Output, 0, SERVER, &to));
    assert!(passes(&table, Hook::Output, 0, TWIN, &to));
    assert!(!passes(&table, Hook::Prerouting, SERVER, 0, &from));
    assert!(passes(&table, Hook::Prerouting, TWIN, 0, &from));
}

#[test_case(FROM_CLIENTS, true; "from a peer, all ports")]
#[test_case(SCTP_80, true; "from everybody, one port")]
#[test_case(ISOLATED, false; "from nobody")]
fn neighbours_find_each_other_when_they_may_talk(spec: &str, wanted: bool) {
    let table = ruleset([policy("policy", spec)]);
    let arp = |operation, (from, to): (u8, u8), target_mac| Payload::Arp {
        operation,
        sender_mac: mac(from),
        sender_ip: [10, 0, 0, from].into(),
        target_mac,
        target_ip: [10, 0, 0, to].into(),
    };
    let request = frame(mac(CLIENT), BROADCAST, arp(1, (CLIENT, SERVER), Mac([0; 6])));
    assert_eq!(crosses(&table, CLIENT, SERVER, &request), wanted, "request");
    let reply = frame(mac(SERVER), mac(CLIENT), arp(2, (SERVER, CLIENT), mac(CLIENT)));
    assert_eq!(crosses(&table, SERVER, CLIENT, &reply), wanted, "reply");
    let message = |kind, target: u8| {
        let mut rest = vec![0; 4];
        let std::net::IpAddr::V6(target) = ip6(target) else { panic!("of version 6") };
        rest.extend(target.octets());
        Transport::Icmp { kind, code: 0, rest }
    };
    let solicitation = frame(mac(CLIENT), mac(SERVER), ip(ip6(CLIENT), ip6(SERVER), message(135, SERVER)));
    assert_eq!(crosses(&table, CLIENT, SERVER, &solicitation), wanted, "solicitation");
    let advertisement = frame(mac(SERVER), mac(CLIENT), ip(ip6(SERVER), ip6(CLIENT), message(136, SERVER)));
    assert_eq!(crosses(&table, SERVER, CLIENT, &advertisement), wanted, "advertisement");
}

#[test]
fn sctp_has_ports_of_its_own() {
    let table = ruleset([policy("sctp", SCTP_80)]);
    let to = |transport| frame(mac(CLIENT), mac(SERVER), ip(ip4(CLIENT), ip4(SERVER), transport));
    let sctp = |destination_port| to(Transport::Sctp { source_port: 40_000, destination_port });
    assert!(crosses(&table, CLIENT, SERVER, &sctp(80)));
    assert!(!crosses(&table, CLIENT, SERVER, &sctp(81)));
    assert!(!crosses(&table, CLIENT, SERVER, &to(TCP_80)), "the same number of another protocol");
    let sctp6 = Transport::Sctp { source_port: 40_000, destination_port: 80 };
    assert!(crosses(
        &table,
        CLIENT,
        SERVER,
        &frame(mac(CLIENT), mac(SERVER), ip(ip6(CLIENT), ip6(SERVER), sctp6))
    ));
}

/// The far end of the wire is a bridge inside the pod; the attachment's MAC is behind it, where the bridge has learned it.
#[test]
fn a_vm_bridged_inside_its_pod_is_judged() {
    let mut objects = cluster();
    objects.retain(|object| !matches!(object, Object::Port(port) if port.index == u32::from(SERVER)));
    let mut wire = port(SERVER, "br0", mac(77));
    wire.stations.insert(mac(SERVER));
    objects.extend([Object::Port(wire), policy("isolated", ISOLATED)]);
    let compiler = settled(&objects);
    assert!(compiler.world().pod(&name("server")).is_some());
    let from = frame(mac(SERVER), mac(CLIENT), ip(ip4(SERVER), ip4(CLIENT), TCP_80));
    let to = frame(mac(CLIENT), mac(SERVER), ip(ip4(CLIENT), ip4(SERVER), TCP_80));
    assert!(!passes(compiler.desired(), Hook::Prerouting, SERVER, 0, &from));
    assert!(!passes(compiler.desired(), Hook::Forward, CLIENT, SERVER, &to));
    assert!(passes(compiler.desired(), Hook::Prerouting, CLIENT, 0, &to), "the client is not isolated");
}
