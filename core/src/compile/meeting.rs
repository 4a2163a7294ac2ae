//! Who may ask for whom by ARP and neighbour discovery: a policy's peers, whatever the ports.
//!
//! The other end is named by the address that the frame carries for it; where it carries none (an ARP probe, duplicate
//! address detection), by its MAC. Which IPv6 neighbour a multicast solicitation seeks is told by its destination, the
//! target's solicited-node address: nft has no name for the target field itself in the versions that must load our text.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::iter::Enumerate;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::slice::Iter;

use super::chain_key::{ChainKey, Purpose};
use super::group::{GroupKey, Part, solicited};
use super::policy_chain::{Sets, blocks, selected};
use super::ranges::RangeKind;
use super::skeleton::{ICMP6_SOLICITATION, icmp6, multicast, network, rule};
use crate::interval::IntervalSet;
use crate::model::{Peers, PolicyRule};
use crate::ruleset::{Datum, Expr, Field, Rule, Verdict};

/// `fe80::/10` (RFC 4291 section 2.5.6).
const LINK_LOCAL: (Ipv6Addr, Ipv6Addr) = (
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
    Ipv6Addr::new(0xfebf, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff),
);

/// The rules of a chain for [`Purpose::FromPeer`] or [`Purpose::ToPeer`]: each way to be one of the policy's peers, once.
pub(crate) fn rules(sets: &mut Sets, key: &ChainKey, rules: Enumerate<Iter<'_, PolicyRule>>) -> Vec<Rule> {
    let from = key.purpose == Purpose::FromPeer;
    let mut ways: Vec<Vec<Expr>> = Vec::new();
    let mut groups: BTreeSet<Arc<GroupKey>> = BTreeSet::new();
    let mut ranges: [Vec<(u128, u128)>; 2] = [Vec::new(), Vec::new()];
    for (_, rule) in rules {
        let Peers::Listed(peers) = &rule.peers else { return vec![accept(Vec::new())] };
        groups.extend(peers.iter().filter_map(selected).map(|(scope, pods)| sets.group(scope, pods)));
        for ((_, of_rule), all) in blocks(peers).iter().zip(&mut ranges) {
            all.extend(of_rule.ranges());
        }
    }
    for group in &groups {
        ways.extend(if from { from_group(sets, group) } else { to_group(sets, group) });
    }
    let [ip4, ip6] = ranges.map(IntervalSet::union);
    let field = if from { Field::ArpSenderIp } else { Field::ArpTargetIp };
    ways.extend(sets.within(field, RangeKind::Ip4, ip4).map(|within| vec![arp(), within]));
    ways.extend(block_ip6(sets, from, ip6));
    ways.into_iter().map(accept).collect()
}

/// The ways to come from a member of a group.
fn from_group(sets: &mut Sets, group: &Arc<GroupKey>) -> Vec<Vec<Expr>> {
    let stem = group.stem();
    let mut member = |part, field| sets.member(group, &stem, part, vec![field]);
    let no_ip4 = Expr::is(Field::ArpSenderIp, Datum::Ip4(Ipv4Addr::UNSPECIFIED));
    let no_ip6 = Expr::is(Field::Ip6Source, Datum::Ip6(Ipv6Addr::UNSPECIFIED));
    vec![
        vec![arp(), member(Part::Ip4, Field::ArpSenderIp)],
        vec![arp(), no_ip4, member(Part::Mac, Field::EtherSource)],
        vec![network(true), member(Part::Ip6, Field::Ip6Source)],
        vec![network(true), no_ip6, member(Part::Mac, Field::EtherSource)],
        vec![member(Part::AnyIp, Field::EtherSource)],
    ]
}

/// The ways to be for a member of a group.
fn to_group(sets: &mut Sets, group: &Arc<GroupKey>) -> Vec<Vec<Expr>> {
    let stem = group.stem();
    let mut member = |part, field| sets.member(group, &stem, part, vec![field]);
    vec![
        vec![arp(), member(Part::Ip4, Field::ArpTargetIp)],
        vec![network(true), member(Part::Ip6, Field::Ip6Destination)],
        vec![network(true), member(Part::Solicited, Field::Ip6Destination)],
        vec![member(Part::AnyIp, Field::EtherDestination)],
        // Somebody whose addresses nobody knows can only be found by asking for an unknown address.
        vec![multicast(), member(Part::Seek, Field::NetworkProtocol)],
    ]
}

/// The ways to come from, or be for, an IPv6 address in one of the blocks.
fn block_ip6(sets: &mut Sets, from: bool, ranges: IntervalSet) -> Vec<Vec<Expr>> {
    if ranges.ranges().is_empty() {
        return Vec::new();
    }
    // A host checks that its neighbours are still there with unicast solicitations from its link-local address (RFC 4861
    // section 7.3.3), which no block names; without them and the answers, an allowed flow would lose its neighbour entry.
    let field = if from { Field::Ip6Source } else { Field::Ip6Destination };
    let link_local = Expr::Range { field, low: Datum::Ip6(LINK_LOCAL.0), high: Datum::Ip6(LINK_LOCAL.1) };
    let mut probe = icmp6(if from { ICMP6_SOLICITATION } else { super::skeleton::ICMP6_ADVERTISEMENT });
    probe.extend([link_local, super::skeleton::unicast()]);
    let sought = (!from).then(|| IntervalSet::union(ranges.ranges().iter().flat_map(solicited_ranges)));
    let within = sets.within(field, RangeKind::Ip6, ranges);
    let sought = sought.and_then(|sought| sets.within(field, RangeKind::Ip6, sought));
    [within, sought].into_iter().flatten().map(|within| vec![network(true), within]).chain([probe]).collect()
}

/// The solicited-node addresses of all addresses in a range: their low 24 bits, which may wrap.
fn solicited_ranges((low, high): &(u128, u128)) -> Vec<(u128, u128)> {
    let node = |address: u128| solicited(Ipv6Addr::from_bits(address)).to_bits();
    let (first, last) = (node(0), node(u128::MAX));
    if high - low >= last - first {
        vec![(first, last)]
    } else if node(*low) <= node(*high) {
        vec![(node(*low), node(*high))]
    } else {
        vec![(first, node(*high)), (node(*low), last)]
    }
}

fn arp() -> Expr {
    Expr::is(Field::NetworkProtocol, Datum::ARP)
}

fn accept(mut exprs: Vec<Expr>) -> Rule {
    exprs.push(Expr::Verdict(Verdict::Accept));
    rule(exprs)
}
