//! Wires over time: they follow the pods' network status, and a step may change them behind everybody's back. Pure.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::claim::{called, short_name};
use crate::plan::{Guest, Position, Station, StationId};
use crate::scenario::{Vm, WireChange, parse_address};
use crate::stage::Event;

/// Everyone who is, or could be, connected.
#[derive(Default)]
pub(crate) struct Wires {
    /// Who should be connected, and how: what manifests and hosts say.
    planned: BTreeMap<StationId, Station>,
    /// Who is connected, and how.
    stations: BTreeMap<StationId, Station>,
}

impl Wires {
    /// Who is connected, and how.
    pub(crate) const fn stations(&self) -> &BTreeMap<StationId, Station> {
        &self.stations
    }

    /// Cuts and connects wires until they are as planned. A wire whose plan stays as it was is left alone, whatever has
    /// become of it.
    pub(crate) fn follow(&mut self, planned: BTreeMap<StationId, Station>) -> Vec<Event> {
        let differs = |one: &BTreeMap<_, Station>, other: &Station| one.get(&other.id) != Some(other);
        let gone: BTreeSet<&StationId> =
            self.planned.values().filter(|old| differs(&planned, old)).map(|old| &old.id).collect();
        let gone = gone.into_iter().filter_map(|id| self.stations.remove(id));
        let mut events: Vec<Event> = gone.map(Event::Detach).collect();
        let new: Vec<&Station> = planned.values().filter(|new| differs(&self.planned, new)).collect();
        for station in new {
            self.stations.insert(station.id.clone(), station.clone());
            events.push(Event::Attach(station.clone()));
        }
        self.planned = planned;
        events
    }

    /// Changes one wire.
    pub(crate) fn change(&mut self, change: &WireChange) -> Result<Event, String> {
        let id = self.only(&change.of)?;
        let planned = self.planned.get(&id).ok_or_else(|| format!("{id} is nowhere"))?;
        if planned.position != Position::Port {
            return Err(format!("{id} has no wire to a bridge port"));
        }
        match (self.stations.remove(&id), change.connected) {
            (None, Some(true)) => {
                self.stations.insert(id, planned.clone());
                Ok(Event::Attach(planned.clone()))
            }
            (None, _) => Err(format!("{id} is not connected")),
            (Some(before), Some(false)) => Ok(Event::Detach(before)),
            (Some(before), _) => {
                let after = changed(&before, change)?;
                self.stations.insert(id, after.clone());
                if after == before {
                    return Err(format!("{} stays as it is", before.id));
                }
                Ok(Event::Rewire { before: Box::new(before), after: Box::new(after) })
            }
        }
    }

    /// The one station that is called this.
    fn only(&self, name: &str) -> Result<StationId, String> {
        let mut found = called(&self.planned, name)?;
        match (found.pop(), found.pop()) {
            (Some(id), None) => Ok(id),
            _ => Err(format!("{name:?} has several wires: write the interface, as in NAME@net1")),
        }
    }
}

/// The station after the change.
fn changed(station: &Station, change: &WireChange) -> Result<Station, String> {
    let WireChange { of: _, addresses, bridge, connected: _, learned, mac, port } = change;
    if !station.tagging.is_plain() && (addresses.is_some() || mac.is_some()) {
        return Err(format!("{} is in a VLAN, and cannot be changed yet", station.id));
    }
    let mut changed = station.clone();
    if let Some(addresses) = addresses {
        let parsed: Result<_, _> = addresses.iter().map(|text| parse_address(text)).collect();
        changed.addresses = parsed.map_err(|reason| format!("addresses: {reason}"))?;
    }
    if let Some(mac) = mac {
        changed.mac = mac.parse().map_err(|error| format!("mac: {mac:?}: {error}"))?;
    }
    if let Some(learned) = learned {
        let guest = changed.wire.guest.as_mut();
        guest
            .ok_or_else(|| format!("{} is not a VM, whose port would have to learn it", station.id))?
            .is_learned = *learned;
    }
    if let Some(port) = port {
        if port.is_empty() || port.len() > 15 || port.contains(['/', ' ']) {
            return Err(format!("port: {port:?} is no name for an interface"));
        }
        changed.wire.port = Some(port.clone());
    }
    if let Some(bridge) = bridge {
        changed.bridge.clone_from(bridge);
    }
    Ok(changed)
}

/// Makes VMs of the stations of those pods that `vms` names.
pub(crate) fn settle_guests(stations: &mut BTreeMap<StationId, Station>, vms: &[Vm]) -> Result<(), String> {
    for station in stations.values_mut().filter(|station| station.position == Position::Port) {
        let of_pod = |vm: &&Vm| vm.pod == station.id.owner || vm.pod == short_name(&station.id.owner);
        let Some(vm) = vms.iter().find(of_pod) else { continue };
        if !station.tagging.is_plain() {
            return Err(format!("{} is a VM in a VLAN, which cannot be built yet", station.id));
        }
        station.wire.guest = Some(Guest { is_learned: vm.learned });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Wire;
    use crate::tagging::Tagging;
    use test_case::test_case;

    fn planned(owners: &[&str]) -> BTreeMap<StationId, Station> {
        let station = |owner: &&str| {
            let id = StationId { owner: (*owner).to_owned(), interface: "net1".to_owned() };
            let station = Station {
                id: id.clone(),
                node: "node-1".to_owned(),
                bridge: "br-0".to_owned(),
                mac: policy_core::model::Mac([2, 0, 0, 0, 0, 1]),
                addresses: Vec::new(),
                tagging: Tagging::default(),
                position: Position::Port,
                routes: Vec::new(),
                wire: Wire::default(),
            };
            (id, station)
        };
        owners.iter().map(station).collect()
    }

    fn change(yaml: &str) -> WireChange {
        serde_saphyr::from_str(yaml).expect("the test's YAML")
    }

    #[test]
    fn a_changed_wire_is_left_alone_until_its_plan_changes() {
        let mut wires = Wires::default();
        assert_eq!(wires.follow(planned(&["a/web", "a/db"])).len(), 2);
        let event = wires.change(&change("{of: web, bridge: br-1}")).expect("a good change");
        assert!(
            matches!(&event, Event::Rewire { before, after } if before.bridge == "br-0" && after.bridge == "br-1")
        );
        assert!(wires.follow(planned(&["a/web", "a/db"])).is_empty());
        let events = wires.follow(planned(&["a/db"]));
        assert!(matches!(&events[..], [Event::Detach(station)] if station.bridge == "br-1"));
    }

    #[test]
    fn a_cut_wire_is_not_cut_again() {
        let mut wires = Wires::default();
        drop(wires.follow(planned(&["a/web"])));
        let cut = wires.change(&change("{of: web, connected: false}")).expect("it is connected");
        assert!(matches!(cut, Event::Detach(_)));
        assert!(wires.stations().is_empty());
        assert!(wires.follow(BTreeMap::new()).is_empty());
        assert!(matches!(&wires.follow(planned(&["a/web"]))[..], [Event::Attach(_)]));
    }

    #[test_case("{of: db, mac: '02:00:00:00:00:09'}" => "\"db\" is not on a bridge of this node; there are: a/web"; "nobody")]
    #[test_case("{of: web, mac: nonsense}" => "mac: \"nonsense\": not an ethernet address of six hexadecimal bytes"; "no MAC")]
    #[test_case("{of: web, learned: true}" => "a/web@net1 is not a VM, whose port would have to learn it"; "no VM")]
    #[test_case("{of: web, connected: true}" => "a/web@net1 stays as it is"; "connected already")]
    #[test_case("{of: web, port: sixteencharacter}" => "port: \"sixteencharacter\" is no name for an interface"; "a long name")]
    fn a_change_that_cannot_be_is_refused(yaml: &str) -> String {
        let mut wires = Wires::default();
        drop(wires.follow(planned(&["a/web"])));
        wires.change(&change(yaml)).expect_err("a bad change")
    }
}
