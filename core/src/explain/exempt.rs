//! What passes an isolated end whatever its policies say: the rows "always" of the layer-2 rules, DHCP clients, and what
//! the configuration accepts.

use core::fmt;
use core::net::IpAddr;

use super::neighbours::is_neighbourly;
use super::view::View;
use crate::config::Config;
use crate::frame::{Payload, Transport};
use crate::model::{Attachment, Direction};

/// Frames that pass an isolated end whatever its policies say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exempt {
    /// ICMP, which the configuration accepts.
    AcceptedIcmp,
    /// ICMPv6, which the configuration accepts. Neighbour solicitations and advertisements are never accepted by it.
    AcceptedIcmp6,
    /// ARP by which the end announces an address of its own: RFC 5227 section 3.
    ArpAnnouncement,
    /// ARP by which the end finds out whether an address is in use: RFC 5227 section 2.1.1.
    ArpProbe,
    /// What the end's DHCP client sends or gets, on a network whose addresses come by DHCP: RFC 2131 section 4.1,
    /// RFC 8415 section 7.2.
    DhcpClient,
    /// A neighbour solicitation by which the end finds out whether an address is in use: RFC 4862 section 5.4.2.
    DuplicateAddressDetection,
    /// ARP or neighbour discovery between hosts that may know each other. The rules of either direction can admit it,
    /// and no policy isolates the end in the other one.
    FreeOtherDirection,
    /// A multicast listener's report or leave message: RFC 2710 section 3, RFC 3810 section 5.2.
    ListenerReport,
    /// A router advertisement (RFC 4861 section 4.2). One that comes in by a managed pod's port is dropped; a trace is told
    /// of no port, and takes it to come from outside.
    RouterAdvertisement,
    /// A router solicitation by the end: RFC 4861 section 4.1.
    RouterSolicitation,
    /// A neighbour advertisement of the end to everybody: RFC 4861 section 7.2.6.
    UnsolicitedAdvertisement,
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcceptedIcmp => "ICMP, which the configuration accepts",
            Self::AcceptedIcmp6 => "ICMPv6, which the configuration accepts",
            Self::ArpAnnouncement => "its own ARP announcement",
            Self::ArpProbe => "its own ARP probe",
            Self::DhcpClient => "the traffic of its DHCP client",
            Self::DuplicateAddressDetection => "its own duplicate address detection",
            Self::FreeOtherDirection => {
                "ARP or neighbour discovery with somebody to whom it is free in the other direction"
            }
            Self::ListenerReport => "its own multicast listener report",
            Self::RouterAdvertisement => "a router advertisement from outside",
            Self::RouterSolicitation => "its own router solicitation",
            Self::UnsolicitedAdvertisement => "its own unsolicited neighbour advertisement",
        })
    }
}

impl View<'_> {
    /// Why the frame passes at `attachment` whatever the policies say, if it does. `dhcp` is whether the addresses of
    /// its network come by DHCP.
    pub(super) fn exempt(&self, attachment: &Attachment, dhcp: bool, config: &Config) -> Option<Exempt> {
        match &self.frame.payload {
            Payload::Arp { .. } if self.direction == Direction::Egress => self.own_arp(attachment),
            Payload::Arp { .. } | Payload::Other { .. } => None,
            Payload::Ip { source, transport, .. } => {
                let ip6 = source.is_ipv6();
                let own = match transport {
                    Transport::Icmp { kind, .. } if ip6 => self.own_icmp6(*kind, source.is_unspecified()),
                    Transport::Udp { source_port, destination_port } if dhcp => {
                        let is_client = self.is_dhcp_client(ip6, *source_port, *destination_port);
                        is_client.then_some(Exempt::DhcpClient)
                    }
                    Transport::Echo { .. }
                    | Transport::Icmp { .. }
                    | Transport::Other(_)
                    | Transport::Sctp { .. }
                    | Transport::Tcp { .. }
                    | Transport::Udp { .. } => None,
                };
                own.or_else(|| accepted_icmp(ip6, transport, config))
            }
        }
    }

    /// ARP about the end's own addresses. Where none are known, whoever asks for the address that it sends from announces.
    fn own_arp(&self, attachment: &Attachment) -> Option<Exempt> {
        let Payload::Arp { operation, sender_ip, target_ip, .. } = &self.frame.payload else { return None };
        if *operation == 1 && sender_ip.is_unspecified() {
            return Some(Exempt::ArpProbe);
        }
        let announces = if attachment.addresses.iter().any(IpAddr::is_ipv4) {
            attachment.addresses.iter().any(|address| address == target_ip)
        } else {
            sender_ip == target_ip
        };
        announces.then_some(Exempt::ArpAnnouncement)
    }

    /// The types of ICMPv6 that a host needs on its link: RFC 4861 section 4, RFC 2710 section 3, RFC 3810 section 5.2.
    fn own_icmp6(&self, kind: u8, from_nobody: bool) -> Option<Exempt> {
        match (self.direction, kind) {
            (Direction::Egress, 131 | 132 | 143) => Some(Exempt::ListenerReport),
            (Direction::Egress, 133) => Some(Exempt::RouterSolicitation),
            (Direction::Ingress, 134) => Some(Exempt::RouterAdvertisement),
            (Direction::Egress, 135) if from_nobody => Some(Exempt::DuplicateAddressDetection),
            (Direction::Egress, 136) if self.is_multicast() => Some(Exempt::UnsolicitedAdvertisement),
            _ => None,
        }
    }

    /// Whether a datagram is between the end as a DHCP client and a server.
    fn is_dhcp_client(&self, ip6: bool, source_port: u16, destination_port: u16) -> bool {
        let (client, server) = if ip6 { (546, 547) } else { (68, 67) };
        match self.direction {
            Direction::Egress => (source_port, destination_port) == (client, server),
            Direction::Ingress => (source_port, destination_port) == (server, client),
        }
    }
}

fn accepted_icmp(ip6: bool, transport: &Transport, config: &Config) -> Option<Exempt> {
    match transport {
        Transport::Echo { .. } | Transport::Icmp { .. } => {}
        Transport::Other(_) | Transport::Sctp { .. } | Transport::Tcp { .. } | Transport::Udp { .. } => {
            return None;
        }
    }
    if ip6 {
        (config.accept_icmp6 && !is_neighbourly(transport)).then_some(Exempt::AcceptedIcmp6)
    } else {
        config.accept_icmp.then_some(Exempt::AcceptedIcmp)
    }
}
