//! What a rule can read from a frame: one table for the text, the kernel encoding and the evaluation.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::model::Mac;

/// A part of a frame, or of what the kernel knows about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Field {
    /// ARP operation: RFC 826 `ar$op`.
    ArpOperation,
    /// ARP sender hardware address.
    ArpSenderMac,
    /// ARP sender protocol address.
    ArpSenderIp,
    /// ARP target protocol address.
    ArpTargetIp,
    /// Destination port of TCP, UDP and SCTP.
    DestinationPort,
    /// Ethernet destination.
    EtherDestination,
    /// The first byte of the Ethernet destination; its lowest bit is set for broadcast and multicast (IEEE 802.3, I/G).
    EtherDestinationFirst,
    /// Ethernet source.
    EtherSource,
    /// Identifier of an ICMP echo message: RFC 792.
    IcmpId,
    /// ICMP type: RFC 792.
    IcmpType,
    /// Identifier of an ICMPv6 echo message: RFC 4443 section 4.
    Icmp6Id,
    /// ICMPv6 type: RFC 4443 section 2.1.
    Icmp6Type,
    /// Index of the port that the frame came in by.
    InputPort,
    /// IPv4 destination.
    Ip4Destination,
    /// IPv4 source.
    Ip4Source,
    /// IPv6 destination.
    Ip6Destination,
    /// IPv6 source.
    Ip6Source,
    /// The payload's Ethernet type, inside a VLAN tag too (`meta protocol`).
    NetworkProtocol,
    /// Index of the port that the frame is about to leave by.
    OutputPort,
    /// Source port of TCP, UDP and SCTP.
    SourcePort,
    /// TCP flags: RFC 9293 section 3.1, the low byte.
    TcpFlags,
    /// Number of the transport protocol; behind IPv6 extension headers too (`meta l4proto`).
    TransportProtocol,
}

/// Where a field is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    /// The kernel's knowledge about the frame.
    Meta(MetaKey),
    /// Bytes of the frame.
    Payload {
        /// The header that the offset counts from.
        base: PayloadBase,
        /// Bytes from the header's start.
        offset: u32,
        /// Length in bytes.
        bytes: u32,
    },
}

/// A key of nftables' `meta` expression (`enum nft_meta_keys`, `uapi/linux/netfilter/nf_tables.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetaKey {
    /// `NFT_META_IIF`.
    Iif,
    /// `NFT_META_L4PROTO`.
    L4Proto,
    /// `NFT_META_OIF`.
    Oif,
    /// `NFT_META_PROTOCOL`.
    Protocol,
}

/// A base of nftables' `payload` expression (`enum nft_payload_bases`, `uapi/linux/netfilter/nf_tables.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadBase {
    /// `NFT_PAYLOAD_LL_HEADER`.
    Link,
    /// `NFT_PAYLOAD_NETWORK_HEADER`.
    Network,
    /// `NFT_PAYLOAD_TRANSPORT_HEADER`.
    Transport,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 22] = [
        Self::ArpOperation,
        Self::ArpSenderMac,
        Self::ArpSenderIp,
        Self::ArpTargetIp,
        Self::DestinationPort,
        Self::EtherDestination,
        Self::EtherDestinationFirst,
        Self::EtherSource,
        Self::IcmpId,
        Self::IcmpType,
        Self::Icmp6Id,
        Self::Icmp6Type,
        Self::InputPort,
        Self::Ip4Destination,
        Self::Ip4Source,
        Self::Ip6Destination,
        Self::Ip6Source,
        Self::NetworkProtocol,
        Self::OutputPort,
        Self::SourcePort,
        Self::TcpFlags,
        Self::TransportProtocol,
    ];

    /// The field's row in the table: its nft name, where it is, and the type of its value.
    const fn row(self) -> (&'static str, Location, KeyType) {
        use PayloadBase::{Link, Network, Transport};
        const fn at(base: PayloadBase, offset: u32, bytes: u32) -> Location {
            Location::Payload { base, offset, bytes }
        }
        match self {
            Self::ArpOperation => ("arp operation", at(Network, 6, 2), KeyType::ArpOperation),
            Self::ArpSenderMac => ("arp saddr ether", at(Network, 8, 6), KeyType::Mac),
            Self::ArpSenderIp => ("arp saddr ip", at(Network, 14, 4), KeyType::Ip4),
            Self::ArpTargetIp => ("arp daddr ip", at(Network, 24, 4), KeyType::Ip4),
            Self::DestinationPort => ("th dport", at(Transport, 2, 2), KeyType::Port),
            Self::EtherDestination => ("ether daddr", at(Link, 0, 6), KeyType::Mac),
            Self::EtherDestinationFirst => ("@ll,0,8", at(Link, 0, 1), KeyType::Byte),
            Self::EtherSource => ("ether saddr", at(Link, 6, 6), KeyType::Mac),
            Self::IcmpId => ("icmp id", at(Transport, 4, 2), KeyType::IcmpId),
            Self::IcmpType => ("icmp type", at(Transport, 0, 1), KeyType::Byte),
            Self::Icmp6Id => ("icmpv6 id", at(Transport, 4, 2), KeyType::Icmp6Id),
            Self::Icmp6Type => ("icmpv6 type", at(Transport, 0, 1), KeyType::Byte),
            Self::InputPort => ("iif", Location::Meta(MetaKey::Iif), KeyType::Index),
            Self::Ip4Destination => ("ip daddr", at(Network, 16, 4), KeyType::Ip4),
            Self::Ip4Source => ("ip saddr", at(Network, 12, 4), KeyType::Ip4),
            Self::Ip6Destination => ("ip6 daddr", at(Network, 24, 16), KeyType::Ip6),
            Self::Ip6Source => ("ip6 saddr", at(Network, 8, 16), KeyType::Ip6),
            Self::NetworkProtocol => ("meta protocol", Location::Meta(MetaKey::Protocol), KeyType::EtherType),
            Self::OutputPort => ("oif", Location::Meta(MetaKey::Oif), KeyType::Index),
            Self::SourcePort => ("th sport", at(Transport, 0, 2), KeyType::Port),
            Self::TcpFlags => ("tcp flags", at(Transport, 13, 1), KeyType::Byte),
            Self::TransportProtocol => ("meta l4proto", Location::Meta(MetaKey::L4Proto), KeyType::Protocol),
        }
    }

    /// The field's name in nft syntax.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Where the field is found.
    pub const fn location(self) -> Location {
        self.row().1
    }

    /// The type of its value.
    pub const fn key_type(self) -> KeyType {
        self.row().2
    }
}

/// The type of a value: what one part of a set's key holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum KeyType {
    /// An ARP operation.
    ArpOperation,
    /// One byte without a type of its own.
    Byte,
    /// An Ethernet type.
    EtherType,
    /// The identifier of an ICMP echo message.
    IcmpId,
    /// The identifier of an ICMPv6 echo message.
    Icmp6Id,
    /// An interface index.
    Index,
    /// An IPv4 address.
    Ip4,
    /// An IPv6 address.
    Ip6,
    /// An Ethernet address.
    Mac,
    /// A transport port.
    Port,
    /// A transport protocol's number.
    Protocol,
    /// A type that this program never uses, by nft's number: part of somebody else's set.
    Unknown(u32),
}

/// One value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Datum {
    /// An ARP operation.
    ArpOperation(u16),
    /// One byte.
    Byte(u8),
    /// An Ethernet type.
    EtherType(u16),
    /// The identifier of an ICMP or ICMPv6 echo message.
    IcmpId(u16),
    /// An interface index.
    Index(u32),
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// An Ethernet address.
    Mac(Mac),
    /// A transport port.
    Port(u16),
    /// A transport protocol's number.
    Protocol(u8),
}

impl Datum {
    /// The Ethernet type of ARP (IEEE 802 numbers).
    pub const ARP: Self = Self::EtherType(0x0806);
    /// The Ethernet type of IPv4.
    pub const IP4: Self = Self::EtherType(0x0800);
    /// The Ethernet type of IPv6.
    pub const IP6: Self = Self::EtherType(0x86dd);
    /// The protocol number of ICMP.
    pub const ICMP: Self = Self::Protocol(1);
    /// The protocol number of ICMPv6.
    pub const ICMP6: Self = Self::Protocol(58);
    /// The protocol number of TCP.
    pub const TCP: Self = Self::Protocol(6);
    /// The protocol number of UDP.
    pub const UDP: Self = Self::Protocol(17);
    /// No value is greater.
    pub(crate) const MAX: Self = Self::Protocol(u8::MAX);
}

impl fmt::Display for Datum {
    /// The value as nft reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArpOperation(value) | Self::IcmpId(value) | Self::Port(value) => write!(f, "{value}"),
            Self::Byte(value) => write!(f, "{value}"),
            Self::EtherType(value) => f.write_str(&ether_type(*value)),
            Self::Index(value) => write!(f, "{value}"),
            Self::Ip4(value) => write!(f, "{value}"),
            Self::Ip6(value) => write!(f, "{value}"),
            Self::Mac(value) => write!(f, "{value}"),
            Self::Protocol(value) => f.write_str(&protocol(*value)),
        }
    }
}

/// The name of an Ethernet type that has one in nft, else its number.
fn ether_type(value: u16) -> String {
    match value {
        0x0800 => "ip".into(),
        0x0806 => "arp".into(),
        0x86dd => "ip6".into(),
        _ => format!("{value:#06x}"),
    }
}

/// The name of a transport protocol that rules deal with, else its number.
fn protocol(value: u8) -> String {
    match value {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        132 => "sctp".into(),
        _ => format!("{value}"),
    }
}
