//! One policy, one direction, as a chain: it passes what the policy allows and returns for everything else.
//!
//! The chain is shared by every attachment that the policy selects. Only named ingress ports depend on the attachment:
//! pods that resolve the names alike share a chain.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::chain_key::{ChainKey, Purpose, named_ports};
use super::group::{GroupKey, Part, Scope, set_name};
use super::logging::{ALLOWED, told};
use super::meeting;
use super::ranges::{RangeKind, ranges_name};
use super::skeleton::{network, rule as nft_rule};
use super::tracking::{self, Flow, Origin};
use crate::config::LogSettings;
use crate::interval::{self, IntervalSet};
use crate::model::{
    Block, Direction, NamespaceScope, NamespacedName, Peer, Peers, Policy, PolicyRule, PortNumbers, Ports,
    Protocol, Selector,
};
use crate::ruleset::{Datum, Expr, Field, Rule, Verdict};

/// A set that a policy chain looks something up in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum SetUse {
    /// The flows of a kind that were told of.
    Told(Origin, Flow),
    /// One of the sets of a group of peers.
    Group(Arc<GroupKey>, Part),
    /// Fixed ranges of addresses or ports.
    Ranges {
        /// What they are ranges of.
        kind: RangeKind,
        /// The ranges.
        ranges: IntervalSet,
    },
}

/// The rules of a policy's chain, and the sets that they use.
pub(crate) fn policy_chain(policy: &Policy, key: &ChainKey) -> (Vec<Rule>, BTreeSet<SetUse>) {
    let mut sets = Sets { networks: policy.networks.as_slice().into(), uses: BTreeSet::new() };
    let rules = policy.rules(key.direction).unwrap_or_default().iter().enumerate();
    let rules = match key.purpose {
        Purpose::FromPeer | Purpose::ToPeer => meeting::rules(&mut sets, key, rules),
        Purpose::Begun(settings) => begun(&mut sets, key, settings),
        Purpose::Logged(_) | Purpose::Original | Purpose::Reply => {
            let mut writer = Writer { key, side: Side::of(key), sets: &mut sets };
            rules.flat_map(|(at, rule)| writer.rule(at, rule)).collect()
        }
    };
    (rules, sets.uses)
}

/// The rules of a chain that tells of the flows which begin with what a policy allows.
fn begun(sets: &mut Sets, key: &ChainKey, settings: LogSettings) -> Vec<Rule> {
    let origin = Origin::of(key.direction);
    sets.uses.extend(Flow::ALL.map(|flow| SetUse::Told(origin, flow)));
    tracking::begun(origin, &told(settings, ALLOWED, &key.words()))
}

/// The sets that a chain has come to use.
pub(crate) struct Sets {
    networks: Arc<[NamespacedName]>,
    uses: BTreeSet<SetUse>,
}

impl Sets {
    /// A group of the policy's networks.
    pub(crate) fn group(&self, scope: Scope, pods: &Selector) -> Arc<GroupKey> {
        let (networks, pods) = (self.networks.clone(), pods.clone());
        Arc::new(GroupKey { networks, scope, pods, port: None, within: Vec::new() })
    }

    /// The condition that `fields` are in one of the sets of a group.
    pub(crate) fn member(
        &mut self,
        group: &Arc<GroupKey>,
        stem: &str,
        part: Part,
        fields: Vec<Field>,
    ) -> Expr {
        self.uses.insert(SetUse::Group(group.clone(), part));
        Expr::within(fields, set_name(stem, part))
    }

    /// The condition that a field is in `ranges`: inline for a single range, else by a set. `None` for no range.
    pub(crate) fn within(&mut self, field: Field, kind: RangeKind, ranges: IntervalSet) -> Option<Expr> {
        if ranges.ranges().is_empty() {
            return None;
        }
        Some(kind.inline(field, &ranges).unwrap_or_else(|| {
            let name = ranges_name(kind, &ranges);
            self.uses.insert(SetUse::Ranges { kind, ranges });
            Expr::within(vec![field], name)
        }))
    }
}

/// The fields of a frame that name the peer, and the one that names the receiver's port.
struct Side {
    ether: Field,
    ip4: Field,
    ip6: Field,
    service: Field,
}

impl Side {
    /// The peer sends what is judged for ingress and the replies of egress; the service is at the receiver of the
    /// original direction.
    fn of(key: &ChainKey) -> Self {
        let reply = key.purpose == Purpose::Reply;
        let service = if reply { Field::SourcePort } else { Field::DestinationPort };
        if (key.direction == Direction::Ingress) == reply {
            let (ip4, ip6) = (Field::Ip4Destination, Field::Ip6Destination);
            return Self { ether: Field::EtherDestination, ip4, ip6, service };
        }
        Self { ether: Field::EtherSource, ip4: Field::Ip4Source, ip6: Field::Ip6Source, service }
    }
}

struct Writer<'a> {
    key: &'a ChainKey,
    side: Side,
    sets: &'a mut Sets,
}

impl Writer<'_> {
    /// A rule as nft rules: one for each way to meet its peers and its ports.
    fn rule(&mut self, at: usize, rule: &PolicyRule) -> Vec<Rule> {
        let mut conditions = Vec::new();
        let ports = self.ports(&rule.ports);
        for peer in self.peers(rule) {
            for port in &ports {
                conditions.push(peer.iter().chain(port).cloned().collect());
            }
        }
        conditions.extend(self.named_egress(rule));
        let origin = Origin::of(self.key.direction);
        let target = match self.key.purpose {
            Purpose::Logged(settings) => self.key.begun(settings).name(),
            Purpose::Reply => origin.replies_chain(),
            Purpose::Begun(_) | Purpose::FromPeer | Purpose::Original | Purpose::ToPeer => origin.chain(),
        };
        let comment = format!("{} rule {at}", self.key.direction);
        let pass = |mut exprs: Vec<Expr>| {
            exprs.push(Expr::Verdict(Verdict::Goto(target.clone())));
            Rule { comment: comment.clone(), ..nft_rule(exprs) }
        };
        conditions.into_iter().map(pass).collect()
    }

    /// The ways to be one of the rule's peers, each as conditions that must all hold.
    fn peers(&mut self, rule: &PolicyRule) -> Vec<Vec<Expr>> {
        let Peers::Listed(peers) = &rule.peers else { return vec![Vec::new()] };
        let mut ways = Vec::new();
        for (scope, pods) in peers.iter().filter_map(selected) {
            let judges = matches!(self.key.purpose, Purpose::Logged(_) | Purpose::Original);
            let any_payload = rule.ports == Ports::Any && judges;
            ways.extend(self.group_ways(scope, pods, any_payload));
        }
        for (ip6, ranges) in blocks(peers) {
            if ranges.is_whole(if ip6 { 128 } else { 32 }) {
                ways.push(vec![network(ip6)]);
                continue;
            }
            let (field, kind) =
                if ip6 { (self.side.ip6, RangeKind::Ip6) } else { (self.side.ip4, RangeKind::Ip4) };
            ways.extend(self.sets.within(field, kind, ranges).map(|within| vec![network(ip6), within]));
        }
        ways
    }

    /// The ways to be a peer of a group: by address, by MAC where no address is known, and for other payloads by MAC.
    fn group_ways(&mut self, scope: Scope, pods: &Selector, any_payload: bool) -> Vec<Vec<Expr>> {
        let group = self.sets.group(scope, pods);
        let stem = group.stem();
        let Side { ether, ip4, ip6, .. } = self.side;
        let mut member = |part, field| self.sets.member(&group, &stem, part, vec![field]);
        let mut ways = vec![
            vec![network(false), member(Part::Ip4, ip4)],
            vec![network(true), member(Part::Ip6, ip6)],
            vec![member(Part::AnyIp, ether)],
        ];
        if any_payload {
            let mut other = [Datum::IP4, Datum::IP6, Datum::ARP]
                .map(|kind| Expr::is_not(Field::NetworkProtocol, kind))
                .to_vec();
            other.push(member(Part::Mac, ether));
            ways.push(other);
        }
        ways
    }

    /// The ways to be sent to (for replies: from) one of the rule's ports by number.
    fn ports(&mut self, ports: &Ports) -> Vec<Vec<Expr>> {
        let Ports::Listed(ports) = ports else { return vec![Vec::new()] };
        let mut ways = Vec::new();
        for protocol in Protocol::ALL {
            let of_protocol = || ports.iter().filter(|port| port.protocol == protocol);
            let is_protocol = transport(protocol);
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
            let ranges = IntervalSet::union(ranges);
            let within = self.sets.within(self.side.service, RangeKind::Port, ranges);
            ways.extend(within.map(|within| vec![is_protocol, within]));
        }
        ways
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
                let by_address = !within.is_empty();
                let group = Arc::new(GroupKey { port, within, ..(*self.sets.group(scope, &pods)).clone() });
                let stem = group.stem();
                let Side { ether, ip4, ip6, service } = self.side;
                let mut member = |part, field| self.sets.member(&group, &stem, part, vec![field, service]);
                ways.push(vec![network(false), transport(protocol), member(Part::Ip4, ip4)]);
                ways.push(vec![network(true), transport(protocol), member(Part::Ip6, ip6)]);
                if !by_address {
                    ways.push(vec![transport(protocol), member(Part::AnyIp, ether)]);
                }
            }
        }
        ways
    }
}

/// The pods that a rule's peers cover, for resolving a named port on them.
fn covered(peers: &Peers) -> Vec<(Scope, Selector, Vec<Block>)> {
    let Peers::Listed(peers) = peers else { return vec![(Scope::All, Selector::default(), Vec::new())] };
    let pods = peers.iter().filter_map(selected);
    let mut all: Vec<_> = pods.map(|(scope, pods)| (scope, pods.clone(), Vec::new())).collect();
    let mut blocks: Vec<Block> = peers.iter().filter_map(block).cloned().collect();
    blocks.sort_unstable();
    blocks.dedup();
    if !blocks.is_empty() {
        all.push((Scope::All, Selector::default(), blocks));
    }
    all
}

/// The addresses of all blocks among `peers`, IPv4 and IPv6.
pub(crate) fn blocks(peers: &[Peer]) -> [(bool, IntervalSet); 2] {
    let blocks: Vec<&Block> = peers.iter().filter_map(block).collect();
    [false, true].map(|ip6| (ip6, interval::addresses(&blocks, ip6)))
}

/// The pods that a peer selects.
pub(crate) fn selected(peer: &Peer) -> Option<(Scope, &Selector)> {
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

fn transport(protocol: Protocol) -> Expr {
    Expr::is(Field::TransportProtocol, Datum::Protocol(protocol.number()))
}
