//! Probes: what is sent from one station to another, and what comes of it.

mod air;
mod ethernet;
mod listen;
mod packet;
mod program;
mod receipts;
mod refused;
mod round;
mod sctp;
mod send;
mod socket;

use core::fmt;
use core::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::plan::StationId;
pub use air::broadcast;
pub use round::{Field, PATIENCE, WINDOW, round};

/// One question to the network: may `from` reach `to`?
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Probe {
    /// What is sent.
    pub kind: ProbeKind,
    /// Over which address family.
    pub family: Family,
    /// Who sends.
    pub from: StationId,
    /// Who is to answer.
    pub to: StationId,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {} over {}", self.from, self.to, self.kind, self.family)
    }
}

/// What a probe sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProbeKind {
    /// `ping`: an echo request.
    Icmp,
    /// `arping`: who has this address?
    Arp,
    /// A TCP connection to this port, and a few bytes in both directions.
    Tcp(u16),
    /// A UDP datagram to this port, and one back.
    Udp(u16),
    /// A UDP datagram to this port that has to be cut into fragments, and one back.
    UdpBig(u16),
    /// A UDP datagram to this port, where nobody listens, and the ICMP error that says so.
    IcmpError(u16),
    /// An SCTP chunk that opens an association with this port, and the one that answers it: RFC 9260 section 5.1. No
    /// kernel needs to know SCTP for that.
    Sctp(u16),
    /// An Ethernet frame of this type, which is neither IP nor ARP. There is no answer: nothing would make it one.
    Ether(u16),
}

impl ProbeKind {
    /// What it can be sent over.
    pub const fn families(self) -> &'static [Family] {
        match self {
            Self::Arp => &[Family::Ipv4],
            Self::Ether(_) => &[Family::Ethernet],
            Self::Icmp
            | Self::IcmpError(_)
            | Self::Sctp(_)
            | Self::Tcp(_)
            | Self::Udp(_)
            | Self::UdpBig(_) => &[Family::Ipv4, Family::Ipv6],
        }
    }

    /// Whether routers pass it on.
    pub const fn is_routable(self) -> bool {
        !matches!(self, Self::Arp | Self::Ether(_))
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp => f.write_str("icmp"),
            Self::Arp => f.write_str("arp"),
            Self::Tcp(port) => write!(f, "tcp/{port}"),
            Self::Udp(port) => write!(f, "udp/{port}"),
            Self::UdpBig(port) => write!(f, "udp-big/{port}"),
            Self::IcmpError(port) => write!(f, "icmp-error/{port}"),
            Self::Sctp(port) => write!(f, "sctp/{port}"),
            Self::Ether(ether_type) => write!(f, "ether/{ether_type:#06x}"),
        }
    }
}

/// A text that is not a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not a probe: expected icmp, arp, tcp/PORT, udp/PORT, udp-big/PORT, icmp-error/PORT or sctp/PORT with a port from 1 \
     to 65535, or ether/0xTYPE with the Ethernet type of neither IP, ARP nor a VLAN tag"
)]
pub struct ProbeKindError;

impl FromStr for ProbeKind {
    type Err = ProbeKindError;

    fn from_str(text: &str) -> Result<Self, ProbeKindError> {
        let Some((protocol, number)) = text.split_once('/') else {
            return match text {
                "arp" => Ok(Self::Arp),
                "icmp" => Ok(Self::Icmp),
                _ => Err(ProbeKindError),
            };
        };
        if protocol == "ether" {
            return ether_type(number).map(Self::Ether).ok_or(ProbeKindError);
        }
        let port = number.parse().ok().filter(|port| *port > 0).ok_or(ProbeKindError)?;
        match protocol {
            "icmp-error" => Ok(Self::IcmpError(port)),
            "sctp" => Ok(Self::Sctp(port)),
            "tcp" => Ok(Self::Tcp(port)),
            "udp" => Ok(Self::Udp(port)),
            "udp-big" => Ok(Self::UdpBig(port)),
            _ => Err(ProbeKindError),
        }
    }
}

/// The Ethernet type that `text` writes in hexadecimal: from 0x0600 (below, the field is a length: IEEE 802.3 section
/// 3.2.6), and none that means something of its own to a bridge.
fn ether_type(text: &str) -> Option<u16> {
    let number = u16::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
    (number >= 0x0600 && ![0x0800, 0x0806, 0x8100, 0x86dd, 0x88a8].contains(&number)).then_some(number)
}

impl<'de> Deserialize<'de> for ProbeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("{text:?}: {error}")))
    }
}

impl JsonSchema for ProbeKind {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "ProbeKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(icmp|arp|(tcp|udp|udp-big|icmp-error|sctp)/[1-9][0-9]{0,4}|ether/0x[0-9a-fA-F]{4})$" })
    }
}

/// An address family, or none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4, and ARP.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Neither: what is straight in an Ethernet frame.
    Ethernet,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethernet => "ethernet",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// What came of a probe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Nothing came back, and nothing is known to have arrived.
    Closed,
    /// It arrived, but the answer did not come back: never right.
    OneWay,
    /// The answer came back, if there is one to come; else it arrived.
    Open,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::OneWay => "one-way",
            Self::Open => "open",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("icmp")]
    #[test_case("arp")]
    #[test_case("tcp/80")]
    #[test_case("udp-big/65535")]
    #[test_case("icmp-error/9")]
    #[test_case("sctp/3868")]
    #[test_case("ether/0x88b5")]
    fn a_probe_is_written_as_it_is_read(text: &str) {
        assert_eq!(text.parse::<ProbeKind>().map(|kind| kind.to_string()), Ok(text.to_owned()));
    }

    #[test_case("icmp/1"; "a port where none is")]
    #[test_case("tcp"; "no port")]
    #[test_case("sctp/0"; "port zero")]
    #[test_case("ether/88b5"; "not hexadecimal")]
    #[test_case("ether/0x0800"; "IPv4")]
    #[test_case("ether/0x8100"; "a tag")]
    #[test_case("ether/0x05dc"; "a length")]
    fn other_texts_are_no_probes(text: &str) {
        assert_eq!(text.parse::<ProbeKind>(), Err(ProbeKindError));
    }
}
