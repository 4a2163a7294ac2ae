//! One policy, one direction, as a chain: it accepts what the policy allows and returns for everything else.
//!
//! The chain is shared by every attachment that the policy selects. Only named ingress ports depend on the attachment:
//! pods that resolve the names alike share a chain.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};

use super::group::{GroupKey, Part, Scope, set_name};
use super::skeleton::{Origin, rule};
use crate::interval::{self, IntervalSet};
use crate::model::{
    Block, Direction, NamespaceScope, NamespacedName, Peer, Peers, Pod, Policy, PolicyRule, PortNumbers,
    Ports, Protocol, Selector,
};
use crate::ruleset::{
    ChainName, Datum, Expr, Field, Key, KeyType, Rule, Set, SetName, SetSpec, Verdict, fingerprint, readable,
};

/// Names the chain of a policy for one direction. Equal keys are one chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ChainKey {
    /// The policy.
    pub(crate) policy: NamespacedName,
    /// The direction.
    pub(crate) direction: Direction,
    /// What the named ports of its ingress rules are on the selected pod, sorted; names that the pod does not have are
    /// left out.
    bindings: Vec<(Protocol, Arc<str>, u16)>,
}

impl ChainKey {
    /// The chain that judges `pod` by `policy` in `direction`.
    pub(crate) fn new(policy: &Policy, direction: Direction, pod: &Pod) -> Self {
        let mut bindings = Vec::new();
        if direction == Direction::Ingress {
            let rules = policy.rules(direction).unwrap_or_default();
            let names: BTreeSet<_> = rules.iter().flat_map(named_ports).collect();
            bindings.extend(
                pod.ports
                    .iter()
                    .filter(|port| names.contains(&(port.protocol, &port.name)))
                    .map(|port| (port.protocol, port.name.clone(), port.port)),
            );
            bindings.sort_unstable();
            bindings.dedup();
        }
        Self { policy: policy.id.clone(), direction, bindings }
    }

    /// A key that no other key of the same policy comes before.
    pub(crate) fn first_of(policy: &NamespacedName) -> Self {
        Self { policy: policy.clone(), direction: Direction::Egress, bindings: Vec::new() }
    }

    /// The chain's name: readable, and unique through the hash of all that it depends on.
    pub(crate) fn name(&self) -> ChainName {
        let hash = fingerprint(&format!("{self:?}"));
        let policy = readable(&format!("{}", self.policy), 150);
        ChainName::new(format!("policy/{hash}-{policy}-{}", self.direction))
    }

    /// The chain in words.
    pub(crate) fn describe(&self) -> alloc::string::String {
        format!("policy {} {}", self.policy, self.direction)
    }

    fn bound(&self, protocol: Protocol, name: &str) -> impl Iterator<Item = (u128, u128)> {
        let bindings = self.bindings.iter().filter(move |(bound, of, _)| *bound == protocol && **of == *name);
        bindings.map(|(_, _, port)| (u128::from(*port), u128::from(*port)))
    }
}

fn named_ports(rule: &PolicyRule) -> impl Iterator<Item = (Protocol, &Arc<str>)> {
    let ports = match &rule.ports {
        Ports::Any => &[][..],
        Ports::Listed(ports) => ports,
    };
    ports.iter().filter_map(|port| match &port.numbers {
        PortNumbers::Named(name) => Some((port.protocol, name)),
        PortNumbers::All | PortNumbers::Range(..) => None,
    })
}

/// A set that a policy chain looks something up in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum SetUse {
    /// The sets of a group of peers.
    Group(GroupKey),
    /// Fixed ranges of addresses or ports.
    Ranges {
        /// What they are ranges of.
        kind: RangeKind,
        /// The ranges.
        ranges: IntervalSet,
    },
}

/// What a set of ranges holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum RangeKind {
    Ip4,
    Ip6,
    Port,
}

impl RangeKind {
    const fn key_type(self) -> KeyType {
        match self {
            Self::Ip4 => KeyType::Ip4,
            Self::Ip6 => KeyType::Ip6,
            Self::Port => KeyType::Port,
        }
    }

    /// A value of this kind by its number.
    fn datum(self, number: u128) -> Datum {
        match self {
            Self::Ip4 => Datum::Ip4(interval::ip4(number)),
            Self::Ip6 => Datum::Ip6(interval::ip6(number)),
            Self::Port => Datum::Port(u16::try_from(number).unwrap_or(u16::MAX)),
        }
    }
}

/// The name of the set of fixed ranges.
pub(crate) fn ranges_name(kind: RangeKind, ranges: &IntervalSet) -> SetName {
    let hash = fingerprint(&format!("{ranges:?}"));
    SetName::new(match kind {
        RangeKind::Ip4 => format!("block/{hash}-ip4"),
        RangeKind::Ip6 => format!("block/{hash}-ip6"),
        RangeKind::Port => format!("ports/{hash}"),
    })
}

/// The set of fixed ranges.
pub(crate) fn ranges_set(kind: RangeKind, ranges: &IntervalSet) -> Set {
    let element = |(low, high): &(u128, u128)| (Key::Range(kind.datum(*low), kind.datum(*high)), None);
    let spec = SetSpec { key: vec![kind.key_type()], interval: true, ..SetSpec::default() };
    Set { spec, elements: ranges.ranges().iter().map(element).collect() }
}

/// The rules of a policy's chain, and the sets that they use.
pub(crate) fn policy_chain(policy: &Policy, key: &ChainKey) -> (Vec<Rule>, BTreeSet<SetUse>) {
    let mut writer = Writer { key, networks: policy.networks.as_slice().into(), sets: BTreeSet::new() };
    let rules = policy.rules(key.direction).unwrap_or_default();
    let rules = rules.iter().enumerate().flat_map(|(at, rule)| writer.rule(at, rule)).collect();
    (rules, writer.sets)
}

struct Writer<'a> {
    key: &'a ChainKey,
    networks: Arc<[NamespacedName]>,
    sets: BTreeSet<SetUse>,
}

impl Writer<'_> {
    /// A rule as nft rules: one for each way to meet its peers and its ports.
    fn rule(&mut self, at: usize, rule: &PolicyRule) -> Vec<Rule> {
        let mut conditions = Vec::new();
        for peer in self.peers(rule) {
            for port in self.ports(&rule.ports) {
                conditions.push(peer.iter().cloned().chain(port).collect());
            }
        }
        conditions.extend(self.named_egress(rule));
        let origin = match self.key.direction {
            Direction::Egress => Origin::Started,
            Direction::Ingress => Origin::Admitted,
        };
        let comment = format!("{} rule {at}", self.key.direction);
        conditions.into_iter().map(|exprs| allow(exprs, origin, &comment)).collect()
    }

    /// Where the peer is found in a frame.
    fn side(&self) -> Side {
        match self.key.direction {
            Direction::Egress => Side {
                ether: Field::EtherDestination,
                ip4: Field::Ip4Destination,
                ip6: Field::Ip6Destination,
            },
            Direction::Ingress => {
                Side { ether: Field::EtherSource, ip4: Field::Ip4Source, ip6: Field::Ip6Source }
            }
        }
    }

    /// The ways to be one of the rule's peers, each as conditions that must all hold.
    fn peers(&mut self, rule: &PolicyRule) -> Vec<Vec<Expr>> {
        let Peers::Listed(peers) = &rule.peers else { return vec![Vec::new()] };
        let mut ways = Vec::new();
        for (scope, pods) in peers.iter().filter_map(selected) {
            ways.extend(self.group_ways(scope, pods, rule.ports == Ports::Any));
        }
        let blocks: Vec<&Block> = peers.iter().filter_map(block).collect();
        for ip6 in [false, true] {
            let ranges = interval::addresses(&blocks, ip6);
            if ranges.is_whole(if ip6 { 128 } else { 32 }) {
                ways.push(vec![network(ip6)]);
                continue;
            }
            let side = self.side();
            let (field, kind) = if ip6 { (side.ip6, RangeKind::Ip6) } else { (side.ip4, RangeKind::Ip4) };
            ways.extend(self.within(field, kind, ranges).map(|within| vec![network(ip6), within]));
        }
        ways
    }

    /// The ways to be a peer of a group: by address, by MAC where no address is known, and for other payloads by MAC.
    fn group_ways(&mut self, scope: Scope, pods: &Selector, any_payload: bool) -> Vec<Vec<Expr>> {
        let group = GroupKey {
            networks: self.networks.clone(),
            scope,
            pods: pods.clone(),
            port: None,
            within: Vec::new(),
        };
        let stem = group.stem();
        let side = self.side();
        let mut ways = vec![
            vec![network(false), Expr::within(vec![side.ip4], set_name(&stem, Part::Ip4))],
            vec![network(true), Expr::within(vec![side.ip6], set_name(&stem, Part::Ip6))],
            vec![Expr::within(vec![side.ether], set_name(&stem, Part::AnyIp))],
        ];
        if any_payload {
            let mut other = [Datum::IP4, Datum::IP6, Datum::ARP]
                .map(|kind| Expr::is_not(Field::NetworkProtocol, kind))
                .to_vec();
            other.push(Expr::within(vec![side.ether], set_name(&stem, Part::Mac)));
            ways.push(other);
        }
        self.sets.insert(SetUse::Group(group));
        ways
    }

    /// The ways to be sent to one of the rule's ports by number.
    fn ports(&mut self, ports: &Ports) -> Vec<Vec<Expr>> {
        let Ports::Listed(ports) = ports else { return vec![Vec::new()] };
        let mut ways = Vec::new();
        for protocol in Protocol::ALL {
            let of_protocol = || ports.iter().filter(|port| port.protocol == protocol);
            let is_protocol = Expr::is(Field::TransportProtocol, Datum::Protocol(protocol.number()));
            if of_protocol().any(|port| port.numbers == PortNumbers::All) {
                ways.push(vec![is_protocol]);
                continue;
            }
            let mut ranges = Vec::new();
            for port in of_protocol() {
                match &port.numbers {
                    PortNumbers::All => {}
                    PortNumbers::Named(name) => ranges.extend(self.key.bound(protocol, name)),
                    PortNumbers::Range(low, high) => ranges.push((u128::from(*low), u128::from(*high))),
                }
            }
            let within = self.within(Field::DestinationPort, RangeKind::Port, IntervalSet::union(ranges));
            ways.extend(within.map(|within| vec![is_protocol, within]));
        }
        ways
    }

    /// The condition that a field is in `ranges`: inline for a single range, else by a set. `None` for no range.
    fn within(&mut self, field: Field, kind: RangeKind, ranges: IntervalSet) -> Option<Expr> {
        match *ranges.ranges() {
            [] => None,
            [(low, high)] if low == high => Some(Expr::is(field, kind.datum(low))),
            [(low, high)] => Some(Expr::Range { field, low: kind.datum(low), high: kind.datum(high) }),
            _ => {
                let name = ranges_name(kind, &ranges);
                self.sets.insert(SetUse::Ranges { kind, ranges });
                Some(Expr::within(vec![field], name))
            }
        }
    }

    /// The ways to be sent to a named port of a peer: egress resolves the name on each peer.
    fn named_egress(&mut self, rule: &PolicyRule) -> Vec<Vec<Expr>> {
        if self.key.direction == Direction::Ingress {
            return Vec::new();
        }
        let mut ways = Vec::new();
        let names: BTreeSet<_> = named_ports(rule).collect();
        for (protocol, name) in names {
            for (scope, pods, within) in covered(&rule.peers) {
                let port = Some((protocol, name.clone()));
                let group = GroupKey { networks: self.networks.clone(), scope, pods, port, within };
                let stem = group.stem();
                let side = self.side();
                for part in group.parts() {
                    let (network, peer) = match part {
                        Part::Ip4 => (Some(network(false)), side.ip4),
                        Part::Ip6 => (Some(network(true)), side.ip6),
                        Part::AnyIp | Part::Mac => (None, side.ether),
                    };
                    let mut way: Vec<Expr> = network.into_iter().collect();
                    way.push(Expr::is(Field::TransportProtocol, Datum::Protocol(protocol.number())));
                    way.push(Expr::within(vec![peer, Field::DestinationPort], set_name(&stem, *part)));
                    ways.push(way);
                }
                self.sets.insert(SetUse::Group(group));
            }
        }
        ways
    }
}

/// The fields of a frame that name the peer.
struct Side {
    ether: Field,
    ip4: Field,
    ip6: Field,
}

/// The pods that a rule's peers cover, for resolving a named port on them.
fn covered(peers: &Peers) -> Vec<(Scope, Selector, Vec<Block>)> {
    let Peers::Listed(peers) = peers else { return vec![(Scope::All, Selector::default(), Vec::new())] };
    let mut all: Vec<_> =
        peers.iter().filter_map(selected).map(|(scope, pods)| (scope, pods.clone(), Vec::new())).collect();
    let mut blocks: Vec<Block> = peers.iter().filter_map(block).cloned().collect();
    blocks.sort_unstable();
    blocks.dedup();
    if !blocks.is_empty() {
        all.push((Scope::All, Selector::default(), blocks));
    }
    all
}

fn selected(peer: &Peer) -> Option<(Scope, &Selector)> {
    match peer {
        Peer::Block(_) => None,
        Peer::Pods { namespaces: NamespaceScope::Named(name), pods } => {
            Some((Scope::Named(name.clone()), pods))
        }
        Peer::Pods { namespaces: NamespaceScope::Matching(selector), pods } => {
            Some((Scope::Matching(selector.clone()), pods))
        }
    }
}

fn block(peer: &Peer) -> Option<&Block> {
    match peer {
        Peer::Block(block) => Some(block),
        Peer::Pods { .. } => None,
    }
}

fn network(ip6: bool) -> Expr {
    Expr::is(Field::NetworkProtocol, if ip6 { Datum::IP6 } else { Datum::IP4 })
}

fn allow(mut exprs: Vec<Expr>, origin: Origin, comment: &str) -> Rule {
    exprs.push(Expr::Verdict(Verdict::Goto(origin.chain())));
    Rule { comment: comment.into(), ..rule(exprs) }
}
