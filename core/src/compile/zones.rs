//! Conntrack zones: one for each layer-2 segment of the managed bridges, so that the same addresses on two networks are
//! two connections, and both ways of one connection meet, whichever ports its packets use.
//!
//! A segment is a bridge and a VLAN. The frame itself says where it belongs: by the bridge that it came in on, by its tag,
//! or without one by its port's VLAN. So a port that the agent has not heard of yet is in the right zone too. Numbers
//! follow from the names alone: a hash, and the next free one where two meet.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};

use super::quarantine::bridge_key;
use super::skeleton::{accept, chain, rule};
use crate::ruleset::{
    Chain, ChainName, Datum, Expr, Field, Key, Rule, SetName, Verdict, fingerprint, readable,
};
use crate::world::World;

/// The VLAN of a port that nobody has configured (`default_pvid`, `net/bridge/br_vlan.c`).
const DEFAULT_VLAN: u16 = 1;
/// Stands for all VLANs of a bridge that no network names. No VLAN has this number: IEEE 802.1Q table 9-2.
const OTHER_VLANS: u16 = 0;

/// The map from a bridge to the chain that puts its frames into zones.
pub(crate) fn zone_bridge() -> SetName {
    SetName::new("zone-bridge")
}

/// The zones of all segments, by bridge and VLAN.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Zones(BTreeMap<Arc<str>, BTreeMap<u16, u16>>);

impl Zones {
    /// Those of the bridges and VLANs that the managed networks of `world` name.
    pub(crate) fn of(world: &World) -> Self {
        let mut segments = BTreeSet::new();
        for bridge in world.bridges() {
            for vlan in [OTHER_VLANS, DEFAULT_VLAN, bridge.vlan.unwrap_or(DEFAULT_VLAN)] {
                segments.insert((bridge.bridge.clone(), vlan));
            }
        }
        let mut zones = Self::default();
        let mut taken = BTreeSet::new();
        for (bridge, vlan) in segments {
            let zone = free(preferred(&bridge, vlan), &taken);
            taken.insert(zone);
            zones.0.entry(bridge).or_default().insert(vlan, zone);
        }
        zones
    }

    /// The chains that put frames into the zones.
    pub(crate) fn chains(&self) -> impl Iterator<Item = (ChainName, Chain)> {
        self.0.iter().map(|(bridge, vlans)| (chain_of(bridge), chain(None, rules(vlans))))
    }

    /// The elements of the map that leads to them.
    pub(crate) fn elements(&self) -> impl Iterator<Item = (Key, Option<Verdict>)> {
        self.0.keys().map(|bridge| (bridge_key(bridge), Some(Verdict::Goto(chain_of(bridge)))))
    }

    /// The elements and chains of the bridges that `others` do not have.
    pub(crate) fn without(&self, others: &Self) -> impl Iterator<Item = (Key, ChainName)> {
        let gone = self.0.keys().filter(|bridge| !others.0.contains_key(*bridge));
        gone.map(|bridge| (bridge_key(bridge), chain_of(bridge)))
    }
}

fn chain_of(bridge: &str) -> ChainName {
    let hash = fingerprint(&format!("zone {bridge}"));
    ChainName::new(format!("zone/{hash}-{}", readable(bridge, 150)))
}

/// Where the search for a free number begins.
fn preferred(bridge: &str, vlan: u16) -> u16 {
    let hash = fingerprint(&format!("zone {bridge}/{vlan}"));
    let folded = hash.bytes().fold(0, |sum: u16, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    folded.max(1)
}

/// The first number from `preferred` on that is not taken; none is zero, which is the zone of everything else. With more
/// segments than numbers, which no node has, the last ones share.
fn free(preferred: u16, taken: &BTreeSet<u16>) -> u16 {
    let numbers = (preferred..=u16::MAX).chain(1..preferred);
    let mut free = numbers.filter(|number| !taken.contains(number));
    free.next().unwrap_or(preferred)
}

/// The rules of one bridge: tags first, then the VLANs of ports. A bridge that does not look at VLANs has none.
fn rules(vlans: &BTreeMap<u16, u16>) -> Vec<Rule> {
    let into = |zone: u16, conditions: Vec<Expr>| {
        accept(conditions.into_iter().chain([Expr::SetZone(zone)]).collect())
    };
    let tagged = || Expr::is(Field::EtherType, Datum::VLAN);
    let named = || vlans.iter().filter(|(vlan, _)| **vlan != OTHER_VLANS);
    let mut rules: Vec<Rule> =
        named().map(|(vlan, zone)| into(*zone, vec![tagged(), has_tag_of(*vlan)])).collect();
    let others = vlans.get(&OTHER_VLANS).copied().unwrap_or_default();
    rules.push(into(others, vec![tagged()]));
    rules
        .extend(named().map(|(vlan, zone)| into(*zone, vec![Expr::is(Field::PortVlan, Datum::Vlan(*vlan))])));
    rules.push(into(others, vec![Expr::is_not(Field::PortVlan, Datum::Vlan(OTHER_VLANS))]));
    rules.extend(vlans.get(&DEFAULT_VLAN).map(|zone| rule(vec![Expr::SetZone(*zone)])));
    rules
}

/// The condition that a frame's tag is of a VLAN.
fn has_tag_of(vlan: u16) -> Expr {
    let value = Datum::RawShort(vlan);
    Expr::Compare { field: Field::VlanTag, mask: Some(Field::VLAN_NUMBER_BITS), negated: false, value }
}
