//! Ethernet frames: building them from values, and finding the headers in their bytes the way the kernel does.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Mac;
pub use crate::summary::Summary;

/// A frame to be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameSpec {
    /// Ethernet source.
    pub source: Mac,
    /// Ethernet destination.
    pub destination: Mac,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// An ARP packet for IPv4 over Ethernet: RFC 826.
    Arp {
        /// 1 is a request, 2 a reply.
        operation: u16,
        /// Sender hardware address.
        sender_mac: Mac,
        /// Sender protocol address.
        sender_ip: Ipv4Addr,
        /// Target hardware address.
        target_mac: Mac,
        /// Target protocol address.
        target_ip: Ipv4Addr,
    },
    /// An IP packet; both addresses must be of one family (the source decides).
    Ip {
        /// Source address.
        source: IpAddr,
        /// Destination address.
        destination: IpAddr,
        /// What the packet carries.
        transport: Transport,
    },
    /// Anything else.
    Other {
        /// The Ethernet type.
        ether_type: u16,
        /// The bytes behind it.
        bytes: Vec<u8>,
    },
}

/// What an IP packet carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// An ICMP or ICMPv6 echo message, by the packet's family: RFC 792, RFC 4443 section 4.
    Echo {
        /// Whether it is the request or the reply.
        request: bool,
        /// The identifier.
        id: u16,
    },
    /// Any other ICMP or ICMPv6 message.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The bytes behind the checksum.
        rest: Vec<u8>,
    },
    /// Another protocol, with eight bytes of nothing.
    Other(u8),
    /// SCTP: RFC 9260, the common header only.
    Sctp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
    },
    /// TCP: RFC 9293, a header without options.
    Tcp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
        /// The low byte of the flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
        flags: u8,
    },
    /// UDP without data.
    Udp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
    },
}

impl FrameSpec {
    /// The frame's bytes, with correct lengths and checksums, without padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(96);
        frame.extend(self.destination.0);
        frame.extend(self.source.0);
        match &self.payload {
            Payload::Arp { operation, sender_mac, sender_ip, target_mac, target_ip } => {
                frame.extend(0x0806_u16.to_be_bytes());
                frame.extend([0, 1, 8, 0, 6, 4]);
                frame.extend(operation.to_be_bytes());
                frame.extend(sender_mac.0);
                frame.extend(sender_ip.octets());
                frame.extend(target_mac.0);
                frame.extend(target_ip.octets());
            }
            Payload::Ip { source: IpAddr::V4(source), destination, transport } => {
                let IpAddr::V4(destination) = destination else { return frame };
                frame.extend(0x0800_u16.to_be_bytes());
                frame.extend(ip4(*source, *destination, transport));
            }
            Payload::Ip { source: IpAddr::V6(source), destination, transport } => {
                let IpAddr::V6(destination) = destination else { return frame };
                frame.extend(0x86dd_u16.to_be_bytes());
                frame.extend(ip6(*source, *destination, transport));
            }
            Payload::Other { ether_type, bytes } => {
                frame.extend(ether_type.to_be_bytes());
                frame.extend(bytes);
            }
        }
        frame
    }
}

/// An IPv4 packet: RFC 791.
fn ip4(source: Ipv4Addr, destination: Ipv4Addr, transport: &Transport) -> Vec<u8> {
    let mut pseudo = Vec::from(source.octets());
    pseudo.extend(destination.octets());
    let body = transport.bytes(false, &pseudo);
    let mut packet = Vec::from([0x45, 0]);
    packet.extend(length(20 + body.len()));
    packet.extend([0, 0, 0x40, 0, 64, transport.protocol(false), 0, 0]);
    packet.extend(pseudo);
    write_checksum(&mut packet, 10, &[]);
    packet.extend(body);
    packet
}

/// An IPv6 packet: RFC 8200. The hop limit is 255, as neighbour discovery demands (RFC 4861 section 7.1).
fn ip6(source: Ipv6Addr, destination: Ipv6Addr, transport: &Transport) -> Vec<u8> {
    let mut pseudo = Vec::from(source.octets());
    pseudo.extend(destination.octets());
    let body = transport.bytes(true, &pseudo);
    let mut packet = Vec::from([0x60, 0, 0, 0]);
    packet.extend(length(body.len()));
    packet.extend([transport.protocol(true), 255]);
    packet.extend(pseudo);
    packet.extend(body);
    packet
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

impl Transport {
    /// The number that announces this protocol in an IP header.
    fn protocol(&self, ip6: bool) -> u8 {
        match self {
            Self::Echo { .. } | Self::Icmp { .. } if ip6 => 58,
            Self::Echo { .. } | Self::Icmp { .. } => 1,
            Self::Other(number) => *number,
            Self::Sctp { .. } => 132,
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
        }
    }

    /// The transport's bytes; `addresses` are those of the pseudo-header (RFC 8200 section 8.1, RFC 9293
    /// section 3.1).
    fn bytes(&self, ip6: bool, addresses: &[u8]) -> Vec<u8> {
        let ports = |source: &u16, destination: &u16| {
            let mut bytes = Vec::from(source.to_be_bytes());
            bytes.extend(destination.to_be_bytes());
            bytes
        };
        let (mut bytes, checksum_at) = match self {
            Self::Echo { request, id } => {
                let kind = match (ip6, request) {
                    (false, true) => 8,
                    (false, false) => 0,
                    (true, true) => 128,
                    (true, false) => 129,
                };
                let [high, low] = id.to_be_bytes();
                (Vec::from([kind, 0, 0, 0, high, low, 0, 1]), Some(2))
            }
            Self::Icmp { kind, code, rest } => {
                let mut bytes = Vec::from([*kind, *code, 0, 0]);
                bytes.extend(rest);
                (bytes, Some(2))
            }
            Self::Other(_) => (Vec::from([0; 8]), None),
            Self::Sctp { source_port, destination_port } => {
                let mut bytes = ports(source_port, destination_port);
                bytes.extend([0; 8]);
                (bytes, None)
            }
            Self::Tcp { source_port, destination_port, flags } => {
                let mut bytes = ports(source_port, destination_port);
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                (bytes, Some(16))
            }
            Self::Udp { source_port, destination_port } => {
                let mut bytes = ports(source_port, destination_port);
                bytes.extend([0, 8, 0, 0]);
                (bytes, Some(6))
            }
        };
        if let Some(at) = checksum_at {
            let mut pseudo = Vec::new();
            if ip6 || !matches!(self, Self::Echo { .. } | Self::Icmp { .. }) {
                pseudo.extend(addresses);
                pseudo.extend([0, self.protocol(ip6)]);
                pseudo.extend(length(bytes.len()));
            }
            write_checksum(&mut bytes, at, &pseudo);
        }
        bytes
    }
}

/// Writes the Internet checksum (RFC 1071) of `pseudo` and `bytes` at `at`, where the bytes are still zero.
fn write_checksum(bytes: &mut [u8], at: usize, pseudo: &[u8]) {
    let words = |bytes: &[u8]| {
        bytes
            .chunks(2)
            .map(|pair| {
                let high = pair.first().copied().unwrap_or(0);
                let low = pair.get(1).copied().unwrap_or(0);
                u32::from(u16::from_be_bytes([high, low]))
            })
            .sum::<u32>()
    };
    let mut sum = words(pseudo) + words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap_or(0);
    for (place, byte) in bytes.iter_mut().skip(at).zip(checksum.to_be_bytes()) {
        *place = byte;
    }
}

/// Where the headers of a frame are, as nftables in the bridge family sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Headers {
    /// The payload's Ethernet type; that behind the tag for a frame with one.
    pub(crate) ether_type: u16,
    /// Where the network header starts.
    pub(crate) network: usize,
    /// The transport protocol and, unless the packet is a later fragment, where its header starts. `None` when the
    /// packet is no valid IP packet: the kernel then knows no transport header.
    pub(crate) transport: Option<(u8, Option<usize>)>,
}

impl Headers {
    /// Finds the headers; `None` when there is no Ethernet header.
    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let mut ether_type = read_u16(frame, 12)?;
        let mut network = 14;
        // The kernel takes one tag off into the packet's metadata before any bridge hook
        // (`skb_vlan_untag`, net/core/dev.c).
        if matches!(ether_type, 0x8100 | 0x88a8) {
            ether_type = read_u16(frame, 16)?;
            network = 18;
        }
        let transport = match ether_type {
            0x0800 => transport_of_ip4(frame, network),
            0x86dd => transport_of_ip6(frame, network),
            _ => None,
        };
        Some(Self { ether_type, network, transport })
    }
}

/// `__nft_set_pktinfo_ipv4_validate`, `include/net/netfilter/nf_tables_ipv4.h`.
fn transport_of_ip4(frame: &[u8], network: usize) -> Option<(u8, Option<usize>)> {
    let first = *frame.get(network)?;
    frame.get(network..network + 20)?;
    let header_bytes = usize::from(first & 0x0f) * 4;
    let total_bytes = usize::from(read_u16(frame, network + 2)?);
    let valid = first >> 4 == 4
        && header_bytes >= 20
        && frame.len() >= network + total_bytes
        && total_bytes >= header_bytes;
    let fragment_offset = read_u16(frame, network + 6)? & 0x1fff;
    let at = (fragment_offset == 0).then_some(network + header_bytes);
    valid.then_some((*frame.get(network + 9)?, at))
}

/// `__nft_set_pktinfo_ipv6_validate`, `include/net/netfilter/nf_tables_ipv6.h`, and `ipv6_find_hdr`,
/// `net/ipv6/exthdrs_core.c`.
fn transport_of_ip6(frame: &[u8], network: usize) -> Option<(u8, Option<usize>)> {
    let first = *frame.get(network)?;
    let payload_bytes = usize::from(read_u16(frame, network + 4)?);
    if first >> 4 != 6 || frame.len() < network + 40 + payload_bytes {
        return None;
    }
    let (mut next, mut at) = behind_options(frame, *frame.get(network + 6)?, network + 40)?;
    while next == FRAGMENT {
        if read_u16(frame, at + 2)? & 0xfff8 != 0 {
            return Some((*frame.get(at)?, None));
        }
        (next, at) = behind_options(frame, *frame.get(at)?, at + 8)?;
    }
    Some((next, Some(at)))
}

/// Where the fragment header of an IPv6 packet is (RFC 8200 section 4.5), if it has one.
pub(crate) fn fragment_header(frame: &[u8], network: usize) -> Option<usize> {
    let (next, at) = behind_options(frame, *frame.get(network + 6)?, network + 40)?;
    (next == FRAGMENT).then_some(at)
}

/// The number of the fragment header (RFC 8200 section 4.5).
const FRAGMENT: u8 = 44;

/// The first header, from the one of kind `next` at `at` on, that neither carries options nor authenticates: its kind, and
/// where it is.
pub(crate) fn behind_options(frame: &[u8], mut next: u8, mut at: usize) -> Option<(u8, usize)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    loop {
        let bytes = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => 8 + usize::from(*frame.get(at + 1)?) * 8,
            AUTHENTICATION => 8 + usize::from(*frame.get(at + 1)?) * 4,
            _ => return Some((next, at)),
        };
        next = *frame.get(at)?;
        at += bytes;
    }
}

/// Two bytes in network order.
pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}
