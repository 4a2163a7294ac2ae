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
    /// The frame's own Ethernet type, that of its VLAN tag if it has one (`ether type`).
    EtherType,
    /// Identifier of an ICMP echo message: RFC 792.
    IcmpId,
    /// ICMP type: RFC 792.
    IcmpType,
    /// Identifier of an ICMPv6 echo message: RFC 4443 section 4.
    Icmp6Id,
    /// ICMPv6 type: RFC 4443 section 2.1.
    Icmp6Type,
    /// The name of the bridge that the frame came in on (`meta ibrname`, `NFT_BRIDGE_META`).
    InputBridge,
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
    /// The link-layer address in the first option of a neighbour solicitation or advertisement, when
    /// [`Self::NeighbourOption`] says that it is one: RFC 4861 section 4.6.1.
    NeighbourLinkLayer,
    /// The type of the first option of a neighbour solicitation or advertisement: RFC 4861 section 4.6.
    NeighbourOption,
    /// The target of a neighbour solicitation or advertisement: RFC 4861 sections 4.3 and 4.4.
    NeighbourTarget,
    /// The payload's Ethernet type, inside a VLAN tag too (`meta protocol`).
    NetworkProtocol,
    /// The name of the bridge that the frame is about to leave by (`meta obrname`, `NFT_BRIDGE_META`).
    OutputBridge,
    /// Index of the port that the frame is about to leave by.
    OutputPort,
    /// The VLAN of what comes in untagged by the frame's port (`meta ibrpvid`, `NFT_BRIDGE_META`); not there on a bridge
    /// that does not look at VLANs.
    PortVlan,
    /// Source port of TCP, UDP and SCTP.
    SourcePort,
    /// TCP flags: RFC 9293 section 3.1, the low byte.
    TcpFlags,
    /// Number of the transport protocol; behind IPv6 extension headers too (`meta l4proto`).
    TransportProtocol,
    /// A VLAN tag, when [`Self::EtherType`] says that there is one: the number of the VLAN in its last 12 bits (IEEE
    /// 802.1Q section 9.6).
    VlanTag,
    /// The IPv4 destination of the packet that an ICMP error is about: RFC 792.
    Error4Destination,
    /// The first two bytes behind the header without options of the IPv4 packet that an ICMP error is about.
    Error4First,
    /// The next two bytes.
    Error4Second,
    /// The IPv6 destination of the packet that an ICMPv6 error is about: RFC 4443 section 3.
    Error6Destination,
    /// The first two bytes behind the header of the IPv6 packet that an ICMPv6 error is about.
    Error6First,
    /// The next two bytes.
    Error6Second,
    /// The first two bytes behind an IPv4 header without options: with most transports, the source port.
    Ip4First,
    /// Flags and fragment offset: RFC 791 section 3.1.
    Ip4Fragment,
    /// What the fragments of an IPv4 datagram have in common: RFC 791 section 3.1.
    Ip4Id,
    /// The first two bytes behind an IPv6 header.
    Ip6First,
    /// What the fragments of an IPv6 datagram have in common: RFC 8200 section 4.5. Only packets with a fragment header
    /// have it.
    Ip6FragmentId,
    /// Fragment offset in the upper 13 bits, flags in the others: RFC 8200 section 4.5. Only packets with a fragment
    /// header have it. To nft the offset is a number by itself, [`Self::IP6_OFFSET_BITS`].
    Ip6FragmentOffset,
    /// IPv4 destination, for sets whose elements are also looked up by places without a name.
    RawIp4Destination,
    /// IPv4 source, likewise.
    RawIp4Source,
    /// IPv6 destination, likewise.
    RawIp6Destination,
    /// IPv6 source, likewise.
    RawIp6Source,
}

/// Where a field is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    /// Bytes of an IPv6 extension header.
    Extension {
        /// Which header.
        header: ExtensionHeader,
        /// Bytes from the header's start.
        offset: u32,
        /// Length in bytes.
        bytes: u32,
    },
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

/// An IPv6 extension header, where nftables' `exthdr` expression looks for one (`NFTA_EXTHDR_TYPE`,
/// `uapi/linux/netfilter/nf_tables.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExtensionHeader {
    /// The fragment header: RFC 8200 section 4.5.
    Fragment,
}

/// A key of nftables' `meta` expression (`enum nft_meta_keys`, `uapi/linux/netfilter/nf_tables.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetaKey {
    /// `NFT_META_BRI_IIFNAME`.
    BridgeName,
    /// `NFT_META_BRI_IIFPVID`.
    BridgeVlan,
    /// `NFT_META_IIF`.
    Iif,
    /// `NFT_META_L4PROTO`.
    L4Proto,
    /// `NFT_META_OIF`.
    Oif,
    /// `NFT_META_BRI_OIFNAME`.
    OutputBridgeName,
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
    /// The bits of [`Self::Ip6FragmentOffset`] that are the offset, which is what nft has a name for.
    pub const IP6_OFFSET_BITS: u16 = 0xfff8;
    /// The bits of [`Self::VlanTag`] that number the VLAN: IEEE 802.1Q section 9.6.
    pub const VLAN_NUMBER_BITS: u16 = 0x0fff;

    /// Every field.
    pub const ALL: [Self; 46] = [
        Self::ArpOperation,
        Self::ArpSenderMac,
        Self::ArpSenderIp,
        Self::ArpTargetIp,
        Self::DestinationPort,
        Self::EtherDestination,
        Self::EtherDestinationFirst,
        Self::EtherSource,
        Self::EtherType,
        Self::IcmpId,
        Self::IcmpType,
        Self::Icmp6Id,
        Self::Icmp6Type,
        Self::InputBridge,
        Self::InputPort,
        Self::Ip4Destination,
        Self::Ip4Source,
        Self::Ip6Destination,
        Self::Ip6Source,
        Self::NeighbourLinkLayer,
        Self::NeighbourOption,
        Self::NeighbourTarget,
        Self::NetworkProtocol,
        Self::OutputBridge,
        Self::OutputPort,
        Self::PortVlan,
        Self::SourcePort,
        Self::TcpFlags,
        Self::TransportProtocol,
        Self::VlanTag,
        Self::Error4Destination,
        Self::Error4First,
        Self::Error4Second,
        Self::Error6Destination,
        Self::Error6First,
        Self::Error6Second,
        Self::Ip4First,
        Self::Ip4Fragment,
        Self::Ip4Id,
        Self::Ip6First,
        Self::Ip6FragmentId,
        Self::Ip6FragmentOffset,
        Self::RawIp4Destination,
        Self::RawIp4Source,
        Self::RawIp6Destination,
        Self::RawIp6Source,
    ];

    /// The field's row in the table: its nft name, where it is, and the type of its value.
    const fn row(self) -> (&'static str, Location, KeyType) {
        use PayloadBase::{Link, Network, Transport};
        const fn at(base: PayloadBase, offset: u32, bytes: u32) -> Location {
            Location::Payload { base, offset, bytes }
        }
        const fn in_fragment_header(offset: u32, bytes: u32) -> Location {
            Location::Extension { header: ExtensionHeader::Fragment, offset, bytes }
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
            Self::EtherType => ("ether type", at(Link, 12, 2), KeyType::EtherType),
            Self::IcmpId => ("icmp id", at(Transport, 4, 2), KeyType::IcmpId),
            Self::IcmpType => ("icmp type", at(Transport, 0, 1), KeyType::Byte),
            Self::Icmp6Id => ("icmpv6 id", at(Transport, 4, 2), KeyType::Icmp6Id),
            Self::Icmp6Type => ("icmpv6 type", at(Transport, 0, 1), KeyType::Byte),
            Self::InputBridge => {
                ("meta ibrname", Location::Meta(MetaKey::BridgeName), KeyType::InterfaceName)
            }
            Self::InputPort => ("iif", Location::Meta(MetaKey::Iif), KeyType::Index),
            Self::Ip4Destination => ("ip daddr", at(Network, 16, 4), KeyType::Ip4),
            Self::Ip4Source => ("ip saddr", at(Network, 12, 4), KeyType::Ip4),
            Self::Ip6Destination => ("ip6 daddr", at(Network, 24, 16), KeyType::Ip6),
            Self::Ip6Source => ("ip6 saddr", at(Network, 8, 16), KeyType::Ip6),
            Self::NeighbourLinkLayer => ("@th,208,48", at(Transport, 26, 6), KeyType::RawMac),
            Self::NeighbourOption => ("@th,192,8", at(Transport, 24, 1), KeyType::Byte),
            Self::NeighbourTarget => ("@th,64,128", at(Transport, 8, 16), KeyType::RawIp6),
            Self::NetworkProtocol => ("meta protocol", Location::Meta(MetaKey::Protocol), KeyType::EtherType),
            Self::OutputBridge => {
                ("meta obrname", Location::Meta(MetaKey::OutputBridgeName), KeyType::InterfaceName)
            }
            Self::OutputPort => ("oif", Location::Meta(MetaKey::Oif), KeyType::Index),
            Self::PortVlan => ("meta ibrpvid", Location::Meta(MetaKey::BridgeVlan), KeyType::Vlan),
            Self::SourcePort => ("th sport", at(Transport, 0, 2), KeyType::Port),
            Self::TcpFlags => ("tcp flags", at(Transport, 13, 1), KeyType::Byte),
            Self::TransportProtocol => ("meta l4proto", Location::Meta(MetaKey::L4Proto), KeyType::Protocol),
            Self::VlanTag => ("@ll,112,16", at(Link, 14, 2), KeyType::RawShort),
            Self::Error4Destination => ("@th,192,32", at(Transport, 24, 4), KeyType::RawIp4),
            Self::Error4First => ("@th,224,16", at(Transport, 28, 2), KeyType::RawShort),
            Self::Error4Second => ("@th,240,16", at(Transport, 30, 2), KeyType::RawShort),
            Self::Error6Destination => ("@th,256,128", at(Transport, 32, 16), KeyType::RawIp6),
            Self::Error6First => ("@th,384,16", at(Transport, 48, 2), KeyType::RawShort),
            Self::Error6Second => ("@th,400,16", at(Transport, 50, 2), KeyType::RawShort),
            Self::Ip4First => ("@nh,160,16", at(Network, 20, 2), KeyType::RawShort),
            Self::Ip4Fragment => ("ip frag-off", at(Network, 6, 2), KeyType::RawShort),
            Self::Ip4Id => ("ip id", at(Network, 4, 2), KeyType::RawShort),
            Self::Ip6First => ("@nh,320,16", at(Network, 40, 2), KeyType::RawShort),
            Self::Ip6FragmentId => ("frag id", in_fragment_header(4, 4), KeyType::FragmentId),
            Self::Ip6FragmentOffset => ("frag frag-off", in_fragment_header(2, 2), KeyType::RawShort),
            Self::RawIp4Destination => ("@nh,128,32", at(Network, 16, 4), KeyType::RawIp4),
            Self::RawIp4Source => ("@nh,96,32", at(Network, 12, 4), KeyType::RawIp4),
            Self::RawIp6Destination => ("@nh,192,128", at(Network, 24, 16), KeyType::RawIp6),
            Self::RawIp6Source => ("@nh,64,128", at(Network, 8, 16), KeyType::RawIp6),
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
    /// What the fragments of an IPv6 datagram have in common.
    FragmentId,
    /// The identifier of an ICMP echo message.
    IcmpId,
    /// The identifier of an ICMPv6 echo message.
    Icmp6Id,
    /// An interface index.
    Index,
    /// The name of an interface.
    InterfaceName,
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
    /// An IPv4 address at a place that nft has no name for; to nft a number.
    RawIp4,
    /// An IPv6 address at a place that nft has no name for; to nft a number.
    RawIp6,
    /// An Ethernet address at a place that nft has no name for; to nft a number.
    RawMac,
    /// Two bytes that nft has no name for.
    RawShort,
    /// The number of a VLAN, as the kernel keeps it; nft has no type for it, so no set has it in its key.
    Vlan,
    /// A type that this program never uses, by nft's number: part of somebody else's set.
    Unknown(u32),
}

/// The name of a network interface: at most 15 bytes (`IFNAMSIZ`, `linux/if.h`), and zeros behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct InterfaceName(pub [u8; Self::BYTES]);

impl InterfaceName {
    /// How many bytes the kernel keeps.
    pub const BYTES: usize = 16;

    /// The name in `text`, as far as the kernel keeps it.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; Self::BYTES];
        for (byte, from) in bytes.iter_mut().zip(text.bytes().take(Self::BYTES - 1)) {
            *byte = from;
        }
        Self(bytes)
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(name))
    }
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
    /// What the fragments of an IPv6 datagram have in common.
    FragmentId(u32),
    /// The identifier of an ICMP or ICMPv6 echo message.
    IcmpId(u16),
    /// An interface index.
    Index(u32),
    /// The name of an interface.
    InterfaceName(InterfaceName),
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
    /// An IPv4 address at a place that nft has no name for.
    RawIp4(Ipv4Addr),
    /// An IPv6 address at a place that nft has no name for.
    RawIp6(Ipv6Addr),
    /// An Ethernet address at a place that nft has no name for.
    RawMac(Mac),
    /// Two bytes that nft has no name for.
    RawShort(u16),
    /// The number of a VLAN.
    Vlan(u16),
}

impl Datum {
    /// The Ethernet type of a VLAN tag (IEEE 802.1Q).
    pub const VLAN: Self = Self::EtherType(0x8100);
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
    pub(crate) const MAX: Self = Self::Vlan(u16::MAX);
}

impl fmt::Display for Datum {
    /// The value as nft reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArpOperation(value) | Self::IcmpId(value) | Self::Port(value) | Self::Vlan(value) => {
                write!(f, "{value}")
            }
            Self::Byte(value) => write!(f, "{value}"),
            Self::InterfaceName(value) => write!(f, "\"{value}\""),
            Self::RawShort(value) => write!(f, "{value:#x}"),
            Self::FragmentId(value) => write!(f, "{value:#x}"),
            Self::EtherType(value) => f.write_str(&ether_type(*value)),
            Self::Index(value) => write!(f, "{value}"),
            Self::Ip4(value) => write!(f, "{value}"),
            Self::Ip6(value) => write!(f, "{value}"),
            Self::Mac(value) => write!(f, "{value}"),
            Self::Protocol(value) => f.write_str(&protocol(*value)),
            Self::RawIp4(value) => write!(f, "{:#x}", value.to_bits()),
            Self::RawIp6(value) => write!(f, "{:#x}", value.to_bits()),
            Self::RawMac(Mac(value)) => {
                let number = value.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
                write!(f, "{number:#x}")
            }
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
