//! The model arm: the real compiler, a kernel that is a value, and ports that are numbers.

use alloc::collections::BTreeMap;

use anyhow::Result;
use policy_core::model::{BridgePort, Kind, Object, ObjectId};
use policy_core::ruleset::{ApplyError, Ruleset};
use policy_core::{Input, Kernel, SinkFault, Transaction};

use super::{Arm, Played};
use crate::agent::Agent;
use crate::plan::StationId;
use crate::scenario::{AgentChange, Tampering};
use crate::stage::{Event, Stage};
use crate::walk::Bridge;

/// A kernel that is a value; `Ruleset::apply` has the kernel's semantics.
#[derive(Default)]
struct ValueKernel(Ruleset);

/// What the value refuses.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
struct Refusal(ApplyError);

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
    agent: Agent<ValueKernel>,
    ports: BTreeMap<StationId, BridgePort>,
    last_port: u32,
    /// Whether the agent runs, and has listed the ports.
    listens: bool,
    runs: bool,
}

impl ModelArm {
    /// An arm in which nothing has happened yet.
    pub fn new(node: &str) -> Self {
        let agent = Agent::new(node, ValueKernel::default());
        // Low numbers belong to the loopback interface and the bridges.
        Self { agent, ports: BTreeMap::new(), last_port: 100, listens: false, runs: true }
    }

    fn carry_out(&mut self, event: &Event, played: &mut Played) -> Result<()> {
        let heard = match event {
            Event::Agent(AgentChange::Start) => {
                self.agent.restart();
                self.runs = true;
                None
            }
            Event::Agent(AgentChange::Stop) => {
                (self.runs, self.listens) = (false, false);
                None
            }
            Event::Attach(station) => {
                self.last_port += 1;
                let port = station.port(self.last_port);
                self.ports.insert(station.id.clone(), port.clone());
                self.listens.then_some(Input::Upsert(Object::Port(port)))
            }
            Event::Detach(station) => {
                let port = self.ports.remove(&station.id);
                port.filter(|_| self.listens).map(|port| Input::Remove(ObjectId::Port(port.index)))
            }
            Event::Tamper(tampering) => {
                self.agent.kernel_mut().tamper(*tampering);
                self.runs.then_some(Input::Tampered)
            }
            Event::Tell(input) => Some(input.clone()),
        };
        heard.map_or(Ok(()), |input| played.tell(&mut self.agent, input))
    }
}

impl Arm for ModelArm {
    fn play(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = Played::default();
        for event in &stage.events {
            self.carry_out(event, &mut played)?;
        }
        if self.runs && !self.listens {
            // The node's links are listed once, like everything else.
            let objects = self.ports.values().cloned().map(Object::Port).collect();
            played.tell(&mut self.agent, Input::Relist { kind: Kind::Port, objects })?;
            self.listens = true;
        }
        played.reports.sort();
        let ruleset = if self.runs { self.agent.settled()?.clone() } else { self.agent.observed()? };
        played.nft = ruleset.to_string();
        let ports = self.ports.iter().map(|(id, port)| (id.clone(), port.index)).collect();
        let bridge = Bridge { ruleset: &ruleset, stations: &stage.stations, ports: &ports };
        played.outcomes = bridge.outcomes(stage.wanted.keys());
        Ok(played)
    }
}
