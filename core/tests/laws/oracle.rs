//! The policy text, interpreted directly: what may pass between two ports, found by looking at every object.
//!
//! Written from the contract, and sharing nothing with the compiler but the nouns of the model: selectors, blocks and
//! ports are read here once more. Slow and plain on purpose.

use std::collections::BTreeSet;
use std::net::IpAddr;

use policy_core::Config;
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{
    Attachment, Block, BridgeNetwork, BridgePort, Direction, Labels, Mac, NamespaceScope, NetworkConfig,
    Object, Operator, Peer, Peers, Pod, Policy, PolicyRule, PortMatch, PortNumbers, Ports, Protocol,
    Selector,
};

/// What made a verdict what it is: names of language features.
pub(crate) type Features = BTreeSet<&'static str>;

/// A world as a plain list of objects.
pub(crate) struct Oracle<'a> {
    pub(crate) objects: &'a [Object],
    pub(crate) config: &'a Config,
}

/// The verdict of one direction.
pub(crate) struct Judged {
    pub(crate) passes: bool,
    pub(crate) because: Features,
}

pub(crate) fn judged(passes: bool, because: impl IntoIterator<Item = &'static str>) -> Judged {
    Judged { passes, because: because.into_iter().collect() }
}

/// A frame seen from one end.
pub(crate) struct View<'a> {
    pub(crate) direction: Direction,
    pub(crate) frame: &'a FrameSpec,
    /// The port that the frame came in by, where the end that judges it is not behind that port.
    pub(crate) from_port: Option<u32>,
}

impl View<'_> {
    fn peer_mac(&self) -> Mac {
        match self.direction {
            Direction::Egress => self.frame.destination,
            Direction::Ingress => self.frame.source,
        }
    }

    fn peer_address(&self) -> Option<IpAddr> {
        match (&self.frame.payload, self.direction) {
            (Payload::Ip { destination, .. }, Direction::Egress) => Some(*destination),
            (Payload::Ip { source, .. }, Direction::Ingress) => Some(*source),
            (Payload::Arp { .. } | Payload::Other { .. }, _) => None,
        }
    }

    /// Protocol and destination port of a packet that has them.
    fn service(&self) -> Option<(Protocol, u16)> {
        let Payload::Ip { transport, .. } = &self.frame.payload else { return None };
        match transport {
            Transport::Tcp { destination_port, .. } => Some((Protocol::Tcp, *destination_port)),
            Transport::Udp { destination_port, .. } => Some((Protocol::Udp, *destination_port)),
            Transport::Sctp { destination_port, .. } => Some((Protocol::Sctp, *destination_port)),
            Transport::Echo { .. } | Transport::Icmp { .. } | Transport::Other(_) => None,
        }
    }
}

impl<'a> Oracle<'a> {
    pub(crate) fn pods(&self) -> impl Iterator<Item = &'a Pod> {
        self.objects.iter().filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None })
    }

    fn policies(&self) -> impl Iterator<Item = &'a Policy> {
        self.objects
            .iter()
            .filter_map(|object| if let Object::Policy(policy) = object { Some(policy) } else { None })
    }

    pub(crate) fn port(&self, index: u32) -> Option<&'a BridgePort> {
        self.objects.iter().find_map(|object| match object {
            Object::Port(port) if port.index == index => Some(port),
            Object::Namespace(_)
            | Object::Network(_)
            | Object::Pod(_)
            | Object::Policy(_)
            | Object::Port(_) => None,
        })
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = &'a BridgePort> {
        self.objects
            .iter()
            .filter_map(|object| if let Object::Port(port) = object { Some(port) } else { None })
    }

    pub(crate) fn bridge(&self, attachment: &Attachment) -> Option<&'a BridgeNetwork> {
        self.objects.iter().find_map(|object| match object {
            Object::Network(network) if network.id == attachment.network => match &network.config {
                NetworkConfig::Bridge(bridge) => Some(bridge),
                NetworkConfig::Other { .. } | NetworkConfig::Unreadable { .. } => None,
            },
            Object::Namespace(_)
            | Object::Network(_)
            | Object::Pod(_)
            | Object::Policy(_)
            | Object::Port(_) => None,
        })
    }

    /// Attachments of this node on managed networks.
    fn locals(&self) -> impl Iterator<Item = (&'a Pod, &'a Attachment, &'a BridgeNetwork)> {
        let here = self.pods().filter(|pod| pod.node.as_deref() == Some(&*self.config.node));
        let all = here.flat_map(|pod| pod.attachments.iter().map(move |attachment| (pod, attachment)));
        all.filter_map(|(pod, attachment)| Some((pod, attachment, self.bridge(attachment)?)))
    }

    /// The attachments that a port may belong to: by its far end, else, unless it leads to a network, by what the bridge has
    /// learned there.
    pub(crate) fn owners(&self, port: &BridgePort) -> Vec<(&'a Pod, &'a Attachment)> {
        let with = |mac: Mac| {
            let of_mac = self.locals().filter(move |(_, attachment, bridge)| {
                attachment.mac == Some(mac) && bridge.bridge == port.bridge
            });
            of_mac.map(|(pod, attachment, _)| (pod, attachment)).collect::<Vec<_>>()
        };
        let by_far_end = port.far_mac.map(with).unwrap_or_default();
        if !by_far_end.is_empty() || self.leads_to_a_network(port) {
            return by_far_end;
        }
        let anchored =
            |mac: Mac| self.ports().any(|other| other.bridge == port.bridge && other.far_mac == Some(mac));
        port.stations.iter().filter(|mac| !anchored(**mac)).flat_map(|mac| with(*mac)).collect()
    }

    /// Whether a port belongs to an attachment.
    pub(crate) fn is_owned(&self, port: &BridgePort) -> bool {
        !self.owners(port).is_empty()
    }

    /// Whether the compiler would have to choose: the generator leaves such worlds out.
    pub(crate) fn is_ambiguous(&self) -> bool {
        let owners: Vec<_> = self.ports().map(|port| self.owners(port)).collect();
        let waiting: Vec<Mac> = self
            .locals()
            .filter(|(_, attachment, _)| {
                !owners.iter().flatten().any(|(_, owned)| core::ptr::eq(*owned, *attachment))
            })
            .filter_map(|(_, attachment, _)| attachment.mac)
            .collect();
        let distinct: BTreeSet<Mac> = waiting.iter().copied().collect();
        owners.iter().any(|owners| owners.len() > 1) || distinct.len() < waiting.len() || self.is_disputed()
    }

    /// Whether a bridge has learned the MAC of one attachment behind several ports that may belong to it.
    fn is_disputed(&self) -> bool {
        let by_station = self
            .ports()
            .filter(|port| self.owners(port).iter().any(|(_, attachment)| attachment.mac != port.far_mac));
        let owned = by_station.flat_map(|port| self.owners(port)).map(|(_, attachment)| attachment);
        let owned: Vec<*const Attachment> = owned.map(core::ptr::from_ref).collect();
        owned.iter().collect::<BTreeSet<_>>().len() < owned.len()
    }

    /// The attachment whose policies judge what passes `port` with the attachment's end at `mac`.
    fn judge_of(&self, port: u32, mac: Mac) -> Option<(&'a Pod, &'a Attachment)> {
        let known = self.port(port).map(|port| self.owners(port)).unwrap_or_default();
        if let Some(owner) = known.first() {
            return Some(*owner);
        }
        let owned = |attachment: &Attachment| {
            self.ports()
                .any(|port| self.owners(port).iter().any(|(_, owned)| core::ptr::eq(*owned, attachment)))
        };
        self.locals()
            .find(|(_, attachment, _)| attachment.mac == Some(mac) && !owned(attachment))
            .map(|(pod, attachment, _)| (pod, attachment))
    }

    /// Whether a frame may leave the attachment behind `port`.
    pub(crate) fn egress(&self, port: u32, frame: &FrameSpec) -> Judged {
        if self.is_quarantined(port) {
            return judged(false, ["quarantine"]);
        }
        if let Some(breach) = self.breach(port, frame) {
            return judged(false, [breach]);
        }
        self.direction(port, frame.source, &View { direction: Direction::Egress, frame, from_port: None })
    }

    /// Whether a frame that came in by `from` may reach the attachment behind `port`.
    pub(crate) fn ingress(&self, from: Option<u32>, port: u32, frame: &FrameSpec) -> Judged {
        if self.is_quarantined(port) {
            return judged(false, ["quarantine"]);
        }
        let view = View { direction: Direction::Ingress, frame, from_port: from };
        self.direction(port, frame.destination, &view)
    }

    fn direction(&self, port: u32, own_mac: Mac, view: &View<'_>) -> Judged {
        let Some((pod, attachment)) = self.judge_of(port, own_mac) else {
            return judged(true, ["not managed"]);
        };
        let selecting = self.isolating(pod, attachment, view.direction);
        if selecting.is_empty() {
            return judged(true, ["not isolated"]);
        }
        if let Some(neighbourly) = self.neighbourly(pod, attachment, view) {
            return neighbourly;
        }
        if let Some(feature) = self.always(attachment, view) {
            return judged(true, [feature]);
        }
        let mut ways = Vec::new();
        for policy in &selecting {
            for rule in policy.rules(view.direction).unwrap() {
                self.ways(policy, rule, pod, view, &mut ways);
            }
        }
        let mut because: Features = match &ways[..] {
            [] => self.denied(&selecting, pod, view),
            // Only a way that no other way replaces decides the verdict.
            [only] => only.clone(),
            _ => Features::new(),
        };
        if selecting.len() > 1 && ways.len() == 1 {
            because.insert("union of policies");
        }
        Judged { passes: !ways.is_empty(), because }
    }

    /// The policies that isolate an attachment in a direction.
    pub(crate) fn isolating(
        &self,
        pod: &Pod,
        attachment: &Attachment,
        direction: Direction,
    ) -> Vec<&'a Policy> {
        self.policies()
            .filter(|policy| policy.id.namespace == pod.id.namespace)
            .filter(|policy| policy.networks.contains(&attachment.network))
            .filter(|policy| selects(&policy.selector, &pod.labels))
            .filter(|policy| policy.rules(direction).is_some())
            .collect()
    }

    /// What passes an isolated attachment whatever its policies say, apart from neighbour discovery.
    fn always(&self, attachment: &Attachment, view: &View<'_>) -> Option<&'static str> {
        let Payload::Ip { source, transport, .. } = &view.frame.payload else { return None };
        match transport {
            Transport::Icmp { .. } | Transport::Echo { .. } => {
                let accepted =
                    if source.is_ipv6() { self.config.accept_icmp6 } else { self.config.accept_icmp };
                accepted.then_some("icmp accepted by configuration")
            }
            Transport::Udp { source_port, destination_port } => {
                let (client, server) = if source.is_ipv6() { (546, 547) } else { (68, 67) };
                let expected = match view.direction {
                    Direction::Egress => (client, server),
                    Direction::Ingress => (server, client),
                };
                let dhcp = self.bridge(attachment).is_some_and(|bridge| bridge.dhcp);
                (dhcp && expected == (*source_port, *destination_port)).then_some("dhcp client")
            }
            Transport::Other(_) | Transport::Sctp { .. } | Transport::Tcp { .. } => None,
        }
    }

    /// Every way in which `rule` allows the frame, each with the features that it uses.
    fn ways(&self, policy: &Policy, rule: &PolicyRule, pod: &Pod, view: &View<'_>, ways: &mut Vec<Features>) {
        let peers: Vec<Option<&Peer>> = match &rule.peers {
            Peers::Any => vec![None],
            Peers::Listed(peers) => peers.iter().map(Some).collect(),
        };
        for peer in peers {
            let Some(by_peer) = self.peer_matches(policy, peer, view) else { continue };
            match &rule.ports {
                Ports::Any => ways.push(by_peer.iter().copied().chain([payload_feature(view)]).collect()),
                Ports::Listed(ports) => {
                    for port in ports {
                        if let Some(feature) = self.port_matches(policy, port, peer, pod, view) {
                            ways.push(
                                by_peer.iter().copied().chain([feature, payload_feature(view)]).collect(),
                            );
                        }
                    }
                }
            }
        }
    }

    /// Whether the other end is this peer (`None`: everyone), and by which features.
    fn peer_matches(&self, policy: &Policy, peer: Option<&Peer>, view: &View<'_>) -> Option<Features> {
        match peer {
            None => Some(["no peers"].into()),
            Some(Peer::Block(block)) => {
                let address = view.peer_address()?;
                let inside = |net: ipnet::IpNet| net.contains(&address);
                let within = inside(block.cidr()) && !block.except().iter().any(|net| inside(*net));
                let feature = if block.except().is_empty() { "ipBlock" } else { "ipBlock with except" };
                within.then(|| [feature].into())
            }
            Some(Peer::Pods { namespaces, pods }) => self.pods().find_map(|pod| {
                let scope = self.namespace_matches(namespaces, &pod.id.namespace)?;
                if !selects(pods, &pod.labels) {
                    return None;
                }
                let mut on_network =
                    pod.attachments.iter().filter(|attachment| policy.networks.contains(&attachment.network));
                let how = on_network.find_map(|attachment| carried_by(attachment, view))?;
                let expressions = pods.requirements().iter().any(
                    |requirement| !matches!(&requirement.operator, Operator::In(values) if values.len() == 1),
                );
                let written = if expressions { "match expressions" } else { "match labels" };
                Some([scope, how, written].into())
            }),
        }
    }

    pub(crate) fn namespace_matches(&self, scope: &NamespaceScope, namespace: &str) -> Option<&'static str> {
        match scope {
            NamespaceScope::Named(name) => (**name == *namespace).then_some("pods of the policy's namespace"),
            NamespaceScope::Matching(selector) => {
                let labels = self.objects.iter().find_map(|object| match object {
                    Object::Namespace(found) if *found.name == *namespace => Some(&found.labels),
                    Object::Namespace(_)
                    | Object::Network(_)
                    | Object::Pod(_)
                    | Object::Policy(_)
                    | Object::Port(_) => None,
                })?;
                selects(selector, labels).then_some("namespaceSelector")
            }
        }
    }

    /// Whether the packet goes to a port of this entry.
    fn port_matches(
        &self,
        policy: &Policy,
        entry: &PortMatch,
        peer: Option<&Peer>,
        pod: &Pod,
        view: &View<'_>,
    ) -> Option<&'static str> {
        let (protocol, port) = view.service()?;
        if protocol != entry.protocol {
            return None;
        }
        let has = |pod: &Pod, name: &str| {
            pod.ports
                .iter()
                .any(|named| *named.name == *name && named.protocol == protocol && named.port == port)
        };
        match (&entry.numbers, view.direction) {
            (PortNumbers::All, _) => Some("all ports of a protocol"),
            (PortNumbers::Range(low, high), _) => {
                let feature = if low == high { "port" } else { "port range" };
                (*low <= port && port <= *high).then_some(feature)
            }
            (PortNumbers::Named(name), Direction::Ingress) => {
                has(pod, name).then_some("named port of the selected pod")
            }
            (PortNumbers::Named(name), Direction::Egress) => {
                let covered = |receiver: &&Pod| match peer {
                    None | Some(Peer::Block(_)) => true,
                    Some(Peer::Pods { namespaces, pods }) => {
                        self.namespace_matches(namespaces, &receiver.id.namespace).is_some()
                            && selects(pods, &receiver.labels)
                    }
                };
                let receives = |receiver: &Pod| {
                    let on_network = |attachment: &&Attachment| policy.networks.contains(&attachment.network);
                    receiver.attachments.iter().filter(on_network).any(|attachment| match peer {
                        Some(Peer::Block(_)) => {
                            carried_by(attachment, view).is_some_and(|how| how != "peer by MAC")
                        }
                        None | Some(Peer::Pods { .. }) => carried_by(attachment, view).is_some(),
                    })
                };
                let found =
                    self.pods().filter(covered).any(|receiver| has(receiver, name) && receives(receiver));
                found.then_some("named port of the receiving peer")
            }
        }
    }

    /// Why nothing allows the frame: the features without which something would.
    fn denied(&self, selecting: &[&Policy], pod: &Pod, view: &View<'_>) -> Features {
        let mut because = Features::from(["isolation"]);
        for policy in selecting {
            for rule in policy.rules(view.direction).unwrap() {
                let without_ports = PolicyRule { ports: Ports::Any, ..rule.clone() };
                let without_peers = PolicyRule { peers: Peers::Any, ..rule.clone() };
                let without_except = PolicyRule { peers: without_except(&rule.peers), ..rule.clone() };
                for (feature, changed) in [
                    (
                        if view.service().is_some() {
                            "ports exclude"
                        } else {
                            "ports exclude icmp and others"
                        },
                        without_ports,
                    ),
                    ("peers exclude", without_peers),
                    ("except excludes", without_except),
                ] {
                    let mut ways = Vec::new();
                    self.ways(policy, &changed, pod, view, &mut ways);
                    if !ways.is_empty() {
                        because.insert(feature);
                    }
                }
            }
        }
        because
    }
}

fn without_except(peers: &Peers) -> Peers {
    let Peers::Listed(peers) = peers else { return Peers::Any };
    Peers::Listed(
        peers
            .iter()
            .map(|peer| match peer {
                Peer::Block(block) => Peer::Block(Block::new(block.cidr(), [])),
                Peer::Pods { .. } => peer.clone(),
            })
            .collect(),
    )
}

/// Whether the peer's end of the frame is this attachment, and by what.
fn carried_by(attachment: &Attachment, view: &View<'_>) -> Option<&'static str> {
    let by_mac = attachment.mac == Some(view.peer_mac());
    match (&view.frame.payload, view.peer_address()) {
        (Payload::Other { .. }, _) => by_mac.then_some("payload that is not IP, by MAC"),
        (_, Some(address)) => {
            if attachment.addresses.contains(&address) {
                return Some(if address.is_ipv4() { "peer by IPv4 address" } else { "peer by IPv6 address" });
            }
            if attachment.mac.is_some_and(|mac| IpAddr::V6(eui64(mac)) == address) {
                return Some("peer by link-local address");
            }
            (attachment.addresses.is_empty() && by_mac).then_some("peer by MAC")
        }
        (Payload::Arp { .. } | Payload::Ip { .. }, None) => None,
    }
}

/// RFC 4291 appendix A, from its text.
pub(crate) fn eui64(mac: Mac) -> std::net::Ipv6Addr {
    let m = mac.0;
    let text =
        format!("fe80::{:02x}{:02x}:{:02x}ff:fe{:02x}:{:02x}{:02x}", m[0] ^ 2, m[1], m[2], m[3], m[4], m[5]);
    text.parse().unwrap()
}

fn payload_feature(view: &View<'_>) -> &'static str {
    match &view.frame.payload {
        Payload::Ip { transport, .. } => match transport {
            Transport::Tcp { .. } => "tcp",
            Transport::Udp { .. } => "udp",
            Transport::Sctp { .. } => "sctp",
            Transport::Echo { .. } | Transport::Icmp { .. } => "icmp",
            Transport::Other(_) => "another ip protocol",
        },
        Payload::Arp { .. } | Payload::Other { .. } => "not ip",
    }
}

/// Label selectors, from the field text of `LabelSelector` and `LabelSelectorRequirement`.
pub(crate) fn selects(selector: &Selector, labels: &Labels) -> bool {
    selector.requirements().iter().all(|requirement| {
        let value = labels.iter().find(|(key, _)| **key == requirement.key).map(|(_, value)| value);
        match (&requirement.operator, value) {
            (Operator::In(values), Some(value)) => values.iter().any(|wanted| wanted == value),
            (Operator::In(_) | Operator::Exists, None) | (Operator::DoesNotExist, Some(_)) => false,
            (Operator::NotIn(values), Some(value)) => values.iter().all(|unwanted| unwanted != value),
            (Operator::NotIn(_) | Operator::DoesNotExist, None) | (Operator::Exists, Some(_)) => true,
        }
    })
}
