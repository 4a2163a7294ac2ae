//! A frame seen from one of its ends: who the other end is, and which service it asks for.

use core::net::IpAddr;

use super::{Exempt, Identity};
use crate::config::Config;
use crate::frame::{FrameSpec, Payload, Transport};
use crate::model::{Attachment, Direction, Mac, Protocol};

/// A frame and the direction in which the end sees it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) direction: Direction,
    pub(super) frame: &'a FrameSpec,
}

impl View<'_> {
    fn other_mac(&self) -> Mac {
        match self.direction {
            Direction::Egress => self.frame.destination,
            Direction::Ingress => self.frame.source,
        }
    }

    /// The address of the other end, when the frame is an IP packet.
    pub(super) fn other_address(&self) -> Option<IpAddr> {
        match (&self.frame.payload, self.direction) {
            (Payload::Ip { destination, .. }, Direction::Egress) => Some(*destination),
            (Payload::Ip { source, .. }, Direction::Ingress) => Some(*source),
            (Payload::Arp { .. } | Payload::Other { .. }, _) => None,
        }
    }

    /// What `attachment` is known by, when it is the other end.
    pub(super) fn identity(&self, attachment: &Attachment) -> Option<Identity> {
        let has_mac = attachment.mac == Some(self.other_mac());
        let by_mac = |applies: bool| (applies && has_mac).then_some(Identity::Mac);
        match (&self.frame.payload, self.other_address()) {
            (Payload::Other { .. }, _) => by_mac(true),
            (Payload::Ip { .. }, Some(address)) => {
                if attachment.addresses.contains(&address) {
                    return Some(Identity::Address);
                }
                if attachment.mac.is_some_and(|mac| mac.link_local() == address) {
                    return Some(Identity::LinkLocal);
                }
                by_mac(attachment.addresses.is_empty())
            }
            (Payload::Arp { .. } | Payload::Ip { .. }, _) => None,
        }
    }

    /// Protocol and destination port of a packet that has them.
    pub(super) fn service(&self) -> Option<(Protocol, u16)> {
        let Payload::Ip { transport, .. } = &self.frame.payload else { return None };
        match transport {
            Transport::Sctp { destination_port, .. } => Some((Protocol::Sctp, *destination_port)),
            Transport::Tcp { destination_port, .. } => Some((Protocol::Tcp, *destination_port)),
            Transport::Udp { destination_port, .. } => Some((Protocol::Udp, *destination_port)),
            // Built with eight zero bytes, in which a destination port of 0 is read.
            Transport::Other(number) => {
                let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.number() == *number);
                protocol.map(|protocol| (protocol, 0))
            }
            Transport::Echo { .. } | Transport::Icmp { .. } => None,
        }
    }

    /// Why the frame passes whatever the policies say, if it does.
    pub(super) fn exempt(&self, config: &Config) -> Option<Exempt> {
        match &self.frame.payload {
            Payload::Arp { .. } => Some(Exempt::Arp),
            Payload::Ip { source, transport, .. } => exempt_icmp(source.is_ipv6(), transport, config),
            Payload::Other { .. } => None,
        }
    }
}

/// Neighbour discovery is RFC 4861 section 4 (types 133 to 136); multicast listener reports are RFC 3810 section 5.2 (143).
fn exempt_icmp(ip6: bool, transport: &Transport, config: &Config) -> Option<Exempt> {
    let kind = match transport {
        Transport::Icmp { kind, .. } => Some(*kind),
        Transport::Echo { .. } => None,
        Transport::Other(_) | Transport::Sctp { .. } | Transport::Tcp { .. } | Transport::Udp { .. } => {
            return None;
        }
    };
    match (ip6, kind) {
        (true, Some(133..=136 | 143)) => Some(Exempt::NeighbourDiscovery),
        (true, _) => config.accept_icmp6.then_some(Exempt::AcceptedIcmp6),
        (false, _) => config.accept_icmp.then_some(Exempt::AcceptedIcmp),
    }
}
