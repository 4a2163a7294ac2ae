//! A kernel that is only read: what would be committed is printed.

use policy_core::ruleset::Ruleset;
use policy_core::{Kernel, Transaction};
use tracing::info;

/// Reads `K` once, and then pretends.
pub(crate) struct DryRun<K> {
    real: K,
    pretended: Option<Ruleset>,
}

impl<K> DryRun<K> {
    /// Starts from what `real` holds.
    pub(crate) const fn new(real: K) -> Self {
        Self { real, pretended: None }
    }
}

impl<K: Kernel> Kernel for DryRun<K> {
    type Error = K::Error;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), K::Error> {
        let mut held = match self.pretended.take() {
            Some(held) => held,
            None => self.real.observe()?,
        };
        match held.apply(transaction) {
            Ok(()) => info!(generation = transaction.generation.0, text = %transaction, "would commit"),
            Err(reason) => tracing::error!(%reason, text = %transaction, "the kernel would refuse this"),
        }
        self.pretended = Some(held);
        Ok(())
    }

    fn observe(&mut self) -> Result<Ruleset, K::Error> {
        match &self.pretended {
            Some(held) => Ok(held.clone()),
            None => self.real.observe(),
        }
    }
}
