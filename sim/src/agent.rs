//! The agent of a node: the real compiler, and the real loop that serves it with a kernel.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use policy_core::model::BridgePort;
use policy_core::ruleset::Ruleset;
use policy_core::{Compiler, Config, Input, Kernel, Outcome, Time, Transaction, pump};

use crate::layout::{Seen, Version};
use crate::scenario::Succession;

/// A compiler and its kernel.
pub struct Agent<K> {
    config: Config,
    compiler: Compiler,
    kernel: Seen<K>,
    started: Instant,
}

impl Succession {
    /// The version of whoever takes the place of one of `version`.
    pub(crate) const fn after(self, version: Version) -> Version {
        match (self, version) {
            (Self::Same, version) => version,
            (Self::Other, Version::This) => Version::Other,
            (Self::Other, Version::Other) => Version::This,
        }
    }
}

/// What the agent did about an event.
#[derive(Debug, Default)]
pub struct Reaction {
    /// What the kernel committed.
    pub committed: Vec<Transaction>,
    /// What people were told: `OBJECT: FIELD PATH: REASON`.
    pub reports: Vec<String>,
}

impl<K: Kernel> Agent<K> {
    /// An agent of this version that has heard of nothing yet.
    pub(crate) fn new(config: Config, kernel: K, version: Version) -> Self {
        let kernel = Seen { kernel, by: version };
        Self { compiler: Compiler::new(&config), config, kernel, started: Instant::now() }
    }

    /// Feeds one event, and serves the compiler until it wants nothing more.
    pub fn tell(&mut self, input: Input) -> Result<Reaction> {
        let now = Time(self.started.elapsed());
        self.compiler.handle_input(input, now);
        let mut reaction = Reaction::default();
        for outcome in pump(&mut self.compiler, &mut self.kernel, now) {
            match outcome {
                Outcome::Committed(transaction) => reaction.committed.push(transaction),
                Outcome::Reported(report) => {
                    let object = &report.object;
                    reaction
                        .reports
                        .extend(report.problems.iter().map(|problem| format!("{object}: {problem}")));
                }
                Outcome::Refused(transaction, error) => {
                    bail!("the kernel refused transaction {}: {error}\n{transaction}", transaction.generation)
                }
                Outcome::Unobservable(error) => bail!("the kernel's table cannot be read: {error}"),
                Outcome::Observed => {}
                other => bail!("the loop did something unknown: {other:?}"),
            }
        }
        Ok(reaction)
    }

    /// The agent ends, and one of `version` starts, knowing nothing; the kernel's table stays as it is.
    pub(crate) fn start_again(&mut self, version: Version) {
        self.compiler = Compiler::new(&self.config);
        self.kernel.by = version;
    }

    /// Its version.
    pub(crate) const fn version(&self) -> Version {
        self.kernel.by
    }

    /// The kernel, for those who change it behind the agent's back.
    pub const fn kernel_mut(&mut self) -> &mut K {
        &mut self.kernel.kernel
    }

    /// The ports that the compiler knows.
    pub fn ports(&self) -> impl Iterator<Item = &BridgePort> {
        self.compiler.world().ports()
    }

    /// What the kernel has acknowledged, as that holds it; an error when it is not all that the world demands.
    pub fn settled(&self) -> Result<Ruleset> {
        ensure!(self.compiler.is_settled(), "the agent has not settled although it has nothing left to do");
        ensure!(
            self.compiler.applied() == self.compiler.desired(),
            "the agent calls itself settled, but the kernel acknowledged something else than the world demands"
        );
        Ok(self.version().view(self.compiler.applied().clone()))
    }

    /// What the kernel holds, read back.
    pub fn observed(&mut self) -> Result<Ruleset> {
        self.kernel
            .kernel
            .observe()
            .map_err(|error| anyhow::anyhow!("the kernel's table cannot be read: {error}"))
    }
}
