//! The wanted ruleset, and what has changed in it since the last transaction.

use crate::ruleset::{Chain, ChainName, Dirty, Key, Ruleset, Set, SetName, Verdict};

/// A ruleset that notes what is done to it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Desired {
    pub(crate) ruleset: Ruleset,
    pub(crate) dirty: Dirty,
}

impl Desired {
    /// Adds a chain, or replaces it.
    pub(crate) fn put_chain(&mut self, name: ChainName, chain: Chain) {
        if self.ruleset.chains.get(&name) != Some(&chain) {
            self.dirty.chains.insert(name.clone());
            self.ruleset.chains.insert(name, chain);
        }
    }

    /// Removes a chain.
    pub(crate) fn remove_chain(&mut self, name: ChainName) {
        if self.ruleset.chains.remove(&name).is_some() {
            self.dirty.chains.insert(name);
        }
    }

    /// Adds a set with its elements.
    pub(crate) fn put_set(&mut self, name: SetName, set: Set) {
        self.dirty.sets.entry(name.clone()).or_default().extend(set.elements.keys().cloned());
        self.ruleset.sets.insert(name, set);
    }

    /// Removes a set with its elements.
    pub(crate) fn remove_set(&mut self, name: SetName) {
        if let Some(set) = self.ruleset.sets.remove(&name) {
            self.dirty.sets.entry(name).or_default().extend(set.elements.into_keys());
        }
    }

    /// Adds an element, or replaces its verdict; whether it was there already.
    pub(crate) fn put_element(&mut self, name: &SetName, key: Key, verdict: Option<Verdict>) -> bool {
        let Some(set) = self.ruleset.sets.get_mut(name) else { return false };
        if set.elements.get(&key) == Some(&verdict) {
            return true;
        }
        self.dirty.sets.entry(name.clone()).or_default().insert(key.clone());
        set.elements.insert(key, verdict).is_some()
    }

    /// Removes an element.
    pub(crate) fn remove_element(&mut self, name: &SetName, key: Key) {
        if let Some(set) = self.ruleset.sets.get_mut(name)
            && set.elements.remove(&key).is_some()
        {
            self.dirty.sets.entry(name.clone()).or_default().insert(key);
        }
    }
}
