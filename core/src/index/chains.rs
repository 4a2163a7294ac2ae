//! Policies' chains in use, and the sets that they look something up in: each is there as long as somebody needs it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Index;
use crate::compile::{ChainKey, SetUse, policy_chain, ranges_name, ranges_set};
use crate::model::Policy;
use crate::ruleset::{Chain, ChainSpec, Set, comment};
use crate::world::World;

/// A policy's chain in use.
#[derive(Clone, Debug)]
pub(super) struct PolicyChain {
    users: usize,
    sets: BTreeSet<SetUse>,
}

impl Index {
    /// Notes one more attachment that a policy's chain is for.
    pub(super) fn use_chain(&mut self, world: &World, key: &ChainKey) {
        if let Some(chain) = self.chains.get_mut(key) {
            chain.users += 1;
            return;
        }
        if let Some(policy) = world.policy(&key.policy) {
            let sets = self.write_chain(world, policy, key);
            self.chains.insert(key.clone(), PolicyChain { users: 1, sets });
        }
    }

    /// Notes one less; the last one takes the chain with it.
    pub(super) fn drop_chain(&mut self, key: &ChainKey) {
        let Some(chain) = self.chains.get_mut(key) else { return };
        chain.users -= 1;
        if chain.users == 0
            && let Some(chain) = self.chains.remove(key)
        {
            self.desired.remove_chain(key.name());
            self.drop_sets(&chain.sets);
        }
    }

    /// Writes the chains in use of a policy that has changed.
    pub(super) fn rewrite_chains(&mut self, world: &World, policy: &Policy) {
        let in_use: Vec<ChainKey> = self
            .chains
            .range(ChainKey::first_of(&policy.id)..)
            .map(|(key, _)| key)
            .take_while(|key| key.policy == policy.id)
            .cloned()
            .collect();
        for key in in_use {
            let sets = self.write_chain(world, policy, &key);
            if let Some(chain) = self.chains.get_mut(&key) {
                let before = core::mem::replace(&mut chain.sets, sets);
                self.drop_sets(&before);
            }
        }
    }

    /// Writes a policy's chain, takes the sets that it needs into use, and returns them.
    fn write_chain(&mut self, world: &World, policy: &Policy, key: &ChainKey) -> BTreeSet<SetUse> {
        let (rules, sets) = policy_chain(policy, key);
        for set in &sets {
            let users = self.sets.entry(set.clone()).or_default();
            *users += 1;
            if *users == 1 {
                match set {
                    SetUse::Group(group, part) => self.groups.add(world, &mut self.desired, group, *part),
                    SetUse::Told(origin, flow) => {
                        let set = Set::empty(flow.spec(*origin));
                        self.desired.put_set(flow.told_set(*origin), set);
                    }
                    SetUse::Ranges { kind, ranges } => {
                        self.desired.put_set(ranges_name(*kind, ranges), ranges_set(*kind, ranges));
                    }
                }
            }
        }
        let spec = ChainSpec { base: None, comment: comment(&key.describe()) };
        self.desired.put_chain(key.name(), Chain { spec, rules });
        sets
    }

    fn drop_sets(&mut self, sets: &BTreeSet<SetUse>) {
        for set in sets {
            let Some(users) = self.sets.get_mut(set) else { continue };
            *users -= 1;
            if *users > 0 {
                continue;
            }
            self.sets.remove(set);
            match set {
                SetUse::Group(group, part) => self.groups.remove(&mut self.desired, group, *part),
                SetUse::Told(origin, flow) => self.desired.remove_set(flow.told_set(*origin)),
                SetUse::Ranges { kind, ranges } => self.desired.remove_set(ranges_name(*kind, ranges)),
            }
        }
    }
}
