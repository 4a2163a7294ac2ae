//! The ways to play a stage.

mod bed;
mod cluster;
mod model;
mod netns;
mod node_agent;
mod wiring;

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use std::time::Instant;

use anyhow::Result;
use policy_core::ruleset::Ruleset;
use policy_core::{Input, Kernel};

use crate::agent::Agent;
use crate::plan::StationId;
use crate::probe::{Outcome, Probe};
use crate::stage::Stage;

pub use cluster::{ClusterArm, Equipment};
pub use model::ModelArm;
pub use netns::NetnsArm;

/// Something that carries out stages, one after the other.
pub trait Arm {
    /// Makes the stage's changes, and probes every pair.
    fn play(&mut self, stage: &Stage) -> Result<Played>;
}

/// What happened in a stage.
#[derive(Debug, Default)]
pub struct Played {
    /// What came of each probe.
    pub outcomes: BTreeMap<Probe, Outcome>,
    /// What the evaluator says about each probe, where that is another question.
    pub predicted: Option<BTreeMap<Probe, Outcome>>,
    /// Where each crafted frame of the stage has arrived.
    pub arrivals: Vec<BTreeSet<StationId>>,
    /// Where the evaluator says that each arrives, where that is another question.
    pub arrivals_predicted: Option<Vec<BTreeSet<StationId>>>,
    /// What people were told, sorted.
    pub reports: Vec<String>,
    /// What else is wrong: the kernel does not hold what was meant.
    pub complaints: Vec<String>,
    /// The nodes' rulesets, as nft text.
    pub nft: String,
    /// The changes that reached the kernel, in order.
    pub commits: Vec<Commit>,
}

impl Played {
    /// Tells `agent` of an event, and keeps what it did.
    fn tell<K: Kernel>(&mut self, agent: &mut Agent<K>, input: Input) -> Result<()> {
        let started = Instant::now();
        let reaction = agent.tell(input)?;
        let took = started.elapsed();
        let commits = reaction.committed.iter();
        self.commits.extend(commits.map(|transaction| Commit { took, nft: transaction.to_string() }));
        self.reports.extend(reaction.reports);
        Ok(())
    }
}

/// The text of what each node's kernel holds, under its name if there are several.
fn listing_of(rulesets: &BTreeMap<String, Ruleset>) -> String {
    let named = |(node, ruleset): (&String, &Ruleset)| match rulesets.len() {
        1 => ruleset.to_string(),
        _ => format!("# {node}\n{ruleset}"),
    };
    rulesets.iter().map(named).collect()
}

/// A change that reached the kernel.
#[derive(Clone, Debug)]
pub struct Commit {
    /// From the event to the kernel's acknowledgement.
    pub took: Duration,
    /// The transaction, as nft text.
    pub nft: String,
}
