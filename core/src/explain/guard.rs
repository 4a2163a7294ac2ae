//! What the guard of a network has against a frame: the reasons behind the fixed rules of the guard.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use crate::config::Config;
use crate::frame::{FrameSpec, Payload, Transport};
use crate::model::{Attachment, BridgeNetwork, Guard, Mac};

/// What a guarded port may not send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breach {
    /// A packet from an address that is not the attachment's.
    Address(IpAddr),
    /// ARP that speaks for this address, which is not the attachment's.
    ArpAddress(IpAddr),
    /// ARP that speaks for another MAC.
    ArpMac(Mac),
    /// A frame from another MAC.
    Mac(Mac),
    /// A message of neighbour discovery whose first option tells another MAC.
    NeighbourMac,
    /// A neighbour advertisement for this address, which is not the attachment's.
    NeighbourTarget(Ipv6Addr),
    /// A router advertisement.
    RouterAdvertisement,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "the source address {address} is not its own"),
            Self::ArpAddress(address) => write!(f, "the ARP sender address {address} is not its own"),
            Self::ArpMac(mac) => write!(f, "the ARP sender MAC {mac} is not its own"),
            Self::Mac(mac) => write!(f, "the source MAC {mac} is not its own"),
            Self::NeighbourMac => f.write_str("the MAC in the neighbour discovery option is not its own"),
            Self::NeighbourTarget(address) => {
                write!(f, "the advertised address {address} is not its own")
            }
            Self::RouterAdvertisement => f.write_str("it is no router"),
        }
    }
}

/// What the guard of `attachment` has against a frame that it sends, if anything.
pub(super) fn breach(
    attachment: &Attachment,
    bridge: &BridgeNetwork,
    config: &Config,
    frame: &FrameSpec,
) -> Option<Breach> {
    let guard = crate::compile::guard_of(attachment, bridge, config)?;
    let mac = attachment.mac?;
    if frame.source != mac {
        return Some(Breach::Mac(frame.source));
    }
    let is_foreign = |address: IpAddr| {
        guard == Guard::MacIp
            && address != IpAddr::V6(mac.link_local())
            && !attachment.addresses.contains(&address)
    };
    match &frame.payload {
        Payload::Arp { sender_mac, .. } if *sender_mac != mac => Some(Breach::ArpMac(*sender_mac)),
        Payload::Arp { operation, sender_ip, .. } => {
            let is_probe = *operation == 1 && sender_ip.is_unspecified();
            let address = IpAddr::V4(*sender_ip);
            (!is_probe && is_foreign(address)).then_some(Breach::ArpAddress(address))
        }
        Payload::Ip { source, transport, .. } => {
            let inside = source.is_ipv6().then(|| inside(transport, mac, is_foreign)).flatten();
            let early = source.is_unspecified() && is_for_beginners(source.is_ipv6(), transport);
            inside.or_else(|| (!early && is_foreign(*source)).then_some(Breach::Address(*source)))
        }
        Payload::Other { .. } => None,
    }
}

/// What is wrong inside a message of neighbour discovery.
fn inside(transport: &Transport, mac: Mac, is_foreign: impl Fn(IpAddr) -> bool) -> Option<Breach> {
    let Transport::Icmp { kind, rest, .. } = transport else { return None };
    // Options begin behind the reserved bytes and the target: RFC 4861 sections 4.3 and 4.4.
    let option = rest.get(20..28);
    let tells =
        |kind| option.is_some_and(|option| option.first() == Some(&kind) && option.get(2..) != Some(&mac.0));
    match kind {
        134 => Some(Breach::RouterAdvertisement),
        135 => tells(1).then_some(Breach::NeighbourMac),
        136 if tells(2) => Some(Breach::NeighbourMac),
        136 => {
            let target =
                rest.get(4..).and_then(|bytes| bytes.first_chunk::<16>()).copied().map(Ipv6Addr::from);
            target.filter(|target| is_foreign(IpAddr::V6(*target))).map(Breach::NeighbourTarget)
        }
        _ => None,
    }
}

/// What a host sends before it has an address: duplicate address detection, solicitations, listener reports, DHCP.
fn is_for_beginners(ip6: bool, transport: &Transport) -> bool {
    match transport {
        Transport::Icmp { kind, .. } => ip6 && matches!(kind, 131 | 132 | 133 | 135 | 143),
        Transport::Udp { source_port, destination_port } => {
            !ip6 && (*source_port, *destination_port) == (68, 67)
        }
        Transport::Echo { .. } | Transport::Other(_) | Transport::Sctp { .. } | Transport::Tcp { .. } => {
            false
        }
    }
}
