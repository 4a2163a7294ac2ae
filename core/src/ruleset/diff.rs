//! The way from one ruleset to another.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{ChainName, Elements, Key, Op, Ruleset, SetName};
use crate::output::Scope;

/// The names and keys at which two rulesets may differ.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Dirty {
    /// Chains: their existence or rules.
    pub chains: BTreeSet<ChainName>,
    /// Sets: their existence; and of each, the elements.
    pub sets: BTreeMap<SetName, BTreeSet<Key>>,
}

impl Dirty {
    /// Whether nothing may differ.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty()
    }

    /// Everything at which `one` and `other` do differ.
    pub fn between(one: &Ruleset, other: &Ruleset) -> Self {
        let chains = one.chains.keys().chain(other.chains.keys());
        Self::among(one, other, chains, one.sets.keys().chain(other.sets.keys()))
    }

    /// Everything at which `one` and `other` do differ among these chains and sets.
    pub(super) fn among<'a>(
        one: &Ruleset,
        other: &Ruleset,
        chains: impl IntoIterator<Item = &'a ChainName>,
        names: impl IntoIterator<Item = &'a SetName>,
    ) -> Self {
        let differs = |name: &&ChainName| one.chains.get(*name) != other.chains.get(*name);
        let chains = chains.into_iter().filter(differs).cloned().collect();
        let mut sets = BTreeMap::new();
        for name in names {
            let (left, right) = (one.sets.get(name), other.sets.get(name));
            if left == right || sets.contains_key(name) {
                continue;
            }
            let keys = [left, right].into_iter().flatten().flat_map(|set| set.elements.keys());
            let element = |set: Option<&super::Set>, key| set.and_then(|set| set.elements.get(key)).cloned();
            let differing = keys.filter(|key| element(left, key) != element(right, key)).cloned().collect();
            sets.insert(name.clone(), differing);
        }
        Self { chains, sets }
    }

    /// Takes in everything that `other` names.
    pub fn merge(&mut self, other: Self) {
        self.chains.extend(other.chains);
        for (name, keys) in other.sets {
            self.sets.entry(name).or_default().extend(keys);
        }
    }
}

/// The smallest list of operations that leads from `from` to `to`, and what it starts from.
///
/// Where a chain or set changes its nature (hook, key, flags, comment), no operation can do that to an object in use:
/// the answer is then a replacement of the whole table, still one commit.
pub fn diff(from: &Ruleset, to: &Ruleset) -> (Scope, Vec<Op>) {
    diff_within(from, to, &Dirty::between(from, to))
}

/// [`diff`], looking only at what is `dirty`: its cost follows the change, not the rulesets.
pub fn diff_within(from: &Ruleset, to: &Ruleset, dirty: &Dirty) -> (Scope, Vec<Op>) {
    if changes_nature(from, to, dirty) {
        let empty = Ruleset::default();
        return (Scope::Replace, operations(&empty, to, &Dirty::between(&empty, to)));
    }
    (Scope::Change, operations(from, to, dirty))
}

fn changes_nature(from: &Ruleset, to: &Ruleset, dirty: &Dirty) -> bool {
    let chain = |name: &ChainName| match (from.chains.get(name), to.chains.get(name)) {
        (Some(old), Some(new)) => old.spec != new.spec,
        (None, _) | (_, None) => false,
    };
    let set = |name: &SetName| match (from.sets.get(name), to.sets.get(name)) {
        (Some(old), Some(new)) => old.spec != new.spec,
        (None, _) | (_, None) => false,
    };
    dirty.chains.iter().any(chain) || dirty.sets.keys().any(set)
}

/// What exists is created before it is referred to, and deleted after the last reference to it is gone.
fn operations(from: &Ruleset, to: &Ruleset, dirty: &Dirty) -> Vec<Op> {
    let mut ops = Vec::new();
    for name in dirty.sets.keys() {
        if let (None, Some(set)) = (from.sets.get(name), to.sets.get(name)) {
            ops.push(Op::AddSet(name.clone(), set.spec.clone()));
        }
    }
    for name in &dirty.chains {
        if let (None, Some(chain)) = (from.chains.get(name), to.chains.get(name)) {
            ops.push(Op::AddChain(name.clone(), chain.spec.clone()));
        }
    }
    for name in &dirty.chains {
        let old = from.chains.get(name).map_or(&[][..], |chain| &chain.rules);
        let new = to.chains.get(name).map_or(&[][..], |chain| &chain.rules);
        if old != new {
            ops.push(Op::SetRules(name.clone(), new.to_vec()));
        }
    }
    for (name, keys) in &dirty.sets {
        element_operations(&mut ops, from, to, name, keys);
    }
    for name in &dirty.chains {
        if from.chains.contains_key(name) && !to.chains.contains_key(name) {
            ops.push(Op::DelChain(name.clone()));
        }
    }
    for name in dirty.sets.keys() {
        if from.sets.contains_key(name) && !to.sets.contains_key(name) {
            ops.push(Op::DelSet(name.clone()));
        }
    }
    ops
}

/// The elements of one set: a map's elements go even when the whole map goes, because they hold chains.
fn element_operations(ops: &mut Vec<Op>, from: &Ruleset, to: &Ruleset, name: &SetName, keys: &BTreeSet<Key>) {
    let (old, new) = (from.sets.get(name), to.sets.get(name));
    if new.is_none() && old.is_some_and(|set| !set.spec.verdict_map) {
        return;
    }
    let mut gone = Elements::new();
    let mut added = Elements::new();
    for key in keys {
        let before = old.and_then(|set| set.elements.get(key));
        let after = new.and_then(|set| set.elements.get(key));
        if before == after {
            continue;
        }
        if let Some(verdict) = before {
            gone.insert(key.clone(), verdict.clone());
        }
        if let Some(verdict) = after {
            added.insert(key.clone(), verdict.clone());
        }
    }
    if !gone.is_empty() {
        ops.push(Op::DelElements(name.clone(), gone));
    }
    if !added.is_empty() {
        ops.push(Op::AddElements(name.clone(), added));
    }
}
