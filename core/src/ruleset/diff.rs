//! The way from one ruleset to another.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Chain, ChainName, Elements, Key, Op, Rule, Ruleset, Set, SetName};
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
            let element = |set: Option<&Set>, key| set.and_then(|set| set.elements.get(key)).cloned();
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
/// Where a set or a base chain changes its nature (hook, key, flags, comment), no operation can do that to an object in use: it
/// is deleted and made anew in the same commit, and so are the rules that look into the set. All else stays, what packets
/// have put into dynamic sets with it. Where a chain does that which others lead to, the answer is a replacement of the
/// whole table, still one commit.
pub fn diff(from: &Ruleset, to: &Ruleset) -> (Scope, Vec<Op>) {
    diff_within(from, to, &Dirty::between(from, to))
}

/// [`diff`], looking only at what is `dirty`: its cost follows the change, not the rulesets.
pub fn diff_within(from: &Ruleset, to: &Ruleset, dirty: &Dirty) -> (Scope, Vec<Op>) {
    let reborn = Reborn::among(from, to, dirty);
    if reborn.table {
        let empty = Ruleset::default();
        let dirty = Dirty::between(&empty, to);
        return (Scope::Replace, operations(&empty, to, &dirty, &Reborn::default()));
    }
    (Scope::Change, operations(from, to, dirty, &reborn))
}

/// What exists before and after, but as something else.
#[derive(Default)]
struct Reborn<'a> {
    /// Base chains, to which nothing leads.
    chains: BTreeSet<&'a ChainName>,
    sets: BTreeSet<&'a SetName>,
    /// Chains whose rules look into one of `sets`.
    readers: BTreeSet<&'a ChainName>,
    /// A chain to which others may lead: everything.
    table: bool,
}

impl<'a> Reborn<'a> {
    fn among(from: &'a Ruleset, to: &Ruleset, dirty: &'a Dirty) -> Self {
        let mut reborn = Self::default();
        for name in &dirty.chains {
            if let (Some(old), Some(new)) = (from.chains.get(name), to.chains.get(name))
                && old.spec != new.spec
            {
                reborn.table |= old.spec.base.is_none();
                reborn.chains.insert(name);
            }
        }
        let changed = |name: &&SetName| {
            let specs = [from, to].map(|ruleset| ruleset.sets.get(*name).map(|set| &set.spec));
            matches!(specs, [Some(old), Some(new)] if old != new)
        };
        reborn.sets = dirty.sets.keys().filter(changed).collect();
        if !reborn.sets.is_empty() {
            let reads = |rule: &Rule| rule.sets().any(|set| reborn.sets.contains(set));
            let readers = from.chains.iter().filter(|(_, chain)| chain.rules.iter().any(reads));
            reborn.readers = readers.map(|(name, _)| name).collect();
        }
        reborn
    }

    /// What must go before anything can come.
    fn farewell(&self, from: &Ruleset) -> Vec<Op> {
        let emptied = self.readers.union(&self.chains).filter(|name| {
            let chain = from.chains.get(**name);
            chain.is_some_and(|chain| !chain.rules.is_empty())
        });
        let mut ops: Vec<Op> = emptied.map(|name| Op::SetRules((*name).clone(), Vec::new())).collect();
        ops.extend(self.chains.iter().map(|name| Op::DelChain((*name).clone())));
        for name in &self.sets {
            let elements = from.sets.get(*name).filter(|set| set.spec.verdict_map).map(|set| &set.elements);
            if let Some(elements) = elements.filter(|elements| !elements.is_empty()) {
                ops.push(Op::DelElements((*name).clone(), elements.clone()));
            }
        }
        ops.extend(self.sets.iter().map(|name| Op::DelSet((*name).clone())));
        ops
    }

    /// A chain as it is after the farewell.
    fn chain<'r>(&self, from: &'r Ruleset, name: &ChainName) -> Option<&'r Chain> {
        from.chains.get(name).filter(|_| !self.chains.contains(name))
    }

    /// The rules of a chain after the farewell.
    fn rules<'r>(&self, from: &'r Ruleset, name: &ChainName) -> &'r [Rule] {
        let chain = self.chain(from, name).filter(|_| !self.readers.contains(name));
        chain.map_or(&[], |chain| &chain.rules)
    }

    /// A set as it is after the farewell.
    fn set<'r>(&self, from: &'r Ruleset, name: &SetName) -> Option<&'r Set> {
        from.sets.get(name).filter(|_| !self.sets.contains(name))
    }
}

/// What exists is created before it is referred to, and deleted after the last reference to it is gone.
fn operations(from: &Ruleset, to: &Ruleset, dirty: &Dirty, reborn: &Reborn<'_>) -> Vec<Op> {
    let mut ops = reborn.farewell(from);
    for name in dirty.sets.keys() {
        if let (None, Some(set)) = (reborn.set(from, name), to.sets.get(name)) {
            ops.push(Op::AddSet(name.clone(), set.spec.clone()));
        }
    }
    for name in &dirty.chains {
        if let (None, Some(chain)) = (reborn.chain(from, name), to.chains.get(name)) {
            ops.push(Op::AddChain(name.clone(), chain.spec.clone()));
        }
    }
    for name in dirty.chains.iter().collect::<BTreeSet<_>>().union(&reborn.readers) {
        let old = reborn.rules(from, name);
        let new = to.chains.get(*name).map_or(&[][..], |chain| &chain.rules);
        if old != new {
            ops.push(Op::SetRules((*name).clone(), new.to_vec()));
        }
    }
    for (name, keys) in &dirty.sets {
        let (old, new) = (from.sets.get(name), to.sets.get(name));
        match new.filter(|_| reborn.sets.contains(name)) {
            None => element_operations(&mut ops, old, new, name, keys),
            Some(new) if new.elements.is_empty() => {}
            Some(new) => ops.push(Op::AddElements(name.clone(), new.elements.clone())),
        }
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
fn element_operations(
    ops: &mut Vec<Op>,
    old: Option<&Set>,
    new: Option<&Set>,
    name: &SetName,
    keys: &BTreeSet<Key>,
) {
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
