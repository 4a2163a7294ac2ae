//! The model arm: the real compiler, a kernel that is a value, and ports that are numbers.

use alloc::collections::BTreeMap;

use anyhow::{Context as _, Result};
use policy_core::model::{BridgePort, Kind, Object, ObjectId};
use policy_core::ruleset::{ApplyError, Ruleset};
use policy_core::{Config, Input, Kernel, SinkFault, Transaction};

use super::{Arm, Played, listing_of};
use crate::agent::Agent;
use crate::layout::Version;
use crate::path::NodeView;
use crate::plan::{Position, Station, StationId, uplink};
use crate::scenario::{AgentChange, Tampering};
use crate::stage::{Event, Stage};
use crate::walk::Fabric;

/// A kernel that is a value; `Ruleset::apply` has the kernel's semantics.
#[derive(Default)]
pub(super) struct ValueKernel(Ruleset);

/// What the value refuses.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Refusal(ApplyError);

impl From<Refusal> for SinkFault {
    fn from(_: Refusal) -> Self {
        Self::Other
    }
}

impl Kernel for ValueKernel {
    type Error = Refusal;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), Refusal> {
        self.0.apply(transaction).map_err(Refusal)
    }

    fn observe(&mut self) -> Result<Ruleset, Refusal> {
        Ok(self.0.clone())
    }
}

impl ValueKernel {
    /// Somebody else changes the table.
    fn tamper(&mut self, tampering: Tampering) {
        match tampering {
            Tampering::DeleteTable => self.0 = Ruleset::default(),
            Tampering::FlushTable => self.0.chains.values_mut().for_each(|chain| chain.rules.clear()),
        }
    }
}

/// Plays stages without a packet.
pub struct ModelArm {
    nodes: BTreeMap<String, Node>,
}

/// A node without a kernel.
struct Node {
    agent: Agent<ValueKernel>,
    wires: BTreeMap<StationId, BridgePort>,
    uplinks: BTreeMap<String, BridgePort>,
    last_port: u32,
    /// Whether the agent runs, and has listed the ports.
    listens: bool,
    runs: bool,
    /// Whether there are other nodes, to which its bridges have uplinks.
    is_one_of_several: bool,
}

impl ModelArm {
    /// An arm in which nothing has happened yet, with a node for each of `configs`.
    pub fn new(configs: Vec<Config>) -> Self {
        let is_one_of_several = configs.len() > 1;
        let node = |config: Config| (config.node.to_string(), Node::new(config, is_one_of_several));
        Self { nodes: configs.into_iter().map(node).collect() }
    }

    fn carry_out(&mut self, event: &Event, played: &mut Played) -> Result<()> {
        match event {
            Event::Agent { node, change: AgentChange::Start(succession) } => {
                let node = self.node(node)?;
                node.agent.start_again(succession.after(node.agent.version()));
                node.runs = true;
                Ok(())
            }
            Event::Agent { node, change: AgentChange::Stop } => {
                let node = self.node(node)?;
                (node.runs, node.listens) = (false, false);
                Ok(())
            }
            Event::Attach(station) => self.node(&station.node)?.attach(station, played),
            Event::Detach(station) => self.node(&station.node)?.detach(station, played),
            Event::Rewire { before, after } => self.node(&before.node)?.rewire(after, played),
            Event::Tamper { node, tampering } => {
                let node = self.node(node)?;
                node.agent.kernel_mut().tamper(*tampering);
                if node.runs { played.tell(&mut node.agent, Input::Tampered) } else { Ok(()) }
            }
            Event::Tell { node, input } => played.tell(&mut self.node(node)?.agent, input.clone()),
            // There is no API server: the agents are told what they would see of it.
            Event::Announce(_) | Event::Write(_) => Ok(()),
        }
    }

    fn node(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes.get_mut(name).with_context(|| format!("there is no node {name}"))
    }
}

impl Node {
    fn new(config: Config, is_one_of_several: bool) -> Self {
        Self {
            agent: Agent::new(config, ValueKernel::default(), Version::This),
            wires: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            // Low numbers belong to the loopback interface and the bridges.
            last_port: 100,
            listens: false,
            runs: true,
            is_one_of_several,
        }
    }

    fn attach(&mut self, station: &Station, played: &mut Played) -> Result<()> {
        self.uplink_of(station, played)?;
        if station.position != Position::Port {
            return Ok(());
        }
        let port = station.port(self.next_port());
        self.wires.insert(station.id.clone(), port.clone());
        self.hear(Input::Upsert(Object::Port(port)), played)
    }

    fn detach(&mut self, station: &Station, played: &mut Played) -> Result<()> {
        let port = self.wires.remove(&station.id);
        let port = port.with_context(|| format!("{} is not attached", station.id))?;
        self.hear(Input::Remove(ObjectId::Port(port.index)), played)
    }

    fn rewire(&mut self, after: &Station, played: &mut Played) -> Result<()> {
        self.uplink_of(after, played)?;
        let port = self.wires.get_mut(&after.id).with_context(|| format!("{} is not attached", after.id))?;
        *port = after.port(port.index);
        let port = port.clone();
        self.hear(Input::Upsert(Object::Port(port)), played)
    }

    /// The first station on a bridge finds the uplink in place.
    fn uplink_of(&mut self, station: &Station, played: &mut Played) -> Result<()> {
        if !self.is_one_of_several || self.uplinks.contains_key(&station.bridge) {
            return Ok(());
        }
        let port = uplink(&station.node, &station.bridge).port(self.next_port());
        self.uplinks.insert(station.bridge.clone(), port.clone());
        self.hear(Input::Upsert(Object::Port(port)), played)
    }

    const fn next_port(&mut self) -> u32 {
        self.last_port += 1;
        self.last_port
    }

    /// The node's kernel announces something about its links.
    fn hear(&mut self, input: Input, played: &mut Played) -> Result<()> {
        if self.listens { played.tell(&mut self.agent, input) } else { Ok(()) }
    }

    /// An agent that has just started lists the node's links once, like everything else.
    fn list_ports(&mut self, played: &mut Played) -> Result<()> {
        if self.runs && !self.listens {
            let ports = self.wires.values().chain(self.uplinks.values());
            let objects = ports.cloned().map(Object::Port).collect();
            played.tell(&mut self.agent, Input::Relist { kind: Kind::Port, objects })?;
            self.listens = true;
        }
        Ok(())
    }

    /// What the kernel holds.
    fn ruleset(&mut self) -> Result<Ruleset> {
        if self.runs { self.agent.settled() } else { self.agent.observed() }
    }

    fn view<'a>(&self, ruleset: &'a Ruleset) -> NodeView<'a> {
        NodeView {
            ruleset,
            ports: self.wires.iter().map(|(id, port)| (id.clone(), port.index)).collect(),
            uplinks: self.uplinks.iter().map(|(bridge, port)| (bridge.clone(), port.index)).collect(),
        }
    }
}

impl Arm for ModelArm {
    fn play(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = Played::default();
        for event in &stage.events {
            self.carry_out(event, &mut played)?;
        }
        let mut rulesets = BTreeMap::new();
        for (name, node) in &mut self.nodes {
            node.list_ports(&mut played)?;
            rulesets.insert(name.clone(), node.ruleset().with_context(|| format!("on {name}"))?);
        }
        played.reports.sort();
        played.nft = listing_of(&rulesets);
        let nodes = self.nodes.iter().filter_map(|(name, node)| Some((name, node, rulesets.get(name)?)));
        let nodes = nodes.map(|(name, node, ruleset)| (name.clone(), node.view(ruleset))).collect();
        let fabric = Fabric { nodes: &nodes, stations: &stage.stations };
        played.outcomes = fabric.outcomes(stage.wanted.keys());
        played.arrivals = fabric.arrivals(&stage.frames);
        Ok(played)
    }
}
