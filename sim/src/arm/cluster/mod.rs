//! The cluster arm: the built agent on every node, fed by a real API server, and pods that real CNI plugins attach.
//!
//! Objects are written to the API server as people and controllers write them. What each agent must make of them is told
//! to a shadow of it: the compiler, with a kernel that is a value, fed with the server's answers and the node's real ports.
//! An agent has settled when its log says that it has heard of everything, and its kernel holds what its shadow holds.

mod kubelet;
mod process;
mod world;

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use driver_nft::{Monitor, NftKernel};
use policy_core::model::{Kind, NamespacedName, Object, ObjectId};
use policy_core::ruleset::Ruleset;
use policy_core::{Config, Input, Kernel as _, StateEngine};

pub(super) use kubelet::Kubelet;
use process::AgentProcess;
use world::World;

use super::bed::Bed;
use super::model::ValueKernel;
use super::node_agent::NodeAgent;
use super::{Arm, Played};
use crate::layout::Version;
use crate::plane::Access;
use crate::relay;
use crate::scenario::{AgentChange, Scenario};
use crate::stage::{Change, Event, Stage};

/// How long an agent may take until it has settled, on an ordinary machine; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a scenario is played with.
pub struct Equipment {
    /// The control plane.
    pub access: Access,
    /// The agent's program.
    pub agent: PathBuf,
}

/// Plays stages in a cluster. Must live in a network namespace of its own.
pub struct ClusterArm {
    bed: Bed,
    equipment: Equipment,
    world: World,
    configs: BTreeMap<String, Config>,
    /// The flags of every agent.
    flags: Vec<String>,
    /// The nodes whose agents run, or will as soon as the first stage is written.
    running: BTreeSet<String>,
    agents: BTreeMap<String, Node>,
}

/// The agent of a node, what it should do, and a look at what its kernel holds.
struct Node {
    process: AgentProcess,
    shadow: NodeAgent<ValueKernel>,
    kernel: NftKernel,
    /// Hears of every commit.
    monitor: Monitor,
}

impl ClusterArm {
    /// The nodes of `scenario`, and an API server from which everything of earlier scenarios is gone.
    pub fn new(
        scenario: &Scenario,
        configs: Vec<Config>,
        slowness: u32,
        equipment: Equipment,
    ) -> Result<Self> {
        let nodes: Vec<String> = configs.iter().map(|config| config.node.to_string()).collect();
        let mut bed = Bed::new(&nodes, slowness)?;
        bed.wiring.kubelet = Some(Kubelet::new()?);
        let world = bed.runtime.block_on(World::new(scenario, &equipment.access))?;
        for node in bed.wiring.nodes.values() {
            node.namespace.run(|| relay::to_socket(world.port(), &equipment.access.socket()))??;
        }
        let mut flags = scenario.flags();
        flags.extend(world.config_directory().map(|directory| format!("--cni-config-dir={directory}")));
        Ok(Self {
            bed,
            equipment,
            world,
            configs: nodes.iter().cloned().zip(configs).collect(),
            flags,
            running: nodes.into_iter().collect(),
            agents: BTreeMap::new(),
        })
    }

    /// The names of all namespaces, for `ip netns exec`.
    pub fn namespaces(&self) -> Vec<&str> {
        self.bed.namespaces()
    }

    fn carry_out(&mut self, event: &Event) -> Result<()> {
        let Bed { runtime, wiring, .. } = &mut self.bed;
        match event {
            // The program knows one version, its own.
            Event::Agent { node, change: AgentChange::Start(_) } => drop(self.running.insert(node.clone())),
            Event::Agent { node, change: AgentChange::Stop } => {
                self.running.remove(node);
                self.agents.remove(node).context("an agent that is stopped cannot end")?.process.end()?;
            }
            Event::Announce(pod) => {
                let announced = runtime.block_on(self.world.announce(pod))?;
                self.tell(announced.map(Input::Upsert).into_iter().collect())?;
            }
            Event::Attach(station) => runtime.block_on(wiring.attach(station))?,
            Event::Detach(station) => runtime.block_on(wiring.detach(station))?,
            Event::Rewire { before, after } => runtime.block_on(wiring.rewire(before, after))?,
            Event::Tamper { node, tampering } => self.bed.tamper(node, *tampering)?,
            // The agents hear of it from the API server.
            Event::Tell { .. } => {}
            Event::Write(change) => {
                let inputs = runtime.block_on(self.world.write(change))?;
                if let (Some((network, config)), Some(kubelet)) = (configured(change), &mut wiring.kubelet) {
                    kubelet.learn(network, config);
                }
                self.tell(inputs)?;
            }
        }
        // In the order in which the agent sees it.
        for (name, Node { shadow, .. }) in &mut self.agents {
            shadow
                .follow_ports(&mut Played::default(), self.bed.node(name)?)
                .with_context(|| format!("on {name}"))?;
        }
        Ok(())
    }

    /// Tells the shadows what the agents will hear.
    fn tell(&mut self, inputs: Vec<Input>) -> Result<()> {
        for input in inputs {
            for Node { shadow, .. } in self.agents.values_mut() {
                Played::default().tell(&mut shadow.agent, input.clone())?;
            }
        }
        Ok(())
    }

    /// Starts the agents that should run and do not.
    fn start_agents(&mut self) -> Result<()> {
        for node in &self.running {
            if self.agents.contains_key(node) {
                continue;
            }
            let config = self.configs.get(node).with_context(|| format!("there is no node {node}"))?;
            let kubeconfig = self.equipment.access.agent().display().to_string();
            let state = match config.state {
                StateEngine::Conntrack => "conntrack",
                StateEngine::Sets => "sets",
            };
            let arguments =
                ["run", "--node", node, "--kubeconfig", &kubeconfig, "--start-within", "0", "--state", state];
            let arguments: Vec<String> = arguments.map(str::to_owned).into_iter().collect();
            let arguments = [arguments, vec!["--log=json".to_owned()], self.flags.clone()].concat();
            let there = self.bed.node(node)?;
            let process = AgentProcess::start(&self.equipment.agent, &arguments, &there.namespace)?;
            let (mut shadow, kernel, monitor) = there.namespace.run(|| {
                let shadow = NodeAgent::start(config.clone(), ValueKernel::default(), Version::This)?;
                let kernel = NftKernel::open().context("cannot open the nftables driver")?;
                let monitor = kernel.monitor().context("cannot listen to changes of the tables")?;
                anyhow::Ok((shadow, kernel, monitor))
            })??;
            let mut played = Played::default();
            for kind in Kind::OF_THE_CLUSTER {
                let objects = self.world.objects().filter(|object| object.id().kind() == kind);
                let objects: Vec<Object> = objects.cloned().collect();
                played.tell(&mut shadow.agent, Input::Relist { kind, objects })?;
            }
            shadow.follow_ports(&mut played, there)?;
            self.agents.insert(node.clone(), Node { process, shadow, kernel, monitor });
        }
        Ok(())
    }

    /// Waits until every agent has settled, and reports what should be reported.
    fn settle(&mut self, stage: &Stage, played: &mut Played) -> Result<BTreeMap<String, Ruleset>> {
        let patience = PATIENCE * self.bed.slowness;
        let mut rulesets = BTreeMap::new();
        let mut reported = BTreeSet::new();
        for (name, node) in &mut self.agents {
            let there = self.bed.node(name)?;
            let Node { process, shadow, .. } = node;
            while shadow.pass_on(&mut Played::default(), Duration::ZERO)? {}
            shadow.follow_ports(&mut Played::default(), there)?;
            let wanted = self.world.wanted();
            if !process.read_until(patience, |process| process.lacks(wanted).is_empty())? {
                let lacks = process.lacks(wanted).join(", ");
                let log = process.shown();
                played.complaints.push(format!("on {name}: the agent has not heard of {lacks}:\n{log}"));
            }
            rulesets.insert(name.clone(), node.agree(name, patience, played)?);
            let is_told = |process: &AgentProcess| {
                stage.reports_wanted.iter().all(|wanted| process.reports().contains(wanted))
            };
            // Its kernel holds what it should, so it has reported what it had to.
            if !node.process.read_until(Duration::from_secs(1) * self.bed.slowness, is_told)? {
                let told = node.process.reports();
                let missing: Vec<_> = stage.reports_wanted.iter().filter(|it| !told.contains(*it)).collect();
                played.complaints.push(format!("on {name}: the agent has not reported {missing:?}"));
            }
            let (told, errors) = node.process.take_told();
            reported.extend(told);
            played.complaints.extend(errors.into_iter().map(|error| format!("on {name}: {error}")));
        }
        played.reports = reported.into_iter().collect();
        for name in self.bed.wiring.nodes.keys().filter(|name| !self.agents.contains_key(*name)) {
            let kernel = self.bed.node(name)?.namespace.run(NftKernel::open)?;
            let held = kernel.and_then(|mut kernel| kernel.observe()).context("cannot read the table")?;
            rulesets.insert(name.clone(), held);
        }
        Ok(rulesets)
    }
}

impl Node {
    /// Waits until the kernel holds what the shadow holds; returns that.
    fn agree(&mut self, name: &str, patience: Duration, played: &mut Played) -> Result<Ruleset> {
        let deadline = Instant::now() + patience;
        let wanted = self.shadow.agent.settled()?;
        loop {
            let held = self.kernel.observe().context("cannot read the table")?;
            if held == wanted {
                return Ok(wanted);
            }
            if Instant::now() >= deadline {
                self.process.read();
                played.complaints.push(format!(
                    "on {name}: the kernel holds something else than the world demands:\n{}\n{held}",
                    self.process.shown()
                ));
                return Ok(held);
            }
            // The kernel announces each commit; one that came before is no reason to wait.
            let left = deadline.saturating_duration_since(Instant::now());
            self.monitor.next(Some(left)).context("cannot listen to changes of the tables")?;
        }
    }
}

impl Arm for ClusterArm {
    fn play(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = Played::default();
        for event in &stage.events {
            self.carry_out(event)?;
        }
        self.start_agents()?;
        let rulesets = self.settle(stage, &mut played)?;
        for (name, node) in &mut self.agents {
            let held = node.kernel.observe().context("cannot read the table")?;
            let settled = node.shadow.agent.settled()?;
            self.bed.compare(name, &held, &settled, &mut played)?;
        }
        self.bed.probe(stage, &rulesets, &mut played)?;
        for (name, node) in &mut self.agents {
            // What a probe teaches the bridges changes nothing either.
            while node.shadow.pass_on(&mut Played::default(), Duration::ZERO)? {}
            node.agree(name, PATIENCE * self.bed.slowness, &mut played)?;
        }
        Ok(played)
    }
}

/// The network that a change configures, and how.
fn configured(change: &Change) -> Option<(NamespacedName, String)> {
    let (object, config) = match change {
        Change::Apply { manifest, config } => {
            (driver_kube::Manifest::from_value(manifest.clone()).ok()?.id(), config)
        }
        Change::Delete(_) => return None,
        Change::Patch { object, config, .. } => (object.clone(), config),
    };
    if let ObjectId::Network(network) = object { Some((network, config.clone())) } else { None }
}
