//! The netns arm: real bridges and wires, the real driver, real packets.
//!
//! The node is a network namespace with its bridges; every pod and host is one, with a veth pair to a port. The
//! compiler, the netlink driver and the link watcher are those of the agent.

use core::time::Duration;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use driver_nft::NftKernel;
use policy_core::Kernel as _;
use policy_core::ruleset::Ruleset;
use tokio::runtime::Runtime;

use super::node_agent::NodeAgent;
use super::wiring::Wiring;
use super::{Arm, Played};
use crate::listing::Scratch;
use crate::netns::Namespace;
use crate::probe::{Field, round};
use crate::programs;
use crate::scenario::{AgentChange, Tampering};
use crate::stage::{Event, Stage};
use crate::walk::Bridge;

/// Plays stages with packets. Must live in a network namespace of its own.
pub struct NetnsArm {
    name: String,
    runtime: Runtime,
    wiring: Wiring,
    agent: Option<NodeAgent>,
    scratch: Scratch,
    slowness: u32,
}

impl NetnsArm {
    /// A node without bridges, and its agent, on a machine that is `slowness` times slower than an ordinary one.
    pub fn new(node: &str, slowness: u32) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let wiring = runtime.block_on(Wiring::new(node))?;
        let scratch = Scratch::new(runtime.block_on(Namespace::create("scratch"))?);
        let agent = Some(NodeAgent::start(node, &wiring.node)?);
        Ok(Self { name: node.to_owned(), runtime, wiring, agent, scratch, slowness })
    }

    /// The names of all namespaces, for `ip netns exec`.
    pub fn namespaces(&self) -> Vec<&str> {
        let pods = self.wiring.pods.keys().map(String::as_str);
        core::iter::once(self.wiring.node.name()).chain(pods).collect()
    }

    fn carry_out(&mut self, event: &Event, played: &mut Played) -> Result<()> {
        match event {
            Event::Agent(AgentChange::Start) => {
                self.agent = Some(NodeAgent::start(&self.name, &self.wiring.node)?);
            }
            Event::Agent(AgentChange::Stop) => self.agent = None,
            Event::Attach(station) => self.runtime.block_on(self.wiring.attach(station))?,
            Event::Detach(station) => self.runtime.block_on(self.wiring.detach(station))?,
            Event::Tamper(tampering) => self.tamper(*tampering, played)?,
            Event::Tell(input) => {
                let agent = self.agent.as_mut().context("an agent that is stopped is told nothing")?;
                played.tell(&mut agent.agent, input.clone())?;
            }
        }
        // The first list is for when everything is there.
        match &mut self.agent {
            Some(agent) if agent.has_listed() => agent.follow_ports(played, &self.wiring.wires),
            Some(_) | None => Ok(()),
        }
    }

    /// Changes the table behind the agent's back, with the real `nft`.
    fn tamper(&mut self, tampering: Tampering, played: &mut Played) -> Result<()> {
        let path = programs::find(programs::NFT).context("nft is not installed any more")?;
        let command = tampering.nft();
        let status = self.wiring.node.run(|| Command::new(path).args(command.split(' ')).status())?;
        ensure!(status.context("cannot start nft")?.success(), "nft {command} failed");
        self.agent.as_mut().map_or(Ok(()), |agent| agent.notice_tampering(played))
    }

    /// What the kernel holds; while an agent runs, that is compared with what it should.
    fn held(&mut self, played: &mut Played) -> Result<Ruleset> {
        let Some(NodeAgent { agent, .. }) = &mut self.agent else {
            let kernel = self.wiring.node.run(NftKernel::open)?;
            return kernel.and_then(|mut kernel| kernel.observe()).context("cannot read the table");
        };
        let observed = agent.observed()?;
        let settled = agent.settled()?;
        if observed != *settled {
            played.complaints.push(format!("the kernel's table, read back, is another one:\n{observed}"));
        }
        let (text, indexes) = (settled.to_string(), self.wiring.indexes());
        let compared = self.scratch.compare(&self.wiring.node, &text, &indexes);
        played.complaints.extend(self.runtime.block_on(compared)?);
        Ok(settled.clone())
    }
}

impl Arm for NetnsArm {
    fn play(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = Played::default();
        for event in &stage.events {
            self.carry_out(event, &mut played)?;
        }
        if let Some(agent) = &mut self.agent {
            agent.follow_ports(&mut played, &self.wiring.wires)?;
            // Whatever bridges have learned meanwhile.
            while agent.pass_on(&mut played, Duration::ZERO)? {}
        }
        played.reports.sort();
        let ruleset = self.held(&mut played)?;
        played.nft = ruleset.to_string();
        let ports = self.wiring.ports();
        let bridge = Bridge { ruleset: &ruleset, stations: &stage.stations, ports: &ports };
        played.predicted = Some(bridge.outcomes(stage.wanted.keys()));
        let field =
            Field { stations: &stage.stations, namespaces: &self.wiring.pods, slowness: self.slowness };
        self.runtime.block_on(self.wiring.forget_neighbours())?;
        played.outcomes = self.runtime.block_on(round(&field, &stage.wanted))?;
        Ok(played)
    }
}
