//! ARP and neighbour discovery seen from one end: which rules they are judged by, and who may be meant by their addresses.
//!
//! The other end is named by the address that the frame gives for it: ARP's sender or target address, or the source or
//! destination of the IPv6 packet. A solicitation by multicast goes to the solicited-node address of whom it seeks.

use core::net::{IpAddr, Ipv6Addr};

use super::PeerFit;
use super::view::View;
use crate::frame::{Payload, Transport};
use crate::interval;
use crate::model::{Attachment, Block, Direction};

/// A neighbour solicitation: RFC 4861 section 4.3.
const SOLICITATION: u8 = 135;
/// A neighbour advertisement: RFC 4861 section 4.4.
const ADVERTISEMENT: u8 = 136;

/// The part of an address that its solicited-node address repeats: RFC 4291 section 2.7.1.
const NODE_MASK: u128 = 0x00ff_ffff;
/// `ff02::1:ff00:0/104`, where all solicited-node addresses are.
const NODE_PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;

/// Which rules an ARP or neighbour discovery frame is judged by; their ports never count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Somebody looks for somebody: the rules of the frame's own direction.
    Search,
    /// Hosts that may know each other confirm or renew it: the rules of both directions, either of which may admit it.
    Renewal,
}

/// Whether an ICMPv6 message is a neighbour solicitation or advertisement.
pub(super) const fn is_neighbourly(transport: &Transport) -> bool {
    matches!(transport, Transport::Icmp { kind: SOLICITATION | ADVERTISEMENT, .. })
}

impl View<'_> {
    /// How the frame is judged at `attachment`, when it is ARP, or a neighbour solicitation or advertisement.
    pub(super) fn meeting(&self, attachment: &Attachment) -> Option<Meeting> {
        let searches = match &self.frame.payload {
            Payload::Arp { operation, target_ip, .. } => {
                let mut own = attachment.addresses.iter().filter(|address| address.is_ipv4()).peekable();
                // A request to an end with known addresses that asks for none of them does not look for it.
                let concerns = self.direction == Direction::Egress
                    || own.peek().is_none()
                    || own.any(|address| address == target_ip);
                *operation == 1 && concerns
            }
            Payload::Ip { .. } => self.neighbour_message()? == SOLICITATION,
            Payload::Other { .. } => return None,
        };
        Some(if searches && self.is_multicast() { Meeting::Search } else { Meeting::Renewal })
    }

    /// The type of a neighbour solicitation or advertisement.
    fn neighbour_message(&self) -> Option<u8> {
        match &self.frame.payload {
            Payload::Ip {
                source: IpAddr::V6(_),
                transport: Transport::Icmp { kind: kind @ (SOLICITATION | ADVERTISEMENT), .. },
                ..
            } => Some(*kind),
            Payload::Arp { .. } | Payload::Ip { .. } | Payload::Other { .. } => None,
        }
    }

    /// The solicited-node address to which the end sends neighbour discovery, if it does.
    fn sought(&self) -> Option<Ipv6Addr> {
        self.neighbour_message()?;
        match (self.direction, self.other_address()?) {
            (Direction::Egress, IpAddr::V6(address)) if address.to_bits() & !NODE_MASK == NODE_PREFIX => {
                Some(address)
            }
            (Direction::Egress | Direction::Ingress, _) => None,
        }
    }

    /// Whether the end sends neighbour discovery to the solicited-node address of `address`.
    pub(super) fn seeks(&self, address: IpAddr) -> bool {
        match (self.sought(), address) {
            (Some(sought), IpAddr::V6(address)) => {
                sought.to_bits() ^ NODE_PREFIX == address.to_bits() & NODE_MASK
            }
            (_, IpAddr::V4(_)) | (None, _) => false,
        }
    }

    /// Whether the frame is half of the check by which hosts keep a neighbour entry (RFC 4861 section 7.3.3): a unicast
    /// solicitation from a link-local address, or the answer to one.
    fn keeps_entry(&self) -> bool {
        let half = match self.direction {
            Direction::Egress => ADVERTISEMENT,
            Direction::Ingress => SOLICITATION,
        };
        let link_local = match self.other_address() {
            Some(IpAddr::V6(address)) => address.is_unicast_link_local(),
            Some(IpAddr::V4(_)) | None => false,
        };
        self.neighbour_message() == Some(half) && link_local && !self.is_multicast()
    }

    /// Why a frame of neighbour discovery is for a block that does not have its address, if it is.
    pub(super) fn near_block(&self, block: &Block) -> Option<PeerFit> {
        let addresses = interval::addresses(&[block], true);
        if let Some(sought) = self.sought() {
            let node = sought.to_bits() & NODE_MASK;
            let has_node = |(low, high): &(u128, u128)| {
                let near = low & !NODE_MASK | node;
                let first = if near < *low { near.checked_add(NODE_MASK + 1) } else { Some(near) };
                first.is_some_and(|first| first <= *high)
            };
            if addresses.ranges().iter().any(has_node) {
                return Some(PeerFit::SoughtInBlock(sought));
            }
        }
        (self.keeps_entry() && !addresses.ranges().is_empty()).then_some(PeerFit::NeighbourCheck)
    }
}
