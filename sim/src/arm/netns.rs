//! The netns arm: real bridges and wires, the real driver, real packets.
//!
//! Every node is a network namespace with its bridges, and so is every pod and host, with a veth pair to a port. The
//! compiler, the netlink driver and the link watcher are those of the agent, one of each for every node.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;

use anyhow::{Context as _, Result};
use driver_nft::{Monitor, NftKernel};
use policy_core::ruleset::Ruleset;
use policy_core::{Config, Kernel as _};

use super::bed::Bed;
use super::node_agent::{NodeAgent, notice_tampering};
use super::{Arm, Played};
use crate::layout::Version;
use crate::netns::Namespace;
use crate::scenario::{AgentChange, Succession};
use crate::stage::{Event, Stage};

/// Plays stages with packets. Must live in a network namespace of its own.
pub struct NetnsArm {
    bed: Bed,
    /// The agents that run, by their nodes' names, each with its listener for other people's changes.
    agents: BTreeMap<String, (NodeAgent<NftKernel>, Monitor)>,
    /// The settings of each node's agent.
    configs: BTreeMap<String, Config>,
    /// Which version each node's last agent is of.
    versions: BTreeMap<String, Version>,
}

impl NetnsArm {
    /// A node without bridges for each of `configs`, and its agent, on a machine that is `slowness` times slower than an
    /// ordinary one.
    pub fn new(configs: Vec<Config>, slowness: u32) -> Result<Self> {
        let nodes: Vec<String> = configs.iter().map(|config| config.node.to_string()).collect();
        let bed = Bed::new(&nodes, slowness)?;
        let configs = nodes.iter().cloned().zip(configs).collect();
        let mut arm = Self { bed, agents: BTreeMap::new(), configs, versions: BTreeMap::new() };
        for node in &nodes {
            arm.start_agent(node, Succession::Same)?;
        }
        Ok(arm)
    }

    /// The names of all namespaces, for `ip netns exec`.
    pub fn namespaces(&self) -> Vec<&str> {
        self.bed.namespaces()
    }

    fn start_agent(&mut self, node: &str, succession: Succession) -> Result<()> {
        let last = self.versions.entry(node.to_owned()).or_default();
        *last = succession.after(*last);
        let version = *last;
        let config = self.configs.get(node).cloned().with_context(|| format!("there is no node {node}"))?;
        let namespace = &self.bed.node(node)?.namespace;
        let started = namespace.run(|| {
            let kernel = NftKernel::open().context("cannot open the nftables driver")?;
            let monitor = kernel.monitor().context("cannot listen to changes of the tables")?;
            anyhow::Ok((NodeAgent::start(config, kernel, version)?, monitor))
        });
        self.agents.insert(node.to_owned(), started??);
        Ok(())
    }

    fn carry_out(&mut self, event: &Event, played: &mut Played) -> Result<()> {
        let Bed { runtime, wiring, .. } = &mut self.bed;
        match event {
            Event::Agent { node, change: AgentChange::Start(succession) } => {
                self.start_agent(node, *succession)?;
            }
            Event::Agent { node, change: AgentChange::Stop } => {
                self.agents.remove(node).context("an agent that is stopped cannot end")?;
            }
            Event::Attach(station) => runtime.block_on(wiring.attach(station))?,
            Event::Detach(station) => runtime.block_on(wiring.detach(station))?,
            Event::Rewire { before, after } => runtime.block_on(wiring.rewire(before, after))?,
            Event::Tamper { node, tampering } => {
                self.bed.tamper(node, *tampering)?;
                if let Some((agent, monitor)) = self.agents.get_mut(node) {
                    notice_tampering(monitor)?;
                    played.tell(&mut agent.agent, policy_core::Input::Tampered)?;
                }
            }
            Event::Tell { node, input } => {
                let (agent, _) =
                    self.agents.get_mut(node).context("an agent that is stopped is told nothing")?;
                played.tell(&mut agent.agent, input.clone())?;
            }
            // There is no API server: the agents are told what they would see of it.
            Event::Announce(_) | Event::Write(_) => {}
        }
        // The first list is for when everything is there.
        for (name, (agent, _)) in self.agents.iter_mut().filter(|(_, (agent, _))| agent.has_listed()) {
            agent.follow_ports(played, self.bed.node(name)?).with_context(|| format!("on {name}"))?;
        }
        Ok(())
    }

    /// What the kernel of a node holds; while an agent runs, that is compared with what it should.
    fn held(&mut self, node: &str, played: &mut Played) -> Result<Ruleset> {
        let Some((NodeAgent { agent, .. }, _)) = self.agents.get_mut(node) else {
            let kernel = self.bed.node(node)?.namespace.run(NftKernel::open)?;
            return kernel.and_then(|mut kernel| kernel.observe()).context("cannot read the table");
        };
        let observed = agent.observed()?;
        let settled = agent.settled()?;
        self.bed.compare(node, &observed, &settled, played)?;
        Ok(settled)
    }

    /// What the kernels of all nodes hold.
    fn held_everywhere(&mut self, played: &mut Played) -> Result<BTreeMap<String, Ruleset>> {
        let names: Vec<String> = self.bed.wiring.nodes.keys().cloned().collect();
        let mut rulesets = BTreeMap::new();
        for name in names {
            let ruleset = self.held(&name, played).with_context(|| format!("on {name}"))?;
            rulesets.insert(name, ruleset);
        }
        Ok(rulesets)
    }

    /// Makes the stage's changes, and probes nobody. When it returns, they are committed.
    pub fn change(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = Played::default();
        for event in &stage.events {
            self.carry_out(event, &mut played)?;
        }
        for (name, (agent, _)) in &mut self.agents {
            agent.follow_ports(&mut played, self.bed.node(name)?).with_context(|| format!("on {name}"))?;
            // Whatever bridges have learned meanwhile.
            while agent.pass_on(&mut played, Duration::ZERO)? {}
        }
        played.reports.sort();
        Ok(played)
    }

    /// The namespace of a node.
    pub fn node_namespace(&self, node: &str) -> Result<Arc<Namespace>> {
        Ok(Arc::clone(&self.bed.node(node)?.namespace))
    }

    /// A namespace in which stations are, by its name.
    pub fn place(&self, name: &str) -> Option<Arc<Namespace>> {
        self.bed.wiring.places.get(name).cloned()
    }
}

impl Arm for NetnsArm {
    fn play(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = self.change(stage)?;
        let rulesets = self.held_everywhere(&mut played)?;
        self.bed.probe(stage, &rulesets, &mut played)?;
        Ok(played)
    }
}
