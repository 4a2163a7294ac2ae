//! What a transaction does to a ruleset: the kernel's semantics, references included.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Chain, ChainName, Elements, Expr, Key, Op, Rule, Ruleset, Set, SetName};
use crate::output::{Scope, Transaction};

/// Why an operation cannot be applied. The ruleset it was tried on is not to be used any more: [`Ruleset::apply`]
/// works on a copy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A chain to be created is there already.
    #[error("chain {0} exists")]
    ChainExists(ChainName),
    /// A chain that is named does not exist.
    #[error("chain {0} does not exist")]
    ChainMissing(ChainName),
    /// A chain to be deleted still has rules, or something still leads to it.
    #[error("chain {0} is in use")]
    ChainBusy(ChainName),
    /// An element to be added is there already, or overlaps one that is.
    #[error("set {0} has element {1:?}")]
    ElementExists(SetName, Key),
    /// An element to be deleted is not there.
    #[error("set {0} has no element {1:?}")]
    ElementMissing(SetName, Key),
    /// An element does not fit its set: a verdict in a plain set, none in a map, or a key of another type.
    #[error("element {1:?} does not fit set {0}")]
    ElementMisfit(SetName, Key),
    /// A set to be created is there already.
    #[error("set {0} exists")]
    SetExists(SetName),
    /// A set that is named does not exist.
    #[error("set {0} does not exist")]
    SetMissing(SetName),
    /// A set to be deleted is still looked up by a rule.
    #[error("set {0} is in use")]
    SetBusy(SetName),
}

/// What cannot be deleted.
#[derive(Default)]
struct Busy {
    chains: BTreeSet<ChainName>,
    sets: BTreeSet<SetName>,
}

impl Ruleset {
    /// Applies all of `transaction`, or nothing and says why.
    pub fn apply(&mut self, transaction: &Transaction) -> Result<(), ApplyError> {
        let mut next = match transaction.scope {
            Scope::Change => self.clone(),
            Scope::Replace => Self::default(),
        };
        next.take_in(transaction)?;
        *self = next;
        Ok(())
    }

    /// Applies `transaction` in place: cheaper than [`Ruleset::apply`], but an error leaves half of it.
    pub(crate) fn take_in(&mut self, transaction: &Transaction) -> Result<(), ApplyError> {
        if transaction.scope == Scope::Replace {
            *self = Self::default();
        }
        // Whether something is in use takes a look at the whole table: once for all deletions that follow each other.
        let alike = |one: &Op, next: &Op| {
            matches!((one, next), (Op::DelChain(_), Op::DelChain(_)) | (Op::DelSet(_), Op::DelSet(_)))
        };
        for ops in transaction.ops.chunk_by(alike) {
            let busy = self.busy(ops);
            ops.iter().try_for_each(|op| self.perform(op, &busy))?;
        }
        Ok(())
    }

    /// Of the chains and sets that `ops` delete, those that something leads to or looks up. What they delete leads
    /// nowhere itself: a chain must be empty, and no rule looks into a set that goes.
    fn busy(&self, ops: &[Op]) -> Busy {
        let mut busy = Busy::default();
        let rules = || self.chains.values().flat_map(|chain| &chain.rules);
        let chains: BTreeSet<&ChainName> =
            ops.iter().filter_map(|op| if let Op::DelChain(name) = op { Some(name) } else { None }).collect();
        if !chains.is_empty() {
            let from_maps = self.sets.values().flat_map(|set| set.elements.values().flatten());
            let targets =
                rules().flat_map(Rule::jumps).chain(from_maps.filter_map(|verdict| verdict.target()));
            busy.chains.extend(targets.filter(|target| chains.contains(target)).cloned());
        }
        let sets: BTreeSet<&SetName> =
            ops.iter().filter_map(|op| if let Op::DelSet(name) = op { Some(name) } else { None }).collect();
        if !sets.is_empty() {
            busy.sets.extend(rules().flat_map(Rule::sets).filter(|set| sets.contains(set)).cloned());
        }
        busy
    }

    fn perform(&mut self, op: &Op, busy: &Busy) -> Result<(), ApplyError> {
        match op {
            Op::AddChain(name, spec) => {
                let chain = Chain { spec: spec.clone(), rules: Vec::new() };
                match self.chains.insert(name.clone(), chain) {
                    None => Ok(()),
                    Some(_) => Err(ApplyError::ChainExists(name.clone())),
                }
            }
            Op::AddSet(name, spec) => {
                let set = Set::empty(spec.clone());
                match self.sets.insert(name.clone(), set) {
                    None => Ok(()),
                    Some(_) => Err(ApplyError::SetExists(name.clone())),
                }
            }
            Op::AddElements(name, elements) => self.add_elements(name, elements),
            Op::DelChain(name) => self.delete_chain(name, busy),
            Op::DelElements(name, elements) => self.delete_elements(name, elements),
            Op::DelSet(name) => self.delete_set(name, busy),
            Op::SetRules(name, rules) => self.set_rules(name, rules),
        }
    }

    fn add_elements(&mut self, name: &SetName, elements: &Elements) -> Result<(), ApplyError> {
        for chain in elements.values().flatten().filter_map(|verdict| verdict.target()) {
            self.require_chain(chain)?;
        }
        let set = self.sets.get_mut(name).ok_or_else(|| ApplyError::SetMissing(name.clone()))?;
        for (key, verdict) in elements {
            if verdict.is_some() != set.spec.verdict_map || !key_fits(key, set) {
                return Err(ApplyError::ElementMisfit(name.clone(), key.clone()));
            }
            if set.elements.insert(key.clone(), verdict.clone()).is_some() || overlaps(key, set) {
                return Err(ApplyError::ElementExists(name.clone(), key.clone()));
            }
        }
        Ok(())
    }

    fn delete_elements(&mut self, name: &SetName, elements: &Elements) -> Result<(), ApplyError> {
        let set = self.sets.get_mut(name).ok_or_else(|| ApplyError::SetMissing(name.clone()))?;
        for key in elements.keys() {
            if set.elements.remove(key).is_none() {
                return Err(ApplyError::ElementMissing(name.clone(), key.clone()));
            }
        }
        Ok(())
    }

    fn delete_chain(&mut self, name: &ChainName, busy: &Busy) -> Result<(), ApplyError> {
        let chain = self.chains.remove(name).ok_or_else(|| ApplyError::ChainMissing(name.clone()))?;
        if chain.rules.is_empty() && !busy.chains.contains(name) {
            Ok(())
        } else {
            Err(ApplyError::ChainBusy(name.clone()))
        }
    }

    fn delete_set(&mut self, name: &SetName, busy: &Busy) -> Result<(), ApplyError> {
        self.sets.remove(name).ok_or_else(|| ApplyError::SetMissing(name.clone()))?;
        if busy.sets.contains(name) {
            return Err(ApplyError::SetBusy(name.clone()));
        }
        Ok(())
    }

    fn set_rules(&mut self, name: &ChainName, rules: &[Rule]) -> Result<(), ApplyError> {
        for rule in rules {
            rule.jumps().try_for_each(|chain| self.require_chain(chain))?;
            for set in rule.sets() {
                if !self.sets.contains_key(set) {
                    return Err(ApplyError::SetMissing(set.clone()));
                }
            }
        }
        let chain = self.chains.get_mut(name).ok_or_else(|| ApplyError::ChainMissing(name.clone()))?;
        chain.rules = rules.to_vec();
        Ok(())
    }

    fn require_chain(&self, name: &ChainName) -> Result<(), ApplyError> {
        self.chains.contains_key(name).then_some(()).ok_or_else(|| ApplyError::ChainMissing(name.clone()))
    }
}

impl Rule {
    /// The chains that this rule leads to.
    pub fn jumps(&self) -> impl Iterator<Item = &ChainName> {
        self.exprs
            .iter()
            .filter_map(|expr| if let Expr::Verdict(verdict) = expr { verdict.target() } else { None })
    }

    /// The sets and maps that this rule uses.
    pub fn sets(&self) -> impl Iterator<Item = &SetName> {
        self.exprs.iter().filter_map(|expr| match expr {
            Expr::Dispatch { map: set, .. } | Expr::Lookup { set, .. } | Expr::Update { set, .. } => {
                Some(set)
            }
            Expr::Compare { .. }
            | Expr::Counter
            | Expr::Direction(_)
            | Expr::Foreign(_)
            | Expr::Limit { .. }
            | Expr::Log { .. }
            | Expr::Range { .. }
            | Expr::SetZone(_)
            | Expr::State(_)
            | Expr::Verdict(_) => None,
        })
    }
}

/// Whether the shape of `key` is that of the set's keys.
fn key_fits(key: &Key, set: &Set) -> bool {
    let typed = |datum: &super::Datum, at: usize| set.spec.key.get(at).is_some_and(|kind| datum.is_a(*kind));
    match key {
        Key::Concat(parts) => {
            parts.len() == set.spec.key.len()
                && parts.len() > 1
                && !set.spec.interval
                && parts.iter().enumerate().all(|(at, part)| typed(part, at))
        }
        Key::One(value) => set.spec.key.len() == 1 && !set.spec.interval && typed(value, 0),
        Key::Range(low, high) => {
            set.spec.key.len() == 1 && set.spec.interval && low <= high && typed(low, 0) && typed(high, 0)
        }
    }
}

/// Whether `key`, a range of the set, has a value in common with one of its neighbours: the kernel refuses that.
fn overlaps(key: &Key, set: &Set) -> bool {
    let Key::Range(low, high) = key else { return false };
    let before = set.elements.range(..key).next_back();
    let after = set.elements.range(key..).nth(1);
    before.is_some_and(|(other, _)| matches!(other, Key::Range(_, end) if end >= low))
        || after.is_some_and(|(other, _)| matches!(other, Key::Range(start, _) if start <= high))
}
