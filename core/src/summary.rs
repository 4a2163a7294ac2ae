//! What a frame is about, as far as its beginning tells: for people, never for a verdict.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frame::{behind_options, read_u16};

/// The offset of an IPv4 fragment: RFC 791 section 3.1.
const OFFSET: u16 = 0x1fff;

/// What is read from the beginning of a frame. Whatever is cut off, or makes no sense, is `None`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The payload's Ethernet type; that behind the tag for a frame with one.
    pub ether_type: u16,
    /// Who sends: of IP the source, of ARP the sender.
    pub source: Option<IpAddr>,
    /// Who is meant: of IP the destination, of ARP the target.
    pub destination: Option<IpAddr>,
    /// The transport protocol of an IP packet (IANA "Assigned Internet Protocol Numbers").
    pub protocol: Option<u8>,
    /// The source and destination ports of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
    /// The type and code of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// The operation of ARP: 1 asks, 2 answers.
    pub arp: Option<u16>,
}

impl Summary {
    /// Reads what follows an Ethernet header with this type.
    pub fn read(ether_type: u16, payload: &[u8]) -> Self {
        // One tag, as where frames are judged: `Headers`.
        if matches!(ether_type, 0x8100 | 0x88a8)
            && let (Some(inner), Some(rest)) = (read_u16(payload, 2), payload.get(4..))
        {
            return Self::untagged(inner, rest);
        }
        Self::untagged(ether_type, payload)
    }

    fn untagged(ether_type: u16, payload: &[u8]) -> Self {
        let mut summary = Self { ether_type, ..Self::default() };
        match ether_type {
            0x0800 => summary.ip4(payload),
            0x0806 => summary.arp(payload),
            0x86dd => summary.ip6(payload),
            _ => {}
        }
        summary
    }

    /// RFC 826, of IPv4 over Ethernet.
    fn arp(&mut self, packet: &[u8]) {
        if packet.get(..6) != Some(&[0, 1, 8, 0, 6, 4]) {
            return;
        }
        self.arp = read_u16(packet, 6);
        self.source = address4(packet, 14);
        self.destination = address4(packet, 24);
    }

    /// RFC 791.
    fn ip4(&mut self, packet: &[u8]) {
        let Some(first) = packet.first().filter(|first| *first >> 4 == 4) else { return };
        self.source = address4(packet, 12);
        self.destination = address4(packet, 16);
        self.protocol = packet.get(9).copied();
        if read_u16(packet, 6).is_some_and(|fragment| fragment & OFFSET == 0) {
            self.transport(packet.get(usize::from(first & 0x0f).max(5) * 4..));
        }
    }

    /// RFC 8200.
    fn ip6(&mut self, packet: &[u8]) {
        const FRAGMENT: u8 = 44;
        if packet.first().is_none_or(|first| first >> 4 != 6) {
            return;
        }
        self.source = address6(packet, 8);
        self.destination = address6(packet, 24);
        let behind = packet.get(6).and_then(|next| behind_options(packet, *next, 40));
        let Some((mut protocol, mut at)) = behind else { return };
        if protocol == FRAGMENT {
            let (Some(next), Some(offset)) = (packet.get(at), read_u16(packet, at + 2)) else { return };
            (protocol, at) = (*next, at + 8);
            if offset & 0xfff8 != 0 {
                self.protocol = Some(protocol);
                return;
            }
        }
        self.protocol = Some(protocol);
        self.transport(packet.get(at..));
    }

    fn transport(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        match self.protocol {
            Some(6 | 17 | 132) => self.ports = read_u16(bytes, 0).zip(read_u16(bytes, 2)),
            Some(1 | 58) => self.icmp = bytes.first().copied().zip(bytes.get(1).copied()),
            _ => {}
        }
    }
}

fn address4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = *bytes.get(at..)?.first_chunk()?;
    Some(Ipv4Addr::from(octets).into())
}

fn address6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = *bytes.get(at..)?.first_chunk()?;
    Some(Ipv6Addr::from(octets).into())
}
