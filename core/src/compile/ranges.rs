//! Sets of fixed ranges: blocks of addresses, lists of ports.

use alloc::{format, vec};

use crate::interval::{self, IntervalSet};
use crate::ruleset::{Datum, Expr, Field, Key, KeyType, Set, SetName, SetSpec, fingerprint};

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

    /// The condition that `field` is in `ranges`, where that needs no set: for a single range.
    pub(crate) fn inline(self, field: Field, ranges: &IntervalSet) -> Option<Expr> {
        match *ranges.ranges() {
            [(low, high)] if low == high => Some(Expr::is(field, self.datum(low))),
            [(low, high)] => Some(Expr::Range { field, low: self.datum(low), high: self.datum(high) }),
            _ => None,
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
