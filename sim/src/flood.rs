//! The model's answer to a crafted frame: at which stations it arrives.
//!
//! A bridge sends a frame for a group, and one for a MAC that it does not know, out of all its other ports; any other to the
//! port where it has last seen that MAC as a source. Every station has announced itself before each frame.

use alloc::collections::{BTreeMap, BTreeSet};

use policy_core::eval::{Decision, Passage, evaluate};
use policy_core::frame::FrameSpec;
use policy_core::model::Mac;
use policy_core::ruleset::Hook;

use crate::craft::{Crafted, announcement, is_for_a_group};
use crate::path::{Crossing, crossings};
use crate::plan::{Station, StationId};
use crate::walk::{Fabric, Memory, arrival};

/// Where a bridge has last seen each MAC as a source.
type Located = BTreeMap<Mac, StationId>;

impl<'a> Fabric<'a> {
    /// At which stations each of `frames` arrives, sent one after the other.
    pub fn arrivals(&self, frames: &[Crafted]) -> Vec<BTreeSet<StationId>> {
        let (mut memory, mut located) = (Memory::new(), Located::new());
        frames.iter().map(|frame| self.receivers(&mut memory, &mut located, frame)).collect()
    }

    fn receivers(
        &self,
        memory: &mut Memory<'a>,
        located: &mut Located,
        frame: &Crafted,
    ) -> BTreeSet<StationId> {
        let Some(from) = self.stations.get(&frame.from) else { return BTreeSet::new() };
        let segment = || self.stations.values().filter(|station| station.can_craft_beside(from));
        let bytes = frame.bytes();
        for station in segment().filter(|station| self.enters(memory, station, &announcement(station))) {
            located.insert(station.mac, station.id.clone());
        }
        let FrameSpec { source, destination, .. } = frame.spec;
        if self.enters(memory, from, &bytes) && !is_for_a_group(source) {
            located.insert(source, from.id.clone());
        }
        let place = located.get(&destination).filter(|_| !is_for_a_group(destination));
        let others = segment().filter(|station| station.id != from.id);
        let asked = others.filter(|station| place.is_none_or(|place| station.id == *place));
        asked
            .filter(|to| self.passes(memory, from, to, &bytes) == Some(true))
            .map(|to| to.id.clone())
            .collect()
    }

    /// Whether the bridge gets to see a frame of a station: only then it learns from it.
    fn enters(&self, memory: &mut Memory<'a>, station: &'a Station, frame: &[u8]) -> bool {
        let crossings = crossings(self.nodes, station, station).unwrap_or_default();
        let mut entering = crossings.into_iter().filter(|crossing| crossing.hook == Hook::Prerouting);
        entering.all(|Crossing { node, hook, input, output }| {
            let Some(view) = self.nodes.get(node) else { return false };
            let bridge = Some(arrival(station, true));
            let passage = Passage { hook, input, output, bridge, frame };
            evaluate(view.ruleset, memory.entry(node).or_default(), &passage) == Decision::Accept
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::craft::craft;
    use crate::path::NodeView;
    use crate::plan::Position;
    use crate::scenario::Expect;
    use policy_core::ruleset::Ruleset;
    use test_case::test_case;

    fn station(owner: &str, last: u8) -> (StationId, Station) {
        let id = StationId::of_host(owner);
        let station = Station {
            id: id.clone(),
            node: "node-1".to_owned(),
            bridge: "br-0".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, last]),
            addresses: vec![format!("10.0.0.{last}/24").parse().expect("an address")],
            tagging: crate::tagging::Tagging::default(),
            position: Position::Port,
            routes: Vec::new(),
            wire: crate::plan::Wire::default(),
        };
        (id, station)
    }

    /// Who hears the last of `frames`, on a bridge without policies with the stations one, two and three.
    fn heard(frames: &str) -> Vec<String> {
        let expect: Expect = serde_saphyr::from_str(&format!("frames: [{frames}]")).expect("the test's YAML");
        let stations = BTreeMap::from([station("one", 1), station("two", 2), station("three", 3)]);
        let crafted = craft(&expect.frames, &stations).expect("good claims");
        let ruleset = Ruleset::default();
        let ports = stations.keys().cloned().zip(1..).collect();
        let view = NodeView { ruleset: &ruleset, ports, uplinks: BTreeMap::new() };
        let nodes = BTreeMap::from([("node-1".to_owned(), view)]);
        let mut arrivals = Fabric { nodes: &nodes, stations: &stations }.arrivals(&crafted);
        arrivals.pop().expect("one frame").into_iter().map(|id| id.owner).collect()
    }

    #[test_case("{from: one, send: arp-probe, reaches: []}" => vec!["three", "two"]; "for a group")]
    #[test_case("{from: one, send: udp, to: two, reaches: []}" => vec!["two"]; "for a station")]
    #[test_case("{from: one, send: udp, to: two, with: {destination-mac: '02:00:00:00:00:09'}, reaches: []}" => vec!["three", "two"]; "for nobody known")]
    #[test_case("{from: one, send: udp, to: two, with: {source-mac: two}, reaches: []}" => Vec::<String>::new(); "for the MAC that it is sent by")]
    fn a_bridge_sends_a_frame_where_it_believes_its_receiver(frames: &str) -> Vec<String> {
        heard(frames)
    }

    #[test]
    fn a_foreign_mac_is_learned_and_a_stolen_one_is_corrected() {
        let foreign = "{from: one, send: udp, to: two, with: {source-mac: '02:00:00:00:00:09'}, reaches: []}";
        let to_foreign =
            "{from: two, send: udp, to: one, with: {destination-mac: '02:00:00:00:00:09'}, reaches: []}";
        assert_eq!(heard(&format!("{foreign}, {to_foreign}")), ["one"]);
        let stolen = "{from: one, send: udp, to: two, with: {source-mac: three}, reaches: []}";
        let to_owner = "{from: two, send: udp, to: three, reaches: []}";
        assert_eq!(heard(&format!("{stolen}, {to_owner}")), ["three"]);
    }
}
