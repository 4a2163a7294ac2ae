//! Small random worlds: three namespaces, a few pods, labels, networks and policies, drawn from so few values that they
//! meet each other all the time.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use policy_core::model::{
    Attachment, Block, BridgeNetwork, BridgePort, ContainerPort, Guard, Kind, Labels, LogWish, Mac,
    Namespace, NamespaceScope, NamespacedName, Network, NetworkConfig, Object, ObjectId, Operator, Peer,
    Peers, Pod, Policy, PolicyRule, PortKind, PortMatch, PortNumbers, Ports, Protocol, Requirement, Selector,
};

use crate::source::Source;

pub(crate) const NODE: &str = "here";
pub(crate) const NAMESPACES: [&str; 3] = ["blue", "green", "red"];
const PODS: [&str; 4] = ["a", "b", "c", "d"];
const POLICIES: [&str; 3] = ["one", "three", "two"];
const NETWORKS: [(&str, &str); 3] = [("blue", "lan"), ("blue", "wan"), ("green", "lan")];
const BRIDGES: [&str; 2] = ["br0", "br1"];
const INTERFACES: [&str; 2] = ["net1", "net2"];
const KEYS: [&str; 2] = ["app", "tier"];
const VALUES: [&str; 2] = ["db", "web"];
const PORT_NAMES: [&str; 2] = ["dns", "http"];
pub(crate) const PORTS: [u16; 10] = [1, 53, 67, 68, 80, 81, 546, 547, 8080, 65535];
pub(crate) const ADDRESSES: [&str; 9] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.1.1",
    "192.168.0.1",
    "fd00::1",
    "fd00::2",
    "fd00:1::1",
    "fe80::ff:fe00:1",
];
const BLOCKS: [&str; 9] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/31",
    "10.0.0.1/32",
    "10.0.1.0/24",
    "::/0",
    "fd00::/16",
    "fd00::1/128",
    "fe80::/10",
];

pub(crate) fn mac(source: &mut Source<'_>) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(source.below(6)).unwrap()])
}

pub(crate) fn address(source: &mut Source<'_>) -> IpAddr {
    source.pick(&ADDRESSES).parse().unwrap()
}

fn text(source: &mut Source<'_>, items: &[&str]) -> Arc<str> {
    (*source.pick(items)).into()
}

fn network_name(source: &mut Source<'_>) -> NamespacedName {
    let (namespace, name) = *source.pick(&NETWORKS);
    NamespacedName::new(namespace, name)
}

fn labels(source: &mut Source<'_>) -> Labels {
    source.several(0, 2, |source| (text(source, &KEYS), text(source, &VALUES))).into_iter().collect()
}

fn selector(source: &mut Source<'_>) -> Selector {
    let most = *source.pick(&[0, 0, 1, 2]);
    Selector::new(source.several(0, most, |source| {
        let key = text(source, &KEYS);
        let values = |source: &mut Source<'_>| {
            source.several(1, 2, |source| text(source, &VALUES)).into_iter().collect()
        };
        let operator = match source.below(6) {
            0..=2 => Operator::In(values(source)),
            3 => Operator::NotIn(values(source)),
            4 => Operator::Exists,
            _ => Operator::DoesNotExist,
        };
        Requirement { key, operator }
    }))
}

fn protocol(source: &mut Source<'_>) -> Protocol {
    *source.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

pub(crate) fn pod(source: &mut Source<'_>) -> Pod {
    let attachments = source.several(0, 2, |source| Attachment {
        network: network_name(source),
        interface: text(source, &INTERFACES),
        mac: source.maybe(7, 8, mac),
        addresses: source.several(0, 2, address),
    });
    Pod {
        id: NamespacedName::new(text(source, &NAMESPACES), text(source, &PODS)),
        labels: labels(source),
        node: source.maybe(7, 8, |source| text(source, &[NODE, NODE, NODE, "there"])),
        attachments,
        ports: source.several(0, 3, |source| ContainerPort {
            name: text(source, &PORT_NAMES),
            protocol: protocol(source),
            port: *source.pick(&PORTS),
        }),
    }
}

fn peer(source: &mut Source<'_>) -> Peer {
    if source.chance(1, 3) {
        let except = source.several(0, 2, |source| source.pick(&BLOCKS).parse().unwrap());
        return Peer::Block(Block::new(source.pick(&BLOCKS).parse().unwrap(), except));
    }
    let namespaces = if source.chance(1, 2) {
        NamespaceScope::Matching(selector(source))
    } else {
        NamespaceScope::Named(text(source, &NAMESPACES))
    };
    Peer::Pods { namespaces, pods: selector(source) }
}

fn port_match(source: &mut Source<'_>) -> PortMatch {
    let numbers = match source.below(4) {
        0 => PortNumbers::All,
        1 => PortNumbers::Named(text(source, &PORT_NAMES)),
        _ => {
            let (one, other) = (*source.pick(&PORTS), *source.pick(&PORTS));
            if source.chance(1, 2) {
                PortNumbers::Range(one, one)
            } else {
                PortNumbers::Range(one.min(other), one.max(other))
            }
        }
    };
    PortMatch { protocol: protocol(source), numbers }
}

fn rule(source: &mut Source<'_>) -> PolicyRule {
    let peers = source.maybe(3, 4, |source| source.several(0, 2, peer)).map_or(Peers::Any, Peers::Listed);
    let ports =
        source.maybe(2, 4, |source| source.several(0, 3, port_match)).map_or(Ports::Any, Ports::Listed);
    PolicyRule { peers, ports }
}

pub(crate) fn policy(source: &mut Source<'_>) -> Policy {
    let mut networks = source.several(1, 2, network_name);
    networks.sort_unstable();
    networks.dedup();
    Policy {
        id: NamespacedName::new(text(source, &NAMESPACES), text(source, &POLICIES)),
        networks,
        selector: selector(source),
        ingress: source.maybe(2, 3, |source| source.several(0, 2, rule)),
        egress: source.maybe(2, 3, |source| source.several(0, 2, rule)),
        log: source.maybe(1, 3, log_wish),
        problems: Vec::new(),
    }
}

fn log_wish(source: &mut Source<'_>) -> LogWish {
    *source.pick(&[LogWish::Drop, LogWish::All])
}

pub(crate) fn guard(source: &mut Source<'_>) -> Guard {
    *source.pick(&[Guard::Mac, Guard::MacIp])
}

pub(crate) fn network(source: &mut Source<'_>) -> Network {
    let config = match source.below(8) {
        0 => NetworkConfig::Other { plugin: "macvlan".into() },
        1 => NetworkConfig::Unreadable { reason: "no plugin".into() },
        _ => NetworkConfig::Bridge(BridgeNetwork {
            bridge: text(source, &BRIDGES),
            vlan: source.maybe(1, 4, |source| *source.pick(&[1, 30, 40])),
            dhcp: source.chance(1, 3),
            guard: source.maybe(1, 6, guard),
        }),
    };
    Network { id: network_name(source), config }
}

/// Every network there is a name for, most of them managed.
pub(crate) fn all_networks(source: &mut Source<'_>) -> Vec<Network> {
    let named = |(namespace, name): &(&str, &str), source: &mut Source<'_>| {
        let id = NamespacedName::new(*namespace, *name);
        Network { id, ..network(source) }
    };
    NETWORKS.iter().map(|name| named(name, source)).collect()
}

/// The name that some port has, or none.
pub(crate) fn port_name(source: &mut Source<'_>) -> Arc<str> {
    format!("veth{}", 1 + source.below(6)).into()
}

pub(crate) fn port(source: &mut Source<'_>) -> BridgePort {
    let index = u32::try_from(1 + source.below(6)).unwrap();
    BridgePort {
        index,
        name: format!("veth{index}").into(),
        bridge: text(source, &BRIDGES),
        far_mac: source.maybe(3, 4, mac),
        far_name: source.maybe(3, 4, |source| text(source, &INTERFACES)),
        kind: *source.pick(&[PortKind::Veth, PortKind::Veth, PortKind::Tap, PortKind::Uplink]),
        stations: source.several(0, 2, mac).into_iter().collect(),
    }
}

/// A port at whose far end an attachment of a random pod is, mostly with its own MAC.
pub(crate) fn port_of_a_pod(source: &mut Source<'_>, objects: &[Object], index: u32) -> Option<BridgePort> {
    let pods: Vec<&Pod> = objects
        .iter()
        .filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None })
        .collect();
    if pods.is_empty() {
        return None;
    }
    let pod = *source.pick(&pods);
    let attachment = pod.attachments.first()?;
    let bridge = objects.iter().find_map(|object| match object {
        Object::Network(network) if network.id == attachment.network => match &network.config {
            NetworkConfig::Bridge(bridge) => Some(bridge.bridge.clone()),
            NetworkConfig::Other { .. } | NetworkConfig::Unreadable { .. } => None,
        },
        Object::Namespace(_) | Object::Network(_) | Object::Pod(_) | Object::Policy(_) | Object::Port(_) => {
            None
        }
    })?;
    Some(BridgePort {
        index,
        name: format!("veth{index}").into(),
        bridge,
        far_mac: attachment.mac,
        far_name: Some(attachment.interface.clone()),
        kind: PortKind::Veth,
        stations: source.several(0, 1, mac).into_iter().collect(),
    })
}

/// The object, but if it is a port, one behind which its bridge has learned nothing.
pub(crate) fn without_stations(object: Object) -> Object {
    let Object::Port(port) = object else { return object };
    Object::Port(BridgePort { stations: BTreeSet::new(), ..port })
}

pub(crate) fn object(source: &mut Source<'_>, kind: Kind) -> Object {
    match kind {
        Kind::Namespace => Object::Namespace(Namespace {
            name: text(source, &NAMESPACES),
            labels: labels(source),
            log: source.maybe(1, 4, log_wish),
        }),
        Kind::Network => Object::Network(network(source)),
        Kind::Pod => Object::Pod(pod(source)),
        Kind::Policy => Object::Policy(policy(source)),
        Kind::Port => Object::Port(port(source)),
    }
}

/// A kind, the ones that matter most more often.
pub(crate) fn kind(source: &mut Source<'_>) -> Kind {
    *source.pick(&[
        Kind::Pod,
        Kind::Pod,
        Kind::Pod,
        Kind::Policy,
        Kind::Policy,
        Kind::Policy,
        Kind::Port,
        Kind::Port,
        Kind::Network,
        Kind::Namespace,
    ])
}

/// The name of an object that may or may not exist.
pub(crate) fn id(source: &mut Source<'_>) -> ObjectId {
    let kind = kind(source);
    object(source, kind).id()
}

/// Objects of every kind, enough for policies to bite.
pub(crate) fn populated(source: &mut Source<'_>) -> Vec<(Kind, Vec<Object>)> {
    let counts =
        [(Kind::Namespace, 4), (Kind::Network, 5), (Kind::Pod, 8), (Kind::Policy, 8), (Kind::Port, 6)];
    counts
        .into_iter()
        .map(|(kind, max)| (kind, source.several(max / 2, max, |source| object(source, kind))))
        .collect()
}
