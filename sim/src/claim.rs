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
                for kind in kinds {
                    let has_ways = |family: &Family| from.shares_a_way(to, *kind, *family);
                    probes.extend(kind.families().iter().copied().filter(has_ways).map(|family| Probe {
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
            found.extend(called(self.stations, text)?);
        }
        Ok(found)
    }
}

/// The stations that `text` names: at least one, and of one owner unless it is everybody.
pub(crate) fn called<V>(stations: &BTreeMap<StationId, V>, text: &str) -> Result<Vec<StationId>, String> {
    let (name, interface) = text.split_once('@').map_or((text, None), |(name, at)| (name, Some(at)));
    let fits = |id: &&StationId| {
        let named = match name {
            "*" => true,
            _ if name.contains('/') => id.owner == name,
            _ => short_name(&id.owner) == name,
        };
        named && interface.is_none_or(|interface| id.interface == interface)
    };
    let found: Vec<StationId> = stations.keys().filter(fits).cloned().collect();
    let owners: BTreeSet<&str> = found.iter().map(|id| id.owner.as_str()).collect();
    if owners.is_empty() {
        let known: BTreeSet<&str> = stations.keys().map(|id| id.owner.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        return Err(format!("{text:?} is not on a bridge of this node; there are: {}", known.join(", ")));
    }
    if owners.len() > 1 && name != "*" {
        let owners: Vec<&str> = owners.into_iter().collect();
        return Err(format!("{text:?} may be each of {}: write the namespace", owners.join(", ")));
    }
    Ok(found)
}

fn share_a_bridge(one: &Station, other: &Station) -> bool {
    one.id.owner != other.id.owner && one.shares_a_segment(other)
}

/// A pod's name without its namespace.
pub(crate) fn short_name(owner: &str) -> &str {
    owner.rsplit_once('/').map_or(owner, |(_, name)| name)
}

/// Nobody listens where a probe counts on that.
pub(crate) fn unlistened(probes: &[ProbeKind]) -> Result<(), String> {
    for probe in probes {
        let ProbeKind::IcmpError(port) = probe else { continue };
        if let Some(other) =
            [ProbeKind::Udp(*port), ProbeKind::UdpBig(*port)].iter().find(|other| probes.contains(other))
        {
            return Err(format!("{probe} needs a port where nobody listens, but {other} is probed, too"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn station(owner: &str, interface: &str, bridge: &str, addresses: &[&str]) -> Station {
        Station {
            id: StationId { owner: owner.to_owned(), interface: interface.to_owned() },
            node: "node-1".to_owned(),
            bridge: bridge.to_owned(),
            mac: policy_core::model::Mac([2, 0, 0, 0, 0, 1]),
            addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
            tagging: crate::tagging::Tagging::default(),
            position: crate::plan::Position::Port,
            routes: Vec::new(),
            wire: crate::plan::Wire::default(),
        }
    }

    /// Two pods called `web`, one of them on two bridges, a client with IPv6, and a host.
    fn stations() -> BTreeMap<StationId, Station> {
        let stations = [
            station("a/web", "net1", "br-0", &["10.0.0.1/24", "fd10::1/64"]),
            station("a/web", "net2", "br-1", &["10.1.0.1/24"]),
            station("b/web", "net1", "br-0", &["10.0.0.2/24"]),
            station("a/client", "net1", "br-0", &["10.0.0.3/24", "fd10::3/64"]),
            station("outside", "eth0", "br-1", &["10.1.0.9/24"]),
        ];
        stations.into_iter().map(|station| (station.id.clone(), station)).collect()
    }

    /// The probes that are wanted closed, as text.
    fn closed(expect: &str) -> Result<Vec<String>, String> {
        let expect: Expect = serde_saphyr::from_str(expect).expect("the test's YAML");
        let stations = stations();
        let crowd = Crowd::new(&stations, &[ProbeKind::Arp, ProbeKind::Tcp(80)]);
        let wanted = crowd.wanted(&expect).map_err(|(_, reason)| reason)?;
        let closed = wanted.iter().filter(|(_, wanted)| **wanted == Wanted::Closed);
        Ok(closed.map(|(probe, _)| probe.to_string()).collect())
    }

    #[test]
    fn only_stations_that_share_a_bridge_and_a_family_are_probed() {
        let stations = stations();
        let crowd = Crowd::new(&stations, &[ProbeKind::Arp, ProbeKind::Tcp(80)]);
        let over = |family| crowd.probes.iter().filter(|probe| probe.family == family).count();
        // Three stations on one bridge and two on the other, both ways, with two kinds of probes.
        assert_eq!(over(Family::Ipv4), (6 + 2) * 2);
        // Two stations have IPv6 on one bridge; nobody asks for ARP there.
        assert_eq!(over(Family::Ipv6), 2);
    }

    #[test]
    fn exceptions_are_read_after_what_contradicts_the_rest() {
        let expect =
            "{closed: [{from: '*', to: a/web, family: ipv4, via: [arp]}], open: [{from: client, to: '*'}]}";
        let left = ["b/web@net1 -> a/web@net1 arp over ipv4", "outside@eth0 -> a/web@net2 arp over ipv4"];
        assert_eq!(closed(expect).expect("a good claim"), left);
        let expect = "{otherwise: closed, open: [{from: '*', to: '*'}], closed: [{from: client, to: a/web, via: [arp]}]}";
        assert_eq!(closed(expect).expect("a good claim"), ["a/client@net1 -> a/web@net1 arp over ipv4"]);
    }

    #[test]
    fn an_interface_narrows_a_name() {
        let expect = "{closed: [{from: '*', to: a/web@net2, via: [arp]}]}";
        assert_eq!(closed(expect).expect("a good claim"), ["outside@eth0 -> a/web@net2 arp over ipv4"]);
    }

    #[test_case("web" => "to: \"web\" may be each of a/web, b/web: write the namespace"; "two of that name")]
    #[test_case("c/web" => "to: \"c/web\" is not on a bridge of this node; there are: a/client, a/web, b/web, outside"; "nobody")]
    #[test_case("client@net7" => "to: \"client@net7\" is not on a bridge of this node; there are: a/client, a/web, b/web, outside"; "no such interface")]
    fn a_name_that_is_not_one_station_owner_is_refused(name: &str) -> String {
        closed(&format!("{{closed: [{{from: '*', to: '{name}'}}]}}")).expect_err("a bad name")
    }

    #[test]
    fn nobody_listens_where_an_error_is_to_come_from() {
        let refused = unlistened(&[ProbeKind::UdpBig(9), ProbeKind::IcmpError(9)]);
        let wanted = "icmp-error/9 needs a port where nobody listens, but udp-big/9 is probed, too";
        assert_eq!(refused, Err(wanted.to_owned()));
        assert_eq!(unlistened(&[ProbeKind::Udp(53), ProbeKind::IcmpError(9)]), Ok(()));
    }
}
