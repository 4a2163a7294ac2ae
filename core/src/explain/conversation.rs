//! Conversations: from two ends and a service to the first frame between them.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use super::ends::{End, EndSpec, PairError, ends_of, listed};
use crate::frame::{FrameSpec, Payload, Transport};
use crate::model::{Mac, NamespacedName, Protocol};
use crate::world::World;

/// What one end asks of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// An ARP request for the other's IPv4 address.
    Arp,
    /// Ping: an ICMP or ICMPv6 echo request.
    Icmp,
    /// A connection, or the first datagram, to a port from 1 to 65535.
    Port(Protocol, u16),
}

/// A text that names no service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not one of arp, icmp, tcp/PORT, udp/PORT, sctp/PORT with a port from 1 to 65535")]
pub struct ServiceError;

impl FromStr for Service {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let Some((protocol, port)) = text.split_once('/') else {
            return match text {
                "arp" => Ok(Self::Arp),
                "icmp" => Ok(Self::Icmp),
                _ => Err(ServiceError),
            };
        };
        let named = Protocol::ALL.into_iter().find(|named| format!("{named}") == protocol);
        let port = port.parse().ok().filter(|port| *port > 0);
        Ok(Self::Port(named.ok_or(ServiceError)?, port.ok_or(ServiceError)?))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp => f.write_str("arp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Port(protocol, port) => write!(f, "{protocol}/{port}"),
        }
    }
}

/// One end of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Side {
    /// The attachment; `None` for somebody who is no known pod.
    pub end: Option<End>,
    /// Its MAC; an invented one where none is known.
    pub mac: Mac,
    /// The address that it uses.
    pub address: IpAddr,
}

/// The beginning of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversation {
    /// Who begins it.
    pub from: Side,
    /// Who is asked.
    pub to: Side,
    /// The first frame.
    pub frame: FrameSpec,
}

/// What is to be found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Who begins.
    pub from: EndSpec,
    /// Who is asked.
    pub to: EndSpec,
    /// What for.
    pub service: Service,
    /// The network on which the pods are, where they share several.
    pub network: Option<NamespacedName>,
    /// The address that `from` uses, where it is not the first one of its status.
    pub from_address: Option<IpAddr>,
    /// The address that `to` is asked under.
    pub to_address: Option<IpAddr>,
}

impl Question {
    /// The ends as asked for.
    fn ends(&self) -> String {
        format!("{} and {}", self.from, self.to)
    }
}

/// The conversations that a question is about: one for each family of addresses that both ends have.
///
/// An address that is an attachment's on the same bridge stands for that attachment.
pub fn conversations(world: &World, question: &Question) -> Result<Vec<Conversation>, PairError> {
    let pair = pair(world, question)?;
    let from_address = fixed(question.from_address, &question.from)?;
    let to_address = fixed(question.to_address, &question.to)?;
    let from = Candidate::new(world, pair.0, from_address, STRANGERS[0]);
    let to = Candidate::new(world, pair.1, to_address, STRANGERS[1]);
    let found = meet(&from, &to, question.service);
    if found.is_empty() {
        let family = if question.service == Service::Arp { " (ARP is IPv4's)" } else { "" };
        return Err(PairError::NoAddress { ends: question.ends(), family });
    }
    Ok(found)
}

/// The address that an end uses, where it is not for us to choose.
fn fixed(address: Option<IpAddr>, spec: &EndSpec) -> Result<Option<IpAddr>, PairError> {
    match (spec, address) {
        (EndSpec::Address(own), None) => Ok(Some(*own)),
        (EndSpec::Address(own), Some(_)) => Err(PairError::AddressTwice(*own)),
        (EndSpec::Pod { .. }, address) => Ok(address.map(|address| address.to_canonical())),
    }
}

/// The conversations between two attachments of one network: one for each family of addresses that both have.
pub fn between(world: &World, from: &End, to: &End, service: Service) -> Vec<Conversation> {
    let from = Candidate::new(world, Some(from.clone()), None, STRANGERS[0]);
    let to = Candidate::new(world, Some(to.clone()), None, STRANGERS[1]);
    meet(&from, &to, service)
}

/// MACs for ends that have none: from the range for documentation, RFC 7042 section 2.1.2.
const STRANGERS: [Mac; 2] = [Mac([0, 0, 0x5e, 0, 0x53, 1]), Mac([0, 0, 0x5e, 0, 0x53, 2])];

/// A side whose address is still to be chosen.
struct Candidate {
    end: Option<End>,
    mac: Mac,
    addresses: Vec<IpAddr>,
    /// What it has besides: its link-local address, if it may use it.
    link_local: Option<IpAddr>,
}

impl Candidate {
    fn new(world: &World, end: Option<End>, fixed: Option<IpAddr>, stranger: Mac) -> Self {
        let attachment = end.as_ref().and_then(|end| end.find(world)).map(|(_, attachment)| attachment);
        let mac = attachment.and_then(|attachment| attachment.mac);
        let listed = || attachment.map(|attachment| attachment.addresses.clone()).unwrap_or_default();
        Self {
            mac: mac.unwrap_or(stranger),
            addresses: fixed.map_or_else(listed, |address| vec![address]),
            link_local: mac.filter(|_| fixed.is_none()).map(|mac| IpAddr::V6(mac.link_local())),
            end,
        }
    }

    fn address(&self, ip6: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv6() == ip6)
    }

    fn side(&self, address: IpAddr) -> Side {
        Side { end: self.end.clone(), mac: self.mac, address }
    }
}

/// The conversations of two sides, IPv4 first; over link-local addresses where they have no others in common.
fn meet(from: &Candidate, to: &Candidate, service: Service) -> Vec<Conversation> {
    let families: &[bool] = if service == Service::Arp { &[false] } else { &[false, true] };
    let mut found = Vec::new();
    for ip6 in families {
        if let (Some(source), Some(destination)) = (from.address(*ip6), to.address(*ip6)) {
            found.extend(begin(from.side(source), to.side(destination), service));
        }
    }
    if found.is_empty() && service != Service::Arp {
        let any6 = |side: &Candidate| side.address(true).or(side.link_local);
        if let (Some(source), Some(destination)) = (any6(from), any6(to)) {
            found.extend(begin(from.side(source), to.side(destination), service));
        }
    }
    found
}

/// A client's port; any unprivileged one would do.
const CLIENT_PORT: u16 = 40_001;
/// The flag of a TCP segment that begins a connection: RFC 9293 section 3.1.
const SYN: u8 = 0x02;

/// The conversation that begins with a request for `service`.
fn begin(from: Side, to: Side, service: Service) -> Option<Conversation> {
    let transport = match service {
        Service::Arp => {
            let (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) = (from.address, to.address) else {
                return None;
            };
            let payload = Payload::Arp {
                operation: 1,
                sender_mac: from.mac,
                sender_ip,
                target_mac: Mac([0; 6]),
                target_ip,
            };
            let frame = FrameSpec { source: from.mac, destination: Mac([0xff; 6]), payload };
            return Some(Conversation { from, to, frame });
        }
        Service::Icmp => Transport::Echo { request: true, id: 1 },
        Service::Port(protocol, destination_port) => {
            let source_port = CLIENT_PORT;
            match protocol {
                Protocol::Sctp => Transport::Sctp { source_port, destination_port },
                Protocol::Tcp => Transport::Tcp { source_port, destination_port, flags: SYN },
                Protocol::Udp => Transport::Udp { source_port, destination_port },
            }
        }
    };
    let payload = Payload::Ip { source: from.address, destination: to.address, transport };
    let frame = FrameSpec { source: from.mac, destination: to.mac, payload };
    Some(Conversation { from, to, frame })
}

/// The attachments that a question is about; `None` for an end that is no known pod.
fn pair(world: &World, question: &Question) -> Result<(Option<End>, Option<End>), PairError> {
    let ends = |spec: &EndSpec| match spec {
        EndSpec::Address(_) => Ok(Vec::new()),
        EndSpec::Pod { pod, interface } => {
            ends_of(world, pod, interface.as_deref(), question.network.as_ref())
        }
    };
    let (from, to) = (ends(&question.from)?, ends(&question.to)?);
    let mut pairs = Vec::new();
    match (&question.from, &question.to) {
        (EndSpec::Address(_), EndSpec::Address(_)) => {
            return Err(PairError::NoPod { ends: question.ends() });
        }
        (EndSpec::Pod { .. }, EndSpec::Pod { .. }) => {
            for from in &from {
                let met = to.iter().filter(|to| meets(world, from, to));
                pairs.extend(met.map(|to| (Some(from.clone()), Some(to.clone()))));
            }
            if pairs.is_empty() {
                return Err(nothing_shared(world, question, &from, &to));
            }
        }
        (EndSpec::Pod { .. }, EndSpec::Address(address)) => {
            pairs.extend(with_address(world, &from, *address).map(|(end, other)| (Some(end), other)));
        }
        (EndSpec::Address(address), EndSpec::Pod { .. }) => {
            pairs.extend(with_address(world, &to, *address).map(|(end, other)| (other, Some(end))));
        }
    }
    match pairs.pop() {
        Some(pair) if pairs.is_empty() => Ok(pair),
        last => Err(ambiguous(world, question, pairs.into_iter().chain(last))),
    }
}

/// Each of `ends` with whoever has `address` on its bridge; those where a pod has it, if there are any.
fn with_address(
    world: &World,
    ends: &[End],
    address: IpAddr,
) -> impl Iterator<Item = (End, Option<End>)> + use<> {
    let mut known = Vec::new();
    for end in ends {
        for pod in world.pods() {
            for (index, entry) in pod.attachments.iter().enumerate() {
                let link_local = entry.mac.is_some_and(|mac| mac.link_local() == address);
                let other = End { pod: pod.id.clone(), attachment: index };
                if (entry.addresses.contains(&address) || link_local) && meets(world, end, &other) {
                    known.push((end.clone(), Some(other)));
                }
            }
        }
    }
    if known.is_empty() {
        known = ends.iter().map(|end| (end.clone(), None)).collect();
    }
    known.into_iter()
}

/// Whether two attachments are on one network, or on one bridge and VLAN by different names.
fn meets(world: &World, one: &End, other: &End) -> bool {
    let (Some((_, first)), Some((_, second))) = (one.find(world), other.find(world)) else { return false };
    let segment = |network: &NamespacedName| -> Option<(Arc<str>, Option<u16>)> {
        world.bridge(network).map(|bridge| (bridge.bridge.clone(), bridge.vlan))
    };
    let same_bridge = || segment(&first.network).is_some_and(|first| segment(&second.network) == Some(first));
    one != other && (first.network == second.network || same_bridge())
}

fn nothing_shared(world: &World, question: &Question, from: &[End], to: &[End]) -> PairError {
    let networks = |spec: &EndSpec, ends: &[End]| {
        let networks = ends.iter().filter_map(|end| Some(end.find(world)?.1.network.clone()));
        format!("{spec} is on {}", listed(networks))
    };
    let (from, to) = (networks(&question.from, from), networks(&question.to, to));
    PairError::NothingShared { ends: question.ends(), from, to }
}

fn ambiguous(
    world: &World,
    question: &Question,
    pairs: impl Iterator<Item = (Option<End>, Option<End>)>,
) -> PairError {
    let label = |end: &Option<End>, spec: &EndSpec| -> String {
        end.as_ref().map_or_else(|| format!("{spec}"), |end| end.label(world))
    };
    let network = |end: Option<&End>| end.and_then(|end| Some(end.find(world)?.1.network.clone()));
    let choices = pairs.map(|(from, to)| {
        let on = network(from.as_ref()).or_else(|| network(to.as_ref()));
        let on = on.map(|network| format!(" on {network}")).unwrap_or_default();
        format!("{} with {}{on}", label(&from, &question.from), label(&to, &question.to))
    });
    PairError::Ambiguous { ends: question.ends(), choices: listed(choices) }
}
