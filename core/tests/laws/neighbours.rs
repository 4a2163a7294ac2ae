//! The oracle on ARP and neighbour discovery: the first table of the contract's section on layer 2, row by row.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_core::frame::{Payload, Transport};
use policy_core::model::{Attachment, Direction, Mac, Peer, Peers, Pod};

use crate::oracle::{Judged, Oracle, View, eui64, judged, selects};

/// The other end of a frame, as far as the frame names it.
struct Other {
    mac: Mac,
    address: IpAddr,
    /// Whether the frame looks for somebody, and is for everybody.
    seeks: bool,
    /// Whether it is a unicast check by which hosts keep their neighbour entries, asked from or answered to a
    /// link-local address.
    keeps: bool,
}

impl Oracle<'_> {
    /// The verdict on an ARP or neighbour discovery frame at an isolated attachment; `None` for any other frame.
    pub(crate) fn neighbourly(&self, pod: &Pod, own: &Attachment, view: &View<'_>) -> Option<Judged> {
        let group = view.frame.destination.0[0] & 1 == 1;
        let both = |other: &Other| {
            Direction::ALL
                .into_iter()
                .any(|direction| self.admits(pod, own, direction, view.direction, other))
        };
        let (passes, feature) = match &view.frame.payload {
            Payload::Arp { operation, sender_ip, target_ip, .. } => {
                let own_ip4: Vec<IpAddr> = own.addresses.iter().copied().filter(IpAddr::is_ipv4).collect();
                let other = |address: &Ipv4Addr, mac| Other {
                    mac,
                    address: IpAddr::V4(*address),
                    seeks: group,
                    keeps: false,
                };
                match view.direction {
                    Direction::Egress => {
                        let target = other(target_ip, view.frame.destination);
                        let announces = if own_ip4.is_empty() {
                            sender_ip == target_ip
                        } else {
                            own_ip4.contains(&IpAddr::V4(*target_ip))
                        };
                        match (*operation == 1, group) {
                            (true, _) if sender_ip.is_unspecified() => (true, "own arp probe"),
                            _ if announces => (true, "own arp announcement"),
                            (true, true) => (
                                self.admits(pod, own, Direction::Egress, view.direction, &target),
                                "arp discovery by the pod",
                            ),
                            _ => (both(&target), "unicast arp or reply"),
                        }
                    }
                    Direction::Ingress => {
                        let sender = other(sender_ip, view.frame.source);
                        let sought = own_ip4.is_empty() || own_ip4.contains(&IpAddr::V4(*target_ip));
                        if *operation == 1 && group && sought {
                            (
                                self.admits(pod, own, Direction::Ingress, view.direction, &sender),
                                "arp discovery of the pod",
                            )
                        } else {
                            (both(&sender), "unicast arp or reply")
                        }
                    }
                }
            }
            Payload::Ip { source: IpAddr::V6(source), destination: IpAddr::V6(destination), transport } => {
                let Transport::Icmp { kind, .. } = transport else { return None };
                self.discovery(pod, own, view, *kind, *source, *destination)?
            }
            Payload::Ip { .. } | Payload::Other { .. } => return None,
        };
        Some(judged(passes, [feature]))
    }

    fn discovery(
        &self,
        pod: &Pod,
        own: &Attachment,
        view: &View<'_>,
        kind: u8,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Option<(bool, &'static str)> {
        let group = view.frame.destination.0[0] & 1 == 1;
        let (address, mac) = match view.direction {
            Direction::Egress => (destination, view.frame.destination),
            Direction::Ingress => (source, view.frame.source),
        };
        let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
        let checks = if view.direction == Direction::Ingress { kind == 135 } else { kind == 136 };
        let other =
            Other { mac, address: IpAddr::V6(address), seeks: group, keeps: checks && link_local && !group };
        let both = || {
            Direction::ALL
                .into_iter()
                .any(|direction| self.admits(pod, own, direction, view.direction, &other))
        };
        Some(match (view.direction, kind) {
            (Direction::Egress, 133) => (true, "router solicitation"),
            (Direction::Egress, 131 | 132 | 143) => (true, "listener report"),
            (Direction::Egress, 135) if source.is_unspecified() => (true, "duplicate address detection"),
            (Direction::Egress, 136) if group => (true, "own unsolicited advertisement"),
            (Direction::Ingress, 134) => {
                let from_a_pod =
                    view.from_port.and_then(|port| self.port(port)).is_some_and(|port| self.is_owned(port));
                (
                    !from_a_pod,
                    if from_a_pod { "router advertisement of a pod" } else { "router advertisement" },
                )
            }
            (direction, 135) if group => {
                (self.admits(pod, own, direction, view.direction, &other), "neighbour solicitation")
            }
            (_, 135 | 136) => (both(), "unicast solicitation or advertisement"),
            _ => return None,
        })
    }

    /// Whether the attachment admits the other end in `direction`: it is not isolated there, or some selecting policy has
    /// a rule with a peer that covers it, whatever the ports.
    fn admits(
        &self,
        pod: &Pod,
        own: &Attachment,
        direction: Direction,
        travels: Direction,
        other: &Other,
    ) -> bool {
        let selecting = self.isolating(pod, own, direction);
        selecting.is_empty()
            || selecting.iter().any(|policy| {
                policy.rules(direction).unwrap().iter().any(|rule| match &rule.peers {
                    Peers::Any => true,
                    Peers::Listed(peers) => {
                        peers.iter().any(|peer| self.covers(&policy.networks, peer, travels, other))
                    }
                })
            })
    }

    fn covers(
        &self,
        networks: &[policy_core::model::NamespacedName],
        peer: &Peer,
        travels: Direction,
        other: &Other,
    ) -> bool {
        match peer {
            Peer::Block(block) => {
                let within = |address: IpAddr| {
                    block.cidr().contains(&address)
                        && !block.except().iter().any(|net| net.contains(&address))
                };
                let empty = block.except().contains(&block.cidr());
                let kept = other.keeps && block.cidr().addr().is_ipv6() && !empty;
                let sought = match other.address {
                    IpAddr::V6(address) if travels == Direction::Egress => candidates(block.cidr(), address)
                        .into_iter()
                        .any(|candidate| within(IpAddr::V6(candidate))),
                    IpAddr::V4(_) | IpAddr::V6(_) => false,
                };
                kept || sought || within(other.address)
            }
            Peer::Pods { namespaces, pods } => self.pods().any(|peer| {
                self.namespace_matches(namespaces, &peer.id.namespace).is_some()
                    && selects(pods, &peer.labels)
                    && peer
                        .attachments
                        .iter()
                        .filter(|attachment| networks.contains(&attachment.network))
                        .any(|attachment| is_end(attachment, travels, other))
            }),
        }
    }
}

/// Whether the other end of the frame is this attachment.
fn is_end(attachment: &Attachment, travels: Direction, other: &Other) -> bool {
    let link_local = attachment.mac.map(|mac| IpAddr::V6(eui64(mac)));
    let mut addresses = attachment.addresses.iter().copied().chain(link_local);
    let by_mac = attachment.mac == Some(other.mac);
    let by_address = addresses.any(|address| {
        other.address == address
            || travels == Direction::Egress
                && match (address, other.address) {
                    (IpAddr::V6(address), IpAddr::V6(sought)) => solicited(address) == sought,
                    _ => false,
                }
    });
    let nameless = attachment.addresses.is_empty();
    by_address
        || nameless && by_mac
        || nameless && other.seeks && travels == Direction::Egress
        || other.address.is_unspecified() && by_mac && travels == Direction::Ingress
}

/// RFC 4291 section 2.7.1, from its text.
fn solicited(address: Ipv6Addr) -> Ipv6Addr {
    let octets = address.octets();
    format!("ff02::1:ff{:02x}:{:02x}{:02x}", octets[13], octets[14], octets[15]).parse().unwrap()
}

/// Addresses of a prefix to which a solicitation for `node` may be addressed.
fn candidates(cidr: ipnet::IpNet, node: Ipv6Addr) -> Vec<Ipv6Addr> {
    let ipnet::IpNet::V6(net) = cidr else { return Vec::new() };
    if node.octets()[..13] != [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff] {
        return Vec::new();
    }
    let base = net.network().to_bits();
    let low = node.to_bits() & 0x00ff_ffff;
    let with = |high: u128| Ipv6Addr::from_bits((base & !0x00ff_ffff) | high | low);
    [0, 1 << 24, 1 << 40, 1 << 64, 1 << 100, 1 << 120]
        .into_iter()
        .map(with)
        .filter(|address| net.contains(address))
        .collect()
}
