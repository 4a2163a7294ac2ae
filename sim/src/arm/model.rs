//! The model arm: the real compiler, a kernel that is a value, and ports that are numbers.

use alloc::collections::BTreeMap;

use anyhow::Result;
use policy_core::model::{Kind, Object, ObjectId};
use policy_core::ruleset::{ApplyError, Ruleset};
use policy_core::{Input, Kernel, SinkFault, Transaction};

use super::{Arm, Played};
use crate::agent::Agent;
use crate::plan::{Station, StationId};
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

/// Plays stages without a packet.
pub struct ModelArm {
    agent: Agent<ValueKernel>,
    ports: BTreeMap<StationId, u32>,
    last_port: u32,
    listed: bool,
}

impl ModelArm {
    /// An arm in which nothing has happened yet.
    pub fn new(node: &str) -> Self {
        let agent = Agent::new(node, ValueKernel::default());
        // Low numbers belong to the loopback interface and the bridges.
        Self { agent, ports: BTreeMap::new(), last_port: 100, listed: false }
    }

    fn attach(&mut self, station: &Station) -> Object {
        self.last_port += 1;
        self.ports.insert(station.id.clone(), self.last_port);
        Object::Port(station.port(self.last_port))
    }

    /// What the agent hears, in order. The node's links are listed once, like everything else.
    fn inputs(&mut self, stage: &Stage) -> Vec<Input> {
        let mut inputs = Vec::new();
        let mut first_ports = Vec::new();
        for event in &stage.events {
            match event {
                Event::Attach(station) if self.listed => inputs.push(Input::Upsert(self.attach(station))),
                Event::Attach(station) => first_ports.push(self.attach(station)),
                Event::Detach(station) => {
                    let port = self.ports.remove(&station.id);
                    inputs.extend(port.map(|port| Input::Remove(ObjectId::Port(port))));
                }
                Event::Tell(input) => inputs.push(input.clone()),
            }
        }
        if !self.listed {
            inputs.push(Input::Relist { kind: Kind::Port, objects: first_ports });
            self.listed = true;
        }
        inputs
    }
}

impl Arm for ModelArm {
    fn play(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = Played::default();
        for input in self.inputs(stage) {
            played.tell(&mut self.agent, input)?;
        }
        played.reports.sort();
        let ruleset = self.agent.settled()?;
        played.nft = ruleset.to_string();
        let bridge = Bridge { ruleset, stations: &stage.stations, ports: &self.ports };
        played.outcomes = bridge.outcomes(stage.wanted.keys());
        Ok(played)
    }
}
