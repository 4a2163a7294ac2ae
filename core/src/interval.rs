//! Sets of whole numbers as ranges: sorted, disjoint, and merged where they touch.
//!
//! The kernel refuses overlapping ranges, and one canonical form for equal sets lets them share a kernel set.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::model::Block;

/// A set of numbers.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct IntervalSet(Vec<(u128, u128)>);

impl IntervalSet {
    /// The union of `ranges`, each with both ends included; a range whose end is before its start is empty.
    pub(crate) fn union(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut sorted: Vec<(u128, u128)> = ranges.into_iter().filter(|(low, high)| low <= high).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (low, high) in sorted {
            match merged.last_mut() {
                Some((_, end)) if low <= end.saturating_add(1) => *end = high.max(*end),
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    /// What is in this set and not in `other`.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut holes = other.0.iter().peekable();
        for &(low, high) in &self.0 {
            let mut start = Some(low);
            while let Some(&&(hole_low, hole_high)) = holes.peek() {
                let Some(from) = start else { break };
                if hole_low > high {
                    break;
                }
                if hole_low > from {
                    left.push((from, hole_low - 1));
                }
                if hole_high >= high {
                    start = None;
                    break;
                }
                start = hole_high.checked_add(1).map(|next| next.max(from));
                holes.next();
            }
            left.extend(start.map(|from| (from, high)));
        }
        Self(left)
    }

    /// Whether these are all numbers of `bits` bits.
    pub(crate) fn is_whole(&self, bits: u32) -> bool {
        self.0 == [(0, u128::MAX >> (128 - bits))]
    }

    /// The ranges, ascending, both ends included.
    pub(crate) fn ranges(&self) -> &[(u128, u128)] {
        &self.0
    }
}

/// The addresses of `blocks` of one family.
pub(crate) fn addresses(blocks: &[&Block], ip6: bool) -> IntervalSet {
    let of_family = blocks.iter().filter(|block| block.cidr().addr().is_ipv6() == ip6);
    IntervalSet::union(of_family.flat_map(|block| {
        let whole = IntervalSet::union([range(block.cidr())]);
        whole.minus(&IntervalSet::union(block.except().iter().copied().map(range))).0
    }))
}

fn range(net: IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The IPv4 address with this number; numbers beyond the last are that one.
pub(crate) fn ip4(number: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The IPv6 address with this number.
pub(crate) fn ip6(number: u128) -> Ipv6Addr {
    Ipv6Addr::from_bits(number)
}
