//! Connections as the kernel's conntrack follows them on a bridge, as far as rulesets ask about them: who began, whether
//! there was an answer, and which errors belong to them. Here nothing expires, and TCP has no windows.
//!
//! Conntrack puts fragments together before any chain behind it sees them. Here they come one by one and in order: what
//! became of the first becomes of the others.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Decision, Passage};
use crate::frame::{Headers, fragment_header, read_u16};
use crate::ruleset::{Heading, Hook};

/// `NF_IP_PRI_CONNTRACK` (`uapi/linux/netfilter_ipv4.h`), where conntrack sees a frame on the prerouting hook
/// (`net/bridge/netfilter/nf_conntrack_bridge.c`).
pub(super) const PRIORITY: i32 = -200;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMP6: u8 = 58;
const WITH_PORTS: [u8; 3] = [TCP, 17, 132];
/// Lengths of headers, in bytes: IPv4 without options, IPv6, and that of an ICMP error before the packet it is about.
const IP4_BYTES: usize = 20;
const IP6_BYTES: usize = 40;
const ICMP_BYTES: usize = 8;

/// What a connection is known by, as its first packet carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Tuple {
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    /// The ports; of an echo message, its identifier and whether it is the request.
    detail: (u16, u16),
}

impl Tuple {
    /// That of the packets the other way.
    const fn reversed(self) -> Self {
        let (one, other) = self.detail;
        let detail = match self.protocol {
            ICMP | ICMP6 => (one, 1 - other),
            _ => (other, one),
        };
        Self { source: self.destination, destination: self.source, detail, ..self }
    }
}

/// What conntrack says about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// Which way it goes.
    pub(super) heading: Heading,
    /// Whether its connection has been answered, by this packet at the latest.
    pub(super) established: bool,
    /// Whether it is an error about a packet of the connection.
    pub(super) related: bool,
    /// The connection, where the packet belongs to it and is no error.
    connection: Option<Tuple>,
}

/// The connections that have been let through, by zone and first packet: each with whether it has been answered. And what
/// became of the first fragments of datagrams.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Connections {
    followed: BTreeMap<(u16, Tuple), bool>,
    datagrams: BTreeMap<(Place, Fragment), Decision>,
}

/// A hook, with the ports that it knows.
type Place = (Hook, Option<u32>, Option<u32>);

/// What the fragments of a datagram have in common: RFC 791 section 3.2, RFC 8200 section 4.5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Fragment {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
}

impl Fragment {
    /// That of a packet which is one, and whether it is the first.
    pub(super) fn find(frame: &[u8], headers: Headers) -> Option<(Self, bool)> {
        let ip6 = headers.ether_type == 0x86dd;
        headers.transport?;
        let (source, destination) = addresses(frame, headers.network, ip6)?;
        let (id, more, offset) = if ip6 {
            let at = fragment_header(frame, headers.network)?;
            let id = u32::from_be_bytes(*frame.get(at + 4..)?.first_chunk()?);
            let flags = read_u16(frame, at + 2)?;
            (id, flags & 1 != 0, flags & 0xfff8)
        } else {
            let flags = read_u16(frame, headers.network + 6)?;
            (read_u16(frame, headers.network + 4)?.into(), flags & 0x2000 != 0, flags & 0x1fff)
        };
        (more || offset != 0).then_some((Self { source, destination, id }, offset == 0))
    }
}

impl Connections {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.followed.is_empty() && self.datagrams.is_empty()
    }

    /// What became of the first fragment of a datagram at `passage`.
    pub(super) fn of_first(&self, passage: &Passage<'_>, fragment: Fragment) -> Decision {
        self.datagrams.get(&(place(passage), fragment)).copied().unwrap_or(Decision::Drop)
    }

    /// Remembers what became of the first fragment of a datagram.
    pub(super) fn remember(&mut self, passage: &Passage<'_>, fragment: Fragment, decision: Decision) {
        self.datagrams.insert((place(passage), fragment), decision);
    }

    /// What is said about a frame; `None` where it belongs to no connection and begins none (`invalid`, `untracked`).
    pub(super) fn standing(&self, zone: u16, frame: &[u8], headers: Headers) -> Option<Standing> {
        let packet = Packet::find(frame, headers)?;
        if let Some(about) = packet.about() {
            let heading = self.heading(zone, about)?.reversed();
            // Who gets the error must be who sent the packet (`nf_conntrack_inet_error`, net/netfilter/nf_conntrack_proto_icmp.c).
            let related = packet.destination == about.source;
            return related.then_some(Standing { heading, established: false, related, connection: None });
        }
        let tuple = packet.tuple()?;
        if let Some(answered) = self.followed.get(&(zone, tuple)) {
            let established = *answered;
            return Some(Standing {
                heading: Heading::Original,
                established,
                related: false,
                connection: Some(tuple),
            });
        }
        let first = tuple.reversed();
        if self.followed.contains_key(&(zone, first)) {
            let heading = Heading::Reply;
            return Some(Standing { heading, established: true, related: false, connection: Some(first) });
        }
        packet.begins().then_some(Standing {
            heading: Heading::Original,
            established: false,
            related: false,
            connection: Some(tuple),
        })
    }

    /// A packet with this standing has gone through.
    pub(super) fn confirm(&mut self, zone: u16, standing: Standing) {
        if let Some(tuple) = standing.connection {
            let answered = self.followed.entry((zone, tuple)).or_default();
            *answered |= standing.heading == Heading::Reply;
        }
    }

    /// Which way a packet goes that is known by its tuple alone.
    fn heading(&self, zone: u16, tuple: Tuple) -> Option<Heading> {
        let original = self.followed.contains_key(&(zone, tuple)).then_some(Heading::Original);
        let reply = || self.followed.contains_key(&(zone, tuple.reversed())).then_some(Heading::Reply);
        original.or_else(reply)
    }
}

const fn place(passage: &Passage<'_>) -> Place {
    (passage.hook, passage.input, passage.output)
}

impl Heading {
    const fn reversed(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// An IP packet with its transport header.
#[derive(Clone, Copy)]
struct Packet<'a> {
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    /// From the transport header on.
    transport: &'a [u8],
}

impl<'a> Packet<'a> {
    fn find(frame: &'a [u8], headers: Headers) -> Option<Self> {
        let (protocol, at) = headers.transport?;
        let ip6 = headers.ether_type == 0x86dd;
        let (source, destination) = addresses(frame, headers.network, ip6)?;
        let transport = frame.get(at?..)?;
        // Neighbour and listener discovery are not followed (`nf_conntrack_icmpv6_error`).
        let untracked = protocol == ICMP6 && matches!(*transport.first()?, 130..=137 | 143);
        (!untracked).then_some(Self { protocol, source, destination, transport })
    }

    /// What connection the packet itself would belong to.
    fn tuple(&self) -> Option<Tuple> {
        tuple(self.protocol, self.source, self.destination, self.transport)
    }

    /// Whether a packet that belongs to nothing begins a connection. In the middle of one that was not seen, TCP does
    /// (`tcp_new`, `nf_conntrack_proto_tcp.c`, with `nf_conntrack_tcp_loose` at its default).
    fn begins(&self) -> bool {
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const RST: u8 = 4;
        const ACK: u8 = 16;
        match self.protocol {
            TCP => self
                .transport
                .get(13)
                .is_some_and(|flags| flags & (FIN | RST) == 0 && matches!(flags & (SYN | ACK), SYN | ACK)),
            ICMP | ICMP6 => self.tuple().is_some_and(|tuple| tuple.detail.1 == 1),
            _ => true,
        }
    }

    /// The connection that an ICMP error is about: that of the packet that it carries.
    fn about(&self) -> Option<Tuple> {
        let kind = *self.transport.first()?;
        let error = match self.protocol {
            ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
            ICMP6 => kind < 128,
            _ => false,
        };
        let inner = self.transport.get(ICMP_BYTES..).filter(|_| error)?;
        let ip6 = self.protocol == ICMP6;
        let (source, destination) = addresses(inner, 0, ip6)?;
        let (protocol, bytes) = if ip6 {
            (*inner.get(6)?, IP6_BYTES)
        } else {
            let options = usize::from(inner.first()? & 0x0f) * 4;
            (*inner.get(9)?, options.max(IP4_BYTES))
        };
        tuple(protocol, source, destination, inner.get(bytes..)?)
    }
}

/// The source and destination in the IP header at `network`.
fn addresses(bytes: &[u8], network: usize, ip6: bool) -> Option<(IpAddr, IpAddr)> {
    let bytes = bytes.get(network..)?;
    Some(if ip6 {
        let at = |offset: usize| Some(Ipv6Addr::from(*bytes.get(offset..)?.first_chunk::<16>()?).into());
        (at(8)?, at(24)?)
    } else {
        let at = |offset: usize| Some(Ipv4Addr::from(*bytes.get(offset..)?.first_chunk::<4>()?).into());
        (at(12)?, at(16)?)
    })
}

fn tuple(protocol: u8, source: IpAddr, destination: IpAddr, transport: &[u8]) -> Option<Tuple> {
    let detail = match protocol {
        ICMP | ICMP6 => {
            let request = match (protocol, *transport.first()?) {
                (ICMP, 8) | (ICMP6, 128) => 1,
                (ICMP, 0) | (ICMP6, 129) => 0,
                _ => return None,
            };
            (read_u16(transport, 4)?, request)
        }
        _ if WITH_PORTS.contains(&protocol) => (read_u16(transport, 0)?, read_u16(transport, 2)?),
        // Any other protocol is followed by its addresses (nf_conntrack_proto_generic.c).
        _ => (0, 0),
    };
    Some(Tuple { protocol, source, destination, detail })
}
