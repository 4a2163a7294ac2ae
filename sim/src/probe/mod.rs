//! Probes: what is sent from one station to another, and what comes of it.

mod listen;
mod program;
mod receipts;
mod round;
mod send;
mod socket;

use core::fmt;
use core::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::plan::StationId;
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
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp => f.write_str("icmp"),
            Self::Arp => f.write_str("arp"),
            Self::Tcp(port) => write!(f, "tcp/{port}"),
            Self::Udp(port) => write!(f, "udp/{port}"),
        }
    }
}

/// A text that is not a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a probe: expected icmp, arp, tcp/PORT or udp/PORT with a port from 1 to 65535")]
pub struct ProbeKindError;

impl FromStr for ProbeKind {
    type Err = ProbeKindError;

    fn from_str(text: &str) -> Result<Self, ProbeKindError> {
        let (protocol, port) = match text.split_once('/') {
            Some((protocol, port)) => {
                let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or(ProbeKindError)?;
                (protocol, Some(port))
            }
            None => (text, None),
        };
        match (protocol, port) {
            ("arp", None) => Ok(Self::Arp),
            ("icmp", None) => Ok(Self::Icmp),
            ("tcp", Some(port)) => Ok(Self::Tcp(port)),
            ("udp", Some(port)) => Ok(Self::Udp(port)),
            _ => Err(ProbeKindError),
        }
    }
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
        json_schema!({ "type": "string", "pattern": "^(icmp|arp|(tcp|udp)/[1-9][0-9]{0,4})$" })
    }
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4, and ARP.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
    /// The answer came back.
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
