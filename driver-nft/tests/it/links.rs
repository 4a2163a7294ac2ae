//! The link watcher against the running kernel: ports, far ends, learned addresses, and their changes.

use core::time::Duration;
use std::time::Instant;

use driver_nft::{Links, PortEvent};
use policy_core::model::{BridgePort, Mac, PortKind};

use crate::netns::{Peer, bridge, in_new_namespace, ip};

/// Long enough for any machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// The address of every port itself, which its bridge holds as its own.
const OWN_MAC: &str = "02:00:00:00:00:f0";

/// A bridge `br0`, and a pair `port0`-`eth9` whose far end is in a namespace of its own.
fn bridge_with_a_port() -> Peer {
    let peer = Peer::new();
    ip("link add br0 type bridge");
    ip("link set br0 up");
    add_port(&peer, "port0", "02:00:00:00:00:0a");
    peer
}

fn add_port(peer: &Peer, name: &str, mac: &str) {
    let far = peer.pid();
    ip(&format!("link add {name} address {OWN_MAC} type veth peer name eth9 address {mac} netns {far}"));
    ip(&format!("link set {name} up master br0"));
}

fn port<'a>(ports: &'a [BridgePort], name: &str) -> &'a BridgePort {
    ports.iter().find(|port| &*port.name == name).unwrap_or_else(|| panic!("no port {name} in {ports:?}"))
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// Reads changes until one of them is `wanted`.
fn wait_for<T>(links: &mut Links, mut wanted: impl FnMut(&PortEvent) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "nothing of the wanted kind came in time, but {seen:?}");
        let events = links.next(Some(left)).expect("announcements can be read");
        if let Some(found) = events.iter().find_map(&mut wanted) {
            return found;
        }
        seen.extend(events);
    }
}

fn upsert(event: &PortEvent) -> Option<BridgePort> {
    if let PortEvent::Upsert(port) = event { Some(port.clone()) } else { None }
}

#[test]
fn listing_names_bridge_and_far_end_in_another_namespace() {
    in_new_namespace(|| {
        let _peer = bridge_with_a_port();
        ip("link add lonely type veth peer name lonely-far");
        let ports = Links::open().unwrap().dump().unwrap();
        assert_eq!(ports.len(), 1, "{ports:?}");
        let port = port(&ports, "port0");
        assert_eq!(
            (&*port.bridge, port.far_mac, port.far_name.as_deref()),
            ("br0", Some(mac(10)), Some("eth9"))
        );
    });
}

#[test]
fn far_end_in_the_same_namespace_is_seen_too() {
    in_new_namespace(|| {
        ip("link add br0 type bridge");
        ip("link add near type veth peer name far address 02:00:00:00:00:07");
        ip("link set near master br0");
        let ports = Links::open().unwrap().dump().unwrap();
        let port = port(&ports, "near");
        assert_eq!((port.far_mac, port.far_name.as_deref()), (Some(mac(7)), Some("far")));
        assert_eq!(port.kind, PortKind::Uplink, "what stays on the node is nobody's own");
    });
}

#[test]
fn kind_of_a_port_says_whether_somebody_is_behind_it() {
    in_new_namespace(|| {
        let _peer = bridge_with_a_port();
        ip("tuntap add dev machine mode tap");
        ip("link add below type veth peer name other");
        ip("link add tunnel type vxlan id 5 dstport 4789 dev below");
        for name in ["machine", "tunnel"] {
            ip(&format!("link set {name} master br0"));
        }
        let ports = Links::open().unwrap().dump().unwrap();
        let kind = |name| port(&ports, name).kind;
        assert_eq!(kind("port0"), PortKind::Veth);
        assert_eq!(kind("machine"), PortKind::Tap);
        assert_eq!(kind("tunnel"), PortKind::Uplink);
    });
}

#[test]
fn pair_becomes_somebodys_when_its_far_end_moves_away() {
    in_new_namespace(|| {
        let peer = bridge_with_a_port();
        ip("link add near type veth peer name far");
        ip("link set near master br0");
        let mut links = Links::open().unwrap();
        assert_eq!(port(&links.dump().unwrap(), "near").kind, PortKind::Uplink);
        ip(&format!("link set far netns {}", peer.pid()));
        let is_somebodys = |port: &BridgePort| &*port.name == "near" && port.kind == PortKind::Veth;
        wait_for(&mut links, |event| upsert(event).filter(is_somebodys));
    });
}

#[test]
fn device_below_a_port_is_no_far_end() {
    in_new_namespace(|| {
        ip("link add br0 type bridge");
        ip("link add below type veth peer name other");
        ip("link add tunnel type vxlan id 5 dstport 4789 dev below");
        ip("link set tunnel master br0");
        let ports = Links::open().unwrap().dump().unwrap();
        assert_eq!((port(&ports, "tunnel").far_mac, &port(&ports, "tunnel").far_name), (None, &None));
    });
}

#[test]
fn new_port_is_reported_and_its_removal_too() {
    in_new_namespace(|| {
        let peer = bridge_with_a_port();
        let mut links = Links::open().unwrap();
        links.dump().unwrap();
        peer.run("ip link set eth9 name eth8");
        add_port(&peer, "port1", "02:00:00:00:00:0b");
        let index = wait_for(&mut links, |event| {
            let port = upsert(event)?;
            (&*port.name == "port1" && port.far_mac == Some(mac(11))).then_some(port.index)
        });
        ip("link delete port1");
        wait_for(&mut links, |event| (*event == PortEvent::Remove(index)).then_some(()));
    });
}

#[test]
fn port_that_leaves_its_bridge_is_removed_and_comes_back_with_the_next() {
    in_new_namespace(|| {
        let _peer = bridge_with_a_port();
        ip("link add br1 type bridge");
        let mut links = Links::open().unwrap();
        let index = port(&links.dump().unwrap(), "port0").index;
        ip("link set port0 nomaster");
        wait_for(&mut links, |event| (*event == PortEvent::Remove(index)).then_some(()));
        ip("link set port0 master br1");
        let port = wait_for(&mut links, upsert);
        assert_eq!((port.index, &*port.bridge), (index, "br1"));
    });
}

#[test]
fn renamed_port_and_renamed_bridge_are_reported() {
    in_new_namespace(|| {
        let _peer = bridge_with_a_port();
        let mut links = Links::open().unwrap();
        let index = port(&links.dump().unwrap(), "port0").index;
        ip("link set port0 down");
        ip("link set port0 name other");
        let renamed = wait_for(&mut links, |event| upsert(event).filter(|port| &*port.name == "other"));
        assert_eq!(renamed.index, index);
        ip("link set br0 down");
        ip("link set br0 name br9");
        let moved = wait_for(&mut links, |event| upsert(event).filter(|port| &*port.bridge == "br9"));
        assert_eq!((moved.index, moved.far_mac), (index, Some(mac(10))));
    });
}

#[test]
fn changed_address_of_the_far_end_is_reported() {
    in_new_namespace(|| {
        let peer = bridge_with_a_port();
        let mut links = Links::open().unwrap();
        assert!(links.sees_far_changes(), "listening to all namespaces takes root");
        links.dump().unwrap();
        peer.run("ip link set eth9 address 02:00:00:00:00:77");
        wait_for(&mut links, |event| upsert(event).filter(|port| port.far_mac == Some(mac(0x77))));
    });
}

#[test]
fn address_learned_behind_a_port_is_a_station_until_it_moves() {
    in_new_namespace(|| {
        let peer = bridge_with_a_port();
        peer.run("ip link set eth9 name eth8");
        add_port(&peer, "port1", "02:00:00:00:00:0b");
        let mut links = Links::open().unwrap();
        let ports = links.dump().unwrap();
        assert!(
            !port(&ports, "port0").stations.contains(&mac(10)),
            "only learned addresses count: {ports:?}"
        );
        bridge("fdb add 02:00:00:00:00:55 dev port0 master static");
        let learned = |name: &'static str| {
            move |event: &PortEvent| {
                upsert(event).filter(|port| &*port.name == name && port.stations.contains(&mac(0x55)))
            }
        };
        wait_for(&mut links, learned("port0"));
        bridge("fdb replace 02:00:00:00:00:55 dev port1 master static");
        wait_for(&mut links, learned("port1"));
        let ports = links.dump().unwrap();
        assert!(!port(&ports, "port0").stations.contains(&mac(0x55)), "{ports:?}");
        bridge("fdb delete 02:00:00:00:00:55 dev port1 master");
        wait_for(&mut links, |event| {
            upsert(event).filter(|port| &*port.name == "port1" && !port.stations.contains(&mac(0x55)))
        });
    });
}

#[test]
fn change_that_concerns_no_bridge_port_is_no_event() {
    in_new_namespace(|| {
        let _peer = bridge_with_a_port();
        let mut links = Links::open().unwrap();
        links.dump().unwrap();
        ip("link add lonely type veth peer name lonely-far");
        ip("link set port0 mtu 1400");
        // The commands have returned, so their announcements are there.
        assert_eq!(links.next(Some(Duration::ZERO)).unwrap(), []);
    });
}
