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

#[path = "../../core/tests/laws/guard.rs"]
mod guard;
#[path = "../../core/tests/laws/neighbours.rs"]
mod neighbours;
#[allow(dead_code, reason = "the core's own tests also ask the oracle why")]
#[path = "../../core/tests/laws/oracle.rs"]
mod oracle;
#[path = "../../core/tests/laws/quarantine.rs"]
mod quarantine;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use oracle::Oracle;
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{BridgePort, Kind, Mac, NetworkConfig, Object, ObjectId};
use policy_core::ruleset::{Hook, Ruleset};
use policy_core::{Config, Input, StateEngine};
use rstest::rstest;
use sim::craft::{Crafted, is_for_a_group};
use sim::options::Ability;
use sim::path::{Crossing, NodeView, crossings};
use sim::plan::{Position, Station, StationId, uplink};
use sim::probe::{Probe, ProbeKind};
use sim::scenario::{AgentChange, Scenario, Wanted};
use sim::stage::{Event, Stage, stages};

/// The latest version of every object that the agent of a node was told of.
struct Told {
    config: Config,
    objects: BTreeMap<ObjectId, Object>,
    ports: BTreeMap<StationId, u32>,
    uplinks: BTreeMap<String, u32>,
    last_port: u32,
    away: bool,
    /// Whether there are other nodes.
    is_one_of_several: bool,
}

impl Told {
    fn new(config: Config, is_one_of_several: bool) -> Self {
        Self {
            config,
            objects: BTreeMap::new(),
            ports: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            last_port: 100,
            away: false,
            is_one_of_several,
        }
    }

    fn next_port(&mut self) -> u32 {
        self.last_port += 1;
        self.last_port
    }

    fn attach(&mut self, station: &Station) {
        if self.is_one_of_several && !self.uplinks.contains_key(&station.bridge) {
            let index = self.next_port();
            let port = uplink(&station.node, &station.bridge).port(index);
            self.uplinks.insert(station.bridge.clone(), index);
            self.objects.insert(ObjectId::Port(index), Object::Port(port));
        }
        if station.position != Position::Port {
            return;
        }
        let index = self.next_port();
        self.ports.insert(station.id.clone(), index);
        self.objects.insert(ObjectId::Port(index), Object::Port(station.port(index)));
    }

    /// A port is anchored by what it was when it appeared: a MAC that the pod gives itself makes it nobody else's.
    fn rewire(&mut self, after: &Station) {
        let index = self.ports[&after.id];
        let Some(Object::Port(before)) = self.objects.remove(&ObjectId::Port(index)) else {
            panic!("{} is not attached", after.id)
        };
        let port = BridgePort { far_mac: before.far_mac, ..after.port(index) };
        self.objects.insert(ObjectId::Port(index), Object::Port(port));
    }

    fn relist(&mut self, kind: Kind, objects: &[Object]) {
        let listed: BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
        let gone = self.objects.keys().filter(|id| id.kind() == kind && !listed.contains(*id));
        for id in gone.cloned().collect::<Vec<_>>() {
            self.remove(&id);
        }
        objects.iter().cloned().for_each(|object| self.put(object));
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
    let ends = || Some((from.address(probe.family)?, to.address(probe.family)?));
    let client = 40_001;
    let transport = match probe.kind {
        ProbeKind::Arp => {
            let (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) = ends()? else { return None };
            let payload = Payload::Arp {
                operation: 1,
                sender_mac: from.mac,
                sender_ip,
                target_mac: Mac([0; 6]),
                target_ip,
            };
            return Some(FrameSpec { source: from.mac, destination: Mac([0xff; 6]), payload });
        }
        ProbeKind::Ether(ether_type) => {
            let payload = Payload::Other { ether_type, bytes: vec![0; 46] };
            return Some(FrameSpec { source: from.mac, destination: to.mac, payload });
        }
        ProbeKind::Icmp => Transport::Echo { request: true, id: 7 },
        ProbeKind::Sctp(port) => Transport::Sctp { source_port: client, destination_port: port },
        ProbeKind::Tcp(port) => Transport::Tcp { source_port: client, destination_port: port, flags: 2 },
        ProbeKind::IcmpError(port) | ProbeKind::Udp(port) | ProbeKind::UdpBig(port) => {
            Transport::Udp { source_port: client, destination_port: port }
        }
    };
    let (source, destination) = ends()?;
    let payload = Payload::Ip { source, destination, transport };
    Some(FrameSpec { source: from.mac_on_bridge(), destination: to.mac_on_bridge(), payload })
}

/// All nodes.
struct Nodes(BTreeMap<String, Told>);

impl Nodes {
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Agent { node, change } => self.of(node).away = *change == AgentChange::Stop,
            Event::Attach(station) => self.of(&station.node).attach(station),
            Event::Detach(station) => {
                let told = self.of(&station.node);
                if let Some(index) = told.ports.remove(&station.id) {
                    told.objects.remove(&ObjectId::Port(index));
                }
            }
            Event::Rewire { before, after } => self.of(&before.node).rewire(after),
            Event::Announce(_) | Event::Tamper { .. } | Event::Write(_) => {}
            Event::Tell { node, input: Input::Upsert(object) } => self.of(node).put(object.clone()),
            Event::Tell { node, input: Input::Remove(id) } => self.of(node).remove(id),
            Event::Tell { node, input: Input::Relist { kind, objects } } => {
                self.of(node).relist(*kind, objects);
            }
            Event::Tell { input, .. } => panic!("the oracle does not know what {input:?} means"),
        }
    }

    fn of(&mut self, node: &str) -> &mut Told {
        self.0.get_mut(node).unwrap_or_else(|| panic!("there is no node {node}"))
    }
}

/// Whether the oracle of its node lets a frame pass a hook.
fn passes(oracle: &Oracle<'_>, crossing: &Crossing<'_>, frame: &FrameSpec) -> bool {
    match *crossing {
        Crossing { hook: Hook::Prerouting, input: Some(input), .. } => oracle.egress(input, frame).passes,
        Crossing { hook: Hook::Forward | Hook::Output, input, output: Some(output), .. } => {
            oracle.ingress(input, output, frame).passes
        }
        // What goes up to the node is judged where it comes in.
        Crossing { hook: Hook::Input, .. } => true,
        _ => panic!("no frame passes {crossing:?}"),
    }
}

/// Compares the oracle with everything that a stage expects, and returns how much that was.
fn compare(nodes: &Nodes, stage: &Stage) -> usize {
    let nothing = Ruleset::default();
    let view = |told: &Told| NodeView {
        ruleset: &nothing,
        ports: told.ports.clone(),
        uplinks: told.uplinks.clone(),
    };
    let views = nodes.0.iter().map(|(name, told)| (name.clone(), view(told))).collect();
    let known = |told: &Told| told.objects.values().cloned().collect::<Vec<Object>>();
    let known: BTreeMap<&str, (Vec<Object>, Config)> =
        nodes.0.iter().map(|(name, told)| (name.as_str(), (known(told), told.config.clone()))).collect();
    let oracles: BTreeMap<&str, Oracle<'_>> =
        known.iter().map(|(name, (objects, config))| (*name, Oracle { objects, config })).collect();
    for oracle in oracles.values() {
        assert!(!oracle.is_ambiguous(), "{}: two attachments could own one port", stage.name);
    }
    for (probe, wanted) in &stage.wanted {
        let (from, to) = (&stage.stations[&probe.from], &stage.stations[&probe.to]);
        let frame = first_frame(probe, from, to).unwrap_or_else(|| panic!("{probe}: no frame"));
        let way = crossings(&views, from, to).unwrap_or_else(|| panic!("{probe}: an end is nowhere"));
        let open = way.iter().all(|crossing| passes(&oracles[crossing.node], crossing, &frame));
        let said = if open { Wanted::Open } else { Wanted::Closed };
        assert_eq!(said, *wanted, "{}: {probe}: the oracle and the file differ", stage.name);
    }
    let frames = stage.frames.iter();
    stage.wanted.len() + frames.map(|frame| compare_frame(stage, frame, &views, &oracles)).sum::<usize>()
}

/// Compares the oracle with where a crafted frame arrives, and returns at how many stations.
fn compare_frame(
    stage: &Stage,
    frame: &Crafted,
    views: &BTreeMap<String, NodeView<'_>>,
    oracles: &BTreeMap<&str, Oracle<'_>>,
) -> usize {
    let (from, spec) = (&stage.stations[&frame.from], &frame.spec);
    // An error belongs to a connection, and the oracle knows of none.
    if matches!(spec.payload, Payload::Ip { transport: Transport::Icmp { kind: 2 | 3, .. }, .. }) {
        return 0;
    }
    let others = stage.stations.values().filter(|to| to.id != from.id && to.can_craft_beside(from));
    // Where a bridge sends a frame for somebody who is elsewhere is none of the oracle's business.
    let asked = others.filter(|to| is_for_a_group(spec.destination) || spec.destination == to.mac);
    let mut compared = 0;
    for to in asked.filter(|_| spec.source != spec.destination) {
        let way = crossings(views, from, to).unwrap_or_else(|| panic!("{}: an end is nowhere", frame.name));
        let arrives = way.iter().all(|crossing| passes(&oracles[crossing.node], crossing, spec));
        let said = (&to.id, arrives);
        let wanted = (&to.id, frame.reaches.contains(&to.id));
        assert_eq!(said, wanted, "{}: {}: the oracle and the file differ", stage.name, frame.name);
        compared += 1;
    }
    compared
}

#[rstest]
fn the_oracle_agrees_with(#[files("../scenarios/**/*.yaml")] file: PathBuf) {
    let scenario = Scenario::read(&file).unwrap();
    let several = scenario.nodes.len() > 1;
    let told = |config: Config| (config.node.to_string(), Told::new(config, several));
    let mut nodes =
        Nodes(scenario.configs(Ability::good_for(StateEngine::Sets)).into_iter().map(told).collect());
    let (mut compared, mut away) = (0, 0);
    for stage in stages(&file, &scenario).unwrap() {
        stage.events.iter().for_each(|event| nodes.follow(event));
        if nodes.0.values().any(|told| told.away) {
            // The kernel holds what an agent that is gone has left, or what somebody made of it.
            away += 1;
        } else {
            compared += compare(&nodes, &stage);
        }
    }
    println!("{compared} verdicts compared; {away} stages while no agent ran");
    assert!(compared > 0, "nothing was compared");
}
