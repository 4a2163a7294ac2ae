//! What was changed in a ruleset by somebody else, read again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Chain, ChainName, Dirty, Ruleset, Set, SetName};

/// Chains and sets as they are now; `None` for one that is gone. What is not named here is as it was.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Touched {
    /// Chains, with their rules.
    pub chains: BTreeMap<ChainName, Option<Chain>>,
    /// Sets, with their elements.
    pub sets: BTreeMap<SetName, Option<Set>>,
}

impl Touched {
    /// Brings `ruleset` up to date, and says where it differs from `wanted` among what was touched. The cost follows what was
    /// touched.
    pub(crate) fn bring_into(self, ruleset: &mut Ruleset, wanted: &Ruleset) -> Dirty {
        let (mut chains, mut sets) = (Vec::new(), Vec::new());
        for (name, chain) in self.chains {
            chains.push(name.clone());
            match chain {
                Some(chain) => drop(ruleset.chains.insert(name, chain)),
                None => drop(ruleset.chains.remove(&name)),
            }
        }
        for (name, set) in self.sets {
            sets.push(name.clone());
            match set {
                Some(set) => drop(ruleset.sets.insert(name, set)),
                None => drop(ruleset.sets.remove(&name)),
            }
        }
        Dirty::among(ruleset, wanted, &chains, &sets)
    }
}
