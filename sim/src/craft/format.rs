//! How a scenario writes a crafted frame.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::probe::Family;
use crate::scenario::Ends;

/// A frame that one station sends by itself, and every station of its bridge that sees it arrive.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrameClaim {
    /// Who sends, as in a [`crate::scenario::Claim`]: exactly one station.
    pub from: String,
    /// What.
    pub send: FrameKind,
    /// For whom: the station that it asks for, answers, or is addressed to.
    #[serde(default)]
    pub to: Option<String>,
    /// Over which address family a kind goes that exists for both; `ipv4`, when absent.
    #[serde(default)]
    pub family: Option<Family>,
    /// What is not as the sender would write it.
    #[serde(default)]
    pub with: Overrides,
    /// All stations at which it arrives; nobody, when empty.
    pub reaches: Ends,
}

/// The frames that can be crafted. Each is what an honest sender would write, before its overrides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrameKind {
    /// A gratuitous ARP request for the sender's own address: RFC 5227 section 3.
    ArpAnnouncement,
    /// An ARP request for the sender's own address from no address: RFC 5227 section 2.1.1.
    ArpProbe,
    /// An ARP reply to `to`.
    ArpReply,
    /// An ARP request for `to`, by broadcast.
    ArpRequest,
    /// Duplicate address detection: a solicitation for the own address from `::`, RFC 4862 section 5.4.2.
    Dad,
    /// A DHCP message of a client, by broadcast: RFC 2131, or RFC 8415.
    DhcpClient,
    /// A DHCP message of a server to `to`.
    DhcpServer,
    /// An echo request to `to`.
    EchoRequest,
    /// An Ethernet frame to `to` that is neither IP nor ARP.
    Ether,
    /// A report of multicast listeners, version 2: RFC 3810.
    MldReport,
    /// An advertisement to `to`, or to everybody when that is absent: RFC 4861 section 4.4.
    NeighbourAdvertisement,
    /// A solicitation for `to`, by multicast: RFC 4861 section 4.3.
    NeighbourSolicitation,
    /// A router advertisement to everybody: RFC 4861 section 4.2.
    RouterAdvertisement,
    /// A router solicitation: RFC 4861 section 4.1.
    RouterSolicitation,
    /// The first segment of a TCP connection to `to`.
    Tcp,
    /// An ICMP error to `to` about a UDP datagram that `to` sent to `about`: "fragmentation needed" of RFC 1191, or
    /// "packet too big" of RFC 4443.
    TooBig,
    /// A UDP datagram to `to`.
    Udp,
}

/// Fields that are written otherwise. Addresses are written out, or a station's name stands for its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Overrides {
    /// An ARP request or solicitation goes to the MAC of `to` instead of a group.
    #[serde(default)]
    pub unicast: bool,
    /// The source in the Ethernet header.
    #[serde(default)]
    pub source_mac: Option<String>,
    /// The destination in the Ethernet header; `broadcast` is one, too.
    #[serde(default)]
    pub destination_mac: Option<String>,
    /// The source in the IP header.
    #[serde(default)]
    pub source_ip: Option<String>,
    /// The destination in the IP header.
    #[serde(default)]
    pub destination_ip: Option<String>,
    /// Who ARP and neighbour discovery say has sent it, or has the target's address.
    #[serde(default)]
    pub sender_mac: Option<String>,
    /// The sender's address in ARP.
    #[serde(default)]
    pub sender_ip: Option<String>,
    /// The target's address in ARP and neighbour discovery.
    #[serde(default)]
    pub target_ip: Option<String>,
    /// The source port; one of its own for each frame, when absent.
    #[serde(default)]
    pub source_port: Option<u16>,
    /// The destination port: 80 for TCP, 53 for UDP, when absent.
    #[serde(default)]
    pub destination_port: Option<u16>,
    /// The Ethernet type: 0x88b5, when absent.
    #[serde(default)]
    pub ether_type: Option<u16>,
    /// VLAN tags, the outer one first: at most two.
    #[serde(default)]
    pub tags: Vec<u16>,
    /// Whom the datagram was sent to that an error is about.
    #[serde(default)]
    pub about: Option<String>,
}

impl Overrides {
    /// The names of the fields that are there.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let Self { unicast, source_mac, destination_mac, source_ip, destination_ip, .. } = self;
        let Self {
            sender_mac,
            sender_ip,
            target_ip,
            source_port,
            destination_port,
            ether_type,
            tags,
            about,
            ..
        } = self;
        let fields = [
            ("unicast", *unicast),
            ("source-mac", source_mac.is_some()),
            ("destination-mac", destination_mac.is_some()),
            ("source-ip", source_ip.is_some()),
            ("destination-ip", destination_ip.is_some()),
            ("sender-mac", sender_mac.is_some()),
            ("sender-ip", sender_ip.is_some()),
            ("target-ip", target_ip.is_some()),
            ("source-port", source_port.is_some()),
            ("destination-port", destination_port.is_some()),
            ("ether-type", ether_type.is_some()),
            ("tags", !tags.is_empty()),
            ("about", about.is_some()),
        ];
        fields.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }
}
