//! From expectations to probes: who can be probed, and what is wanted of each probe. Pure.

use alloc::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use crate::plan::{Station, StationId};
use crate::probe::{Family, Probe, ProbeKind};
use crate::scenario::{Claim, Ends, Expect, Place, Wanted};

/// Everyone who can be probed, and every probe between them.
pub struct Crowd<'a> {
    stations: &'a BTreeMap<StationId, Station>,
    probes: BTreeSet<Probe>,
}

impl<'a> Crowd<'a> {
    /// All probes of `kinds` between stations that share a bridge, over every family that both ends have.
    pub fn new(stations: &'a BTreeMap<StationId, Station>, kinds: &[ProbeKind]) -> Self {
        let mut probes = BTreeSet::new();
        for from in stations.values() {
            for to in stations.values().filter(|to| share_a_bridge(from, to)) {
                let both = |family: &Family| from.address(*family).is_some() && to.address(*family).is_some();
                for family in Family::ALL.into_iter().filter(both) {
                    let kinds =
                        kinds.iter().filter(|kind| **kind != ProbeKind::Arp || family == Family::Ipv4);
                    probes.extend(kinds.map(|kind| Probe {
                        kind: *kind,
                        family,
                        from: from.id.clone(),
                        to: to.id.clone(),
                    }));
                }
            }
        }
        Self { stations, probes }
    }

    /// What `expect` wants of every probe.
    pub fn wanted(&self, expect: &Expect) -> Result<BTreeMap<Probe, Wanted>, (Place, String)> {
        let mut wanted: BTreeMap<Probe, Wanted> =
            self.probes.iter().map(|probe| (probe.clone(), expect.otherwise)).collect();
        let closed = (&expect.closed, Wanted::Closed);
        let open = (&expect.open, Wanted::Open);
        let in_order = match expect.otherwise {
            Wanted::Closed => [open, closed],
            Wanted::Open => [closed, open],
        };
        for (claims, what) in in_order {
            for claim in claims {
                for probe in self.matching(claim)? {
                    wanted.insert(probe.clone(), what);
                }
            }
        }
        Ok(wanted)
    }

    /// The probes that a claim is about: at least one.
    fn matching(&self, claim: &Spanned<Claim>) -> Result<Vec<&Probe>, (Place, String)> {
        let wrong = |reason: String| (Place::from(claim), reason);
        let Claim { from, to, via, family } = &claim.value;
        let from = self.ends(from).map_err(|reason| wrong(format!("from: {reason}")))?;
        let to = self.ends(to).map_err(|reason| wrong(format!("to: {reason}")))?;
        let fits = |probe: &&Probe| {
            from.contains(&probe.from)
                && to.contains(&probe.to)
                && via.as_ref().is_none_or(|kinds| kinds.contains(&probe.kind))
                && family.is_none_or(|family| probe.family == family)
        };
        let matching: Vec<&Probe> = self.probes.iter().filter(fits).collect();
        if matching.is_empty() {
            let reason = "no probe is like this: the ends share no bridge and address family, or `probes` does not \
                          list what `via` names";
            return Err(wrong(reason.to_owned()));
        }
        Ok(matching)
    }

    fn ends(&self, ends: &Ends) -> Result<BTreeSet<StationId>, String> {
        let mut found = BTreeSet::new();
        for text in &ends.0 {
            found.extend(self.called(text)?);
        }
        Ok(found)
    }

    fn called(&self, text: &str) -> Result<Vec<StationId>, String> {
        let (name, interface) = text.split_once('@').map_or((text, None), |(name, at)| (name, Some(at)));
        let fits = |id: &&StationId| {
            let named = match name {
                "*" => true,
                _ if name.contains('/') => id.owner == name,
                _ => short_name(&id.owner) == name,
            };
            named && interface.is_none_or(|interface| id.interface == interface)
        };
        let found: Vec<StationId> = self.stations.keys().filter(fits).cloned().collect();
        let owners: BTreeSet<&str> = found.iter().map(|id| id.owner.as_str()).collect();
        if owners.is_empty() {
            let known: BTreeSet<&str> = self.stations.keys().map(|id| id.owner.as_str()).collect();
            let known: Vec<&str> = known.into_iter().collect();
            return Err(format!("{text:?} is not on a bridge of this node; there are: {}", known.join(", ")));
        }
        if owners.len() > 1 && name != "*" {
            let owners: Vec<&str> = owners.into_iter().collect();
            return Err(format!("{text:?} may be each of {}: write the namespace", owners.join(", ")));
        }
        Ok(found)
    }
}

fn share_a_bridge(one: &Station, other: &Station) -> bool {
    one.id.owner != other.id.owner && one.node == other.node && one.bridge == other.bridge
}

/// A pod's name without its namespace.
fn short_name(owner: &str) -> &str {
    owner.rsplit_once('/').map_or(owner, |(_, name)| name)
}
