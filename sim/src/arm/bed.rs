//! What the arms with packets have in common: nodes, bridges and wires, and everything that is sent over them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use anyhow::{Context as _, Result};
use policy_core::ruleset::Ruleset;
use tokio::runtime::Runtime;

use super::wiring::{Node, Wiring};
use super::{Played, listing_of};
use crate::listing::Scratch;
use crate::meter;
use crate::netns::Namespace;
use crate::probe::{Field, Probe, ProbeKind, broadcast, round};
use crate::programs::nft;
use crate::scenario::{Tampering, Wanted};
use crate::stage::Stage;
use crate::walk::Fabric;

/// Nodes with bridges, and the stations on them. Must live in a network namespace of its own.
pub(super) struct Bed {
    /// Where everything asynchronous runs.
    pub(super) runtime: Runtime,
    /// The nodes, the stations and their wires.
    pub(super) wiring: Wiring,
    scratch: Scratch,
    /// How many times slower than an ordinary one the machine is.
    pub(super) slowness: u32,
}

impl Bed {
    /// Nodes of these names, without bridges.
    pub(super) fn new(nodes: &[String], slowness: u32) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let wiring = runtime.block_on(Wiring::new(nodes))?;
        let scratch = Scratch::new(runtime.block_on(Namespace::create("scratch"))?);
        Ok(Self { runtime, wiring, scratch, slowness })
    }

    /// The names of all namespaces, for `ip netns exec`.
    pub(super) fn namespaces(&self) -> Vec<&str> {
        let nodes = self.wiring.nodes.values().map(|node| node.namespace.name());
        let names: BTreeSet<&str> = nodes.chain(self.wiring.places.keys().map(String::as_str)).collect();
        names.into_iter().collect()
    }

    /// A node.
    pub(super) fn node(&self, name: &str) -> Result<&Node> {
        self.wiring.node(name)
    }

    /// Changes the table of a node's agent behind its back, with the real `nft`.
    pub(super) fn tamper(&self, node: &str, tampering: Tampering) -> Result<()> {
        let command = tampering.nft();
        nft(&self.node(node)?.namespace, &command.split(' ').collect::<Vec<_>>()).map(drop)
    }

    /// Compares what the kernel of a node holds with what it should: read back, and as `nft` lists it.
    pub(super) fn compare(
        &self,
        node: &str,
        observed: &Ruleset,
        settled: &Ruleset,
        played: &mut Played,
    ) -> Result<()> {
        let there = self.node(node)?;
        let mut complaints = Vec::new();
        if observed != settled {
            complaints.push(format!("the kernel's table, read back, is another one:\n{observed}"));
        }
        let (text, indexes) = (settled.to_string(), there.indexes());
        let compared = self.scratch.compare(&there.namespace, &text, &indexes);
        complaints.extend(self.runtime.block_on(compared)?);
        let of_node = complaints.into_iter().map(|complaint| format!("on {node}: {complaint}"));
        played.complaints.extend(of_node);
        Ok(())
    }

    /// Sends what the stage probes and crafts while the kernels hold `rulesets`; notes what comes of it, and what the
    /// evaluator says.
    pub(super) fn probe(
        &self,
        stage: &Stage,
        rulesets: &BTreeMap<String, Ruleset>,
        played: &mut Played,
    ) -> Result<()> {
        played.nft = listing_of(rulesets);
        self.predict(stage, rulesets, played);
        if stage.free.is_empty() { self.send(stage, played) } else { self.send_counted(stage, played) }
    }

    /// What the evaluator says about every probe and every crafted frame of the stage.
    fn predict(&self, stage: &Stage, rulesets: &BTreeMap<String, Ruleset>, played: &mut Played) {
        let nodes = self.wiring.nodes.iter().filter_map(|(name, node)| {
            let ruleset = rulesets.get(name)?;
            Some((name.clone(), node.view(ruleset)))
        });
        let nodes = nodes.collect();
        let fabric = Fabric { nodes: &nodes, stations: &stage.stations };
        played.predicted = Some(fabric.outcomes(stage.wanted.keys()));
        played.arrivals_predicted = Some(fabric.arrivals(&stage.frames));
    }

    /// Sends what the stage probes and crafts, and notes what comes of it.
    fn send(&self, stage: &Stage, played: &mut Played) -> Result<()> {
        let field =
            Field { stations: &stage.stations, namespaces: &self.wiring.places, slowness: self.slowness };
        for wanted in rounds(&stage.wanted, self.slowness) {
            self.runtime.block_on(self.wiring.forget_neighbours())?;
            played.outcomes.extend(self.runtime.block_on(round(&field, &wanted))?);
        }
        if !stage.frames.is_empty() {
            let nodes = self.wiring.nodes.iter();
            let nodes = nodes.map(|(name, node)| (name.clone(), Arc::clone(&node.namespace))).collect();
            played.arrivals = self.runtime.block_on(broadcast(&field, &nodes, &stage.frames))?;
        }
        Ok(())
    }

    /// Sends, and counts whether all frames of those get through whom nobody isolates.
    fn send_counted(&self, stage: &Stage, played: &mut Played) -> Result<()> {
        for node in self.wiring.nodes.values() {
            meter::begin(&node.namespace)?;
        }
        self.send(stage, played)?;
        for (name, node) in &self.wiring.nodes {
            let counted = meter::end(&node.namespace).with_context(|| format!("on {name}"))?;
            for (id, direction) in &stage.free {
                let port = stage.stations.get(id).filter(|station| station.node == *name);
                let dropped = port.and_then(|station| counted.dropped(*direction, &station.port_name()));
                if let Some(dropped @ 1..) = dropped {
                    let what = format!(
                        "on {name}: nobody isolates {id}, but {dropped} frames of its {direction} are dropped"
                    );
                    played.complaints.push(what);
                }
            }
        }
        Ok(())
    }
}

/// What is probed at once: everything; but on a slow machine ARP by itself. There a round may last so long that a kernel asks a
/// neighbour that it knows whether it is still there (`delay_first_probe_time`, 5 s), by unicast, which passes where a search does
/// not; and `arping`, which hears the answer, cannot tell whose question that was.
fn rounds(wanted: &BTreeMap<Probe, Wanted>, slowness: u32) -> Vec<BTreeMap<Probe, Wanted>> {
    if slowness == 1 {
        return vec![wanted.clone()];
    }
    let (arp, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
        wanted.clone().into_iter().partition(|(probe, _)| probe.kind == ProbeKind::Arp);
    [arp, rest].into_iter().filter(|round| !round.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::{Probe, ProbeKind, Wanted, rounds};
    use crate::plan::StationId;
    use crate::probe::Family;

    fn wanted(kinds: &[ProbeKind]) -> BTreeMap<Probe, Wanted> {
        let station = StationId::of_host;
        let probe = |kind: &ProbeKind| Probe {
            from: station("a"),
            to: station("b"),
            family: Family::Ipv4,
            kind: *kind,
        };
        kinds.iter().map(|kind| (probe(kind), Wanted::Open)).collect()
    }

    #[test]
    fn only_a_slow_machine_probes_by_arp_alone() {
        let all = wanted(&[ProbeKind::Arp, ProbeKind::Icmp]);
        assert_eq!(rounds(&all, 1), core::slice::from_ref(&all));
        assert_eq!(rounds(&all, 2), [wanted(&[ProbeKind::Arp]), wanted(&[ProbeKind::Icmp])]);
        assert_eq!(rounds(&wanted(&[ProbeKind::Icmp]), 2), [wanted(&[ProbeKind::Icmp])]);
    }
}
