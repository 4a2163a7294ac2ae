//! The names of policies' chains: which policy, which direction, what for.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::enforcement::way;
use crate::config::LogSettings;
use crate::model::{Direction, NamespacedName, Pod, Policy, PolicyRule, PortNumbers, Ports, Protocol};
use crate::ruleset::{ChainName, fingerprint, readable};

/// What a policy's chain is asked about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Purpose {
    /// Packets that the policy allows, before they pass: the first one of each flow is told of.
    Begun(LogSettings),
    /// ARP and neighbour discovery that the other end sent: whether the policy covers it, whatever the ports.
    FromPeer,
    /// As `Original`, and what is allowed goes on to the chain for `Begun`.
    Logged(LogSettings),
    /// Packets of the policy's own direction: whether the policy allows them.
    Original,
    /// Packets against the policy's direction: whether it allows the flow that they are replies of.
    Reply,
    /// ARP and neighbour discovery for the other end.
    ToPeer,
}

/// Names one chain of a policy. Equal keys are one chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ChainKey {
    /// The policy.
    pub(crate) policy: NamespacedName,
    /// The direction of the policy's rules.
    pub(crate) direction: Direction,
    /// What the chain is for.
    pub(crate) purpose: Purpose,
    /// What the named ports of its ingress rules are on the selected pod, sorted; names that the pod does not have are
    /// left out. Empty where ports do not matter.
    bindings: Vec<(Protocol, Arc<str>, u16)>,
}

impl ChainKey {
    /// The chain that `policy` has for `pod`.
    pub(crate) fn new(policy: &Policy, direction: Direction, purpose: Purpose, pod: &Pod) -> Self {
        let mut bindings = Vec::new();
        let by_ports = matches!(purpose, Purpose::Logged(_) | Purpose::Original | Purpose::Reply);
        if direction == Direction::Ingress && by_ports {
            let rules = policy.rules(direction).unwrap_or_default();
            let names: BTreeSet<_> = rules.iter().flat_map(named_ports).collect();
            let named = pod.ports.iter().filter(|port| names.contains(&(port.protocol, &port.name)));
            bindings.extend(named.map(|port| (port.protocol, port.name.clone(), port.port)));
            bindings.sort_unstable();
            bindings.dedup();
        }
        Self { policy: policy.id.clone(), direction, purpose, bindings }
    }

    /// A key that no other key of the same policy comes before.
    pub(crate) fn first_of(policy: &NamespacedName) -> Self {
        Self {
            policy: policy.clone(),
            direction: Direction::Egress,
            purpose: Purpose::Begun(LogSettings { group: 0, rate: 0 }),
            bindings: Vec::new(),
        }
    }

    /// The chain that what this one allows goes on to.
    pub(crate) fn begun(&self, settings: LogSettings) -> Self {
        Self { purpose: Purpose::Begun(settings), bindings: Vec::new(), ..self.clone() }
    }

    /// What is told of a frame that passes here: the direction, this chain's hash, and the policy for people.
    pub(crate) fn words(&self) -> String {
        let policy = readable(&format!("{}", self.policy), 150);
        format!("{}{policy}", self.stem())
    }

    /// How these words begin, as no others do.
    pub(crate) fn stem(&self) -> String {
        format!("{}/{}-", way(self.direction), fingerprint(&format!("{self:?}")))
    }

    /// The chain's name: readable, and unique through the hash of all that it depends on.
    pub(crate) fn name(&self) -> ChainName {
        let hash = fingerprint(&format!("{self:?}"));
        let policy = readable(&format!("{}", self.policy), 150);
        let purpose = match self.purpose {
            Purpose::Begun(_) => "-begun",
            Purpose::FromPeer => "-from",
            Purpose::Logged(_) => "-logged",
            Purpose::Original => "",
            Purpose::Reply => "-replies",
            Purpose::ToPeer => "-to",
        };
        ChainName::new(format!("policy/{hash}-{policy}-{}{purpose}", self.direction))
    }

    /// The chain in words.
    pub(crate) fn describe(&self) -> String {
        let purpose = match self.purpose {
            Purpose::Begun(_) => "flows that begin, ",
            Purpose::FromPeer => "whose neighbour discovery is heard, ",
            Purpose::Logged(_) => "logged, ",
            Purpose::Original => "",
            Purpose::Reply => "replies to what is allowed, ",
            Purpose::ToPeer => "whose neighbour may be sought, ",
        };
        format!("{purpose}policy {} {}", self.policy, self.direction)
    }

    /// The numbers of a named ingress port, as ranges of one.
    pub(crate) fn bound(&self, protocol: Protocol, name: &str) -> impl Iterator<Item = (u128, u128)> {
        let bindings = self.bindings.iter().filter(move |(bound, of, _)| *bound == protocol && **of == *name);
        bindings.map(|(_, _, port)| (u128::from(*port), u128::from(*port)))
    }
}

/// The named ports of a rule.
pub(crate) fn named_ports(rule: &PolicyRule) -> impl Iterator<Item = (Protocol, &Arc<str>)> {
    let ports = match &rule.ports {
        Ports::Any => &[][..],
        Ports::Listed(ports) => ports,
    };
    ports.iter().filter_map(|port| match &port.numbers {
        PortNumbers::Named(name) => Some((port.protocol, name)),
        PortNumbers::All | PortNumbers::Range(..) => None,
    })
}
