//! The oracle against the scenarios: what the policy text says of each probe, read without any of the compiler's code.
//!
//! The tests of `scenarios.rs` hold the evaluator and the kernel to what is written in each file, probe by probe; here the
//! oracle is held to the same. Together: oracle = evaluator = kernel.
#![allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test may panic, and the oracle is written for the core's tests"
)]

#[path = "../../core/tests/laws/neighbours.rs"]
mod neighbours;
#[allow(dead_code, reason = "the core's own tests also ask the oracle why")]
#[path = "../../core/tests/laws/oracle.rs"]
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use oracle::Oracle;
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{Mac, NetworkConfig, Object, ObjectId};
use policy_core::{Config, Input};
use rstest::rstest;
use sim::plan::{Station, StationId};
use sim::probe::{Probe, ProbeKind};
use sim::scenario::{AgentChange, Scenario, Wanted};
use sim::stage::{Event, Stage, stages};

/// The latest version of every object that the agent was told of.
#[derive(Default)]
struct Told {
    objects: BTreeMap<ObjectId, Object>,
    ports: BTreeMap<StationId, u32>,
    away: bool,
}

impl Told {
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Agent(change) => self.away = *change == AgentChange::Stop,
            Event::Attach(station) => {
                let index = 100
                    + u32::try_from(self.ports.len()).unwrap()
                    + self.ports.values().max().copied().unwrap_or(0);
                self.ports.insert(station.id.clone(), index);
                self.objects.insert(ObjectId::Port(index), Object::Port(station.port(index)));
            }
            Event::Detach(station) => {
                if let Some(index) = self.ports.remove(&station.id) {
                    self.objects.remove(&ObjectId::Port(index));
                }
            }
            Event::Tamper(_) => {}
            Event::Tell(Input::Upsert(object)) => self.put(object.clone()),
            Event::Tell(Input::Remove(id)) => self.remove(id),
            Event::Tell(Input::Relist { kind, objects }) => {
                let listed: BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
                let gone = self.objects.keys().filter(|id| id.kind() == *kind && !listed.contains(*id));
                for id in gone.cloned().collect::<Vec<_>>() {
                    self.remove(&id);
                }
                objects.iter().cloned().for_each(|object| self.put(object));
            }
            Event::Tell(other) => panic!("the oracle does not know what {other:?} means"),
        }
    }

    /// A network that becomes unreadable, or is deleted, while pods are attached stays what it was.
    fn keeps(&self, id: &ObjectId) -> bool {
        let ObjectId::Network(network) = id else { return false };
        let bridge = |object: &Object| matches!(object, Object::Network(network) if matches!(network.config, NetworkConfig::Bridge(_)));
        let attached = |object: &Object| match object {
            Object::Pod(pod) => pod.attachments.iter().any(|attachment| attachment.network == *network),
            Object::Namespace(_) | Object::Network(_) | Object::Policy(_) | Object::Port(_) => false,
        };
        self.objects.get(id).is_some_and(bridge) && self.objects.values().any(attached)
    }

    fn put(&mut self, object: Object) {
        let unreadable = matches!(&object, Object::Network(network) if matches!(network.config, NetworkConfig::Unreadable { .. }));
        if !(unreadable && self.keeps(&object.id())) {
            self.objects.insert(object.id(), object);
        }
    }

    fn remove(&mut self, id: &ObjectId) {
        if !self.keeps(id) {
            self.objects.remove(id);
        }
    }
}

/// The first frame of a probe.
fn first_frame(probe: &Probe, from: &Station, to: &Station) -> Option<FrameSpec> {
    let (source, destination) = (from.address(probe.family)?, to.address(probe.family)?);
    let transport = match probe.kind {
        ProbeKind::Arp => {
            let (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) = (source, destination) else { return None };
            let payload = Payload::Arp {
                operation: 1,
                sender_mac: from.mac,
                sender_ip,
                target_mac: Mac([0; 6]),
                target_ip,
            };
            return Some(FrameSpec { source: from.mac, destination: Mac([0xff; 6]), payload });
        }
        ProbeKind::Icmp => Transport::Echo { request: true, id: 7 },
        ProbeKind::Tcp(port) => Transport::Tcp { source_port: 40_001, destination_port: port, flags: 2 },
        ProbeKind::Udp(port) => Transport::Udp { source_port: 40_001, destination_port: port },
    };
    let payload = Payload::Ip { source, destination, transport };
    Some(FrameSpec { source: from.mac, destination: to.mac, payload })
}

/// Compares the oracle with everything that a stage expects, and returns how much that was.
fn compare(told: &Told, stage: &Stage, config: &Config) -> usize {
    let objects: Vec<Object> = told.objects.values().cloned().collect();
    let oracle = Oracle { objects: &objects, config };
    assert!(!oracle.is_ambiguous(), "{}: two attachments could own one port", stage.name);
    for (probe, wanted) in &stage.wanted {
        let (from, to) = (&stage.stations[&probe.from], &stage.stations[&probe.to]);
        let frame = first_frame(probe, from, to).unwrap_or_else(|| panic!("{probe}: no frame"));
        let (sender, receiver) = (told.ports[&probe.from], told.ports[&probe.to]);
        let passes =
            oracle.egress(sender, &frame).passes && oracle.ingress(Some(sender), receiver, &frame).passes;
        let said = if passes { Wanted::Open } else { Wanted::Closed };
        assert_eq!(said, *wanted, "{}: {probe}: the oracle and the file differ", stage.name);
    }
    stage.wanted.len()
}

#[rstest]
fn the_oracle_agrees_with(#[files("../scenarios/**/*.yaml")] file: PathBuf) {
    let scenario = Scenario::read(&file).unwrap();
    let config = Config::new(scenario.nodes[0].as_str());
    let mut told = Told::default();
    let (mut compared, mut away) = (0, 0);
    for stage in stages(&file, &scenario).unwrap() {
        stage.events.iter().for_each(|event| told.follow(event));
        if told.away {
            // The kernel holds what an agent that is gone has left, or what somebody made of it.
            away += 1;
        } else {
            compared += compare(&told, &stage, &config);
        }
    }
    println!("{compared} verdicts compared; {away} stages while no agent ran");
    assert!(compared > 0, "nothing was compared");
}
