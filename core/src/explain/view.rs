//! A frame seen from one of its ends: who the other end is, and which service it asks for.

use core::net::IpAddr;

use super::Identity;
use super::neighbours::Meeting;
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

    /// Whether the frame is for more than one station: the group bit of IEEE 802.3 section 3.2.3.
    pub(super) const fn is_multicast(&self) -> bool {
        self.frame.destination.0[0] & 1 == 1
    }

    /// The address by which the frame names the other end, when it is ARP or an IP packet.
    pub(super) fn other_address(&self) -> Option<IpAddr> {
        match (&self.frame.payload, self.direction) {
            (Payload::Arp { target_ip, .. }, Direction::Egress) => Some(IpAddr::V4(*target_ip)),
            (Payload::Arp { sender_ip, .. }, Direction::Ingress) => Some(IpAddr::V4(*sender_ip)),
            (Payload::Ip { destination, .. }, Direction::Egress) => Some(*destination),
            (Payload::Ip { source, .. }, Direction::Ingress) => Some(*source),
            (Payload::Other { .. }, _) => None,
        }
    }

    /// What `attachment` is known by, when it is the other end of a frame that is judged as `meeting` says.
    pub(super) fn identity(&self, attachment: &Attachment, meeting: Option<Meeting>) -> Option<Identity> {
        let by_mac = (attachment.mac == Some(self.other_mac())).then_some(Identity::Mac);
        let Some(address) = self.other_address() else { return by_mac };
        let link_local = attachment.mac.map(|mac| IpAddr::V6(mac.link_local()));
        if attachment.addresses.contains(&address) {
            return Some(Identity::Address);
        }
        if link_local == Some(address) {
            return Some(Identity::LinkLocal);
        }
        if attachment.addresses.iter().copied().chain(link_local).any(|address| self.seeks(address)) {
            return Some(Identity::Sought);
        }
        let unlisted = attachment.addresses.is_empty();
        let egress = self.direction == Direction::Egress;
        // Whoever asks before it has an address is known by its MAC alone.
        let nameless = meeting.is_some() && !egress && address.is_unspecified();
        let by_mac = by_mac.filter(|_| unlisted || nameless);
        let searched = meeting.is_some() && unlisted && egress && self.is_multicast();
        by_mac.or_else(|| searched.then_some(Identity::Unlisted))
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
}
