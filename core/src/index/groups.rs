//! The groups in use, kept up to date pod by pod.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;

use super::desired::Desired;
use super::labels::LabelIndex;
use crate::compile::{GroupKey, Part, Scope, covered_pods, set_name};
use crate::model::{Labels, Pod};
use crate::ruleset::{Key, Set};
use crate::world::World;

/// A group in use.
#[derive(Clone, Debug)]
struct Group {
    key: Arc<GroupKey>,
    stem: String,
    /// The parts whose sets are in use.
    parts: BTreeSet<Part>,
    /// Elements that more than one attachment contributes, with the number of the others: two networks may use the same
    /// addresses.
    shared: BTreeMap<(Part, Key), usize>,
}

/// Groups that are looked for in one scope.
#[derive(Clone, Default, Debug)]
struct ScopeIndex {
    groups: BTreeSet<usize>,
    by_labels: LabelIndex<usize>,
}

/// All groups in use.
#[derive(Clone, Default, Debug)]
pub(crate) struct Groups {
    ids: BTreeMap<Arc<GroupKey>, usize>,
    by_id: BTreeMap<usize, Group>,
    next_id: usize,
    scopes: BTreeMap<Scope, ScopeIndex>,
    /// Per known namespace, the `Scope::Matching` in use that match its labels.
    matching: BTreeMap<Arc<str>, BTreeSet<Scope>>,
}

impl Groups {
    /// Takes one set of a group into use: creates and fills it.
    pub(crate) fn add(&mut self, world: &World, desired: &mut Desired, key: &Arc<GroupKey>, part: Part) {
        let id = match self.ids.get(key) {
            Some(id) => *id,
            None => self.create(world, key),
        };
        let Some(group) = self.by_id.get_mut(&id) else { return };
        group.parts.insert(part);
        let set = Set::empty(key.spec(part));
        desired.put_set(set_name(&group.stem, part), set);
        for pod in covered_pods(world, &key.scope).filter(|pod| key.pods.matches(&pod.labels)) {
            group.add(desired, pod, Some(part));
        }
    }

    fn create(&mut self, world: &World, key: &Arc<GroupKey>) -> usize {
        let id = self.next_id;
        self.next_id += 1;
        let group =
            Group { key: key.clone(), stem: key.stem(), parts: BTreeSet::new(), shared: BTreeMap::new() };
        self.file(world, id, key);
        self.ids.insert(key.clone(), id);
        self.by_id.insert(id, group);
        id
    }

    /// Files a new group under its scope and labels.
    fn file(&mut self, world: &World, id: usize, key: &GroupKey) {
        let scope = self.scopes.entry(key.scope.clone()).or_default();
        if scope.groups.is_empty() && matches!(key.scope, Scope::Matching(_)) {
            for (name, labels) in world.namespaces() {
                if key.scope.contains(name, Some(labels)) {
                    self.matching.entry(name.clone()).or_default().insert(key.scope.clone());
                }
            }
        }
        scope.groups.insert(id);
        scope.by_labels.insert(&key.pods, &id);
    }

    /// Gives one set of a group up: deletes it, and forgets the group with its last set.
    pub(crate) fn remove(&mut self, desired: &mut Desired, key: &GroupKey, part: Part) {
        let Some(id) = self.ids.get(key).copied() else { return };
        let Some(group) = self.by_id.get_mut(&id) else { return };
        desired.remove_set(set_name(&group.stem, part));
        group.parts.remove(&part);
        group.shared.retain(|(of, _), _| *of != part);
        if !group.parts.is_empty() {
            return;
        }
        self.ids.remove(key);
        self.by_id.remove(&id);
        let Some(scope) = self.scopes.get_mut(&key.scope) else { return };
        scope.groups.remove(&id);
        scope.by_labels.remove(&key.pods, &id);
        if scope.groups.is_empty() {
            self.scopes.remove(&key.scope);
            self.matching.retain(|_, scopes| {
                scopes.remove(&key.scope);
                !scopes.is_empty()
            });
        }
    }

    /// Follows a pod from its `old` version to its `new` one.
    pub(crate) fn pod_changed(&mut self, desired: &mut Desired, old: Option<&Pod>, new: Option<&Pod>) {
        let before = old.map(|pod| self.covering(pod)).unwrap_or_default();
        let after = new.map(|pod| self.covering(pod)).unwrap_or_default();
        let alike = |(old, new): (&Pod, &Pod)| old.attachments == new.attachments && old.ports == new.ports;
        let unchanged = old.zip(new).is_some_and(alike);
        // New elements first: what both versions contribute is then never taken away.
        if let Some(pod) = new {
            for id in after.iter().filter(|id| !(unchanged && before.contains(id))) {
                if let Some(group) = self.by_id.get_mut(id) {
                    group.add(desired, pod, None);
                }
            }
        }
        if let Some(pod) = old {
            for id in before.iter().filter(|id| !(unchanged && after.contains(id))) {
                if let Some(group) = self.by_id.get_mut(id) {
                    group.remove(desired, pod);
                }
            }
        }
    }

    /// Follows a namespace from its `old` labels to its `new` ones; `None` when it is not there.
    pub(crate) fn namespace_changed(
        &mut self,
        world: &World,
        desired: &mut Desired,
        name: &Arc<str>,
        old: Option<&Labels>,
        new: Option<&Labels>,
    ) {
        for (scope, index) in &self.scopes {
            let (before, after) = (scope.contains(name, old), scope.contains(name, new));
            if before == after {
                continue;
            }
            let matching = self.matching.entry(name.clone()).or_default();
            if after {
                matching.insert(scope.clone());
            } else {
                matching.remove(scope);
            }
            for id in &index.groups {
                let Some(group) = self.by_id.get_mut(id) else { continue };
                for pod in world.pods_in(name) {
                    if !group.key.pods.matches(&pod.labels) {
                        continue;
                    }
                    if after {
                        group.add(desired, pod, None);
                    } else {
                        group.remove(desired, pod);
                    }
                }
            }
        }
        if self.matching.get(name).is_some_and(BTreeSet::is_empty) {
            self.matching.remove(name);
        }
    }

    /// The groups that cover `pod`.
    fn covering(&self, pod: &Pod) -> BTreeSet<usize> {
        if pod.attachments.is_empty() {
            return BTreeSet::new();
        }
        let named = Scope::Named(pod.id.namespace.clone());
        let scopes = [&Scope::All, &named]
            .into_iter()
            .chain(self.matching.get(&pod.id.namespace).into_iter().flatten());
        let indexes = scopes.filter_map(|scope| self.scopes.get(scope));
        let candidates = indexes.flat_map(|index| index.by_labels.candidates(&pod.labels));
        let covers =
            |id: &&usize| self.by_id.get(id).is_some_and(|group| group.key.pods.matches(&pod.labels));
        candidates.filter(covers).copied().collect()
    }
}

impl Group {
    /// Adds what a pod contributes, to all sets in use or to one of them.
    fn add(&mut self, desired: &mut Desired, pod: &Pod, only: Option<Part>) {
        for (part, key) in self.key.elements(pod) {
            let wanted = self.parts.contains(&part) && only.is_none_or(|only| only == part);
            if wanted && desired.put_element(&set_name(&self.stem, part), key.clone(), None) {
                *self.shared.entry((part, key)).or_default() += 1;
            }
        }
    }

    fn remove(&mut self, desired: &mut Desired, pod: &Pod) {
        for element in self.key.elements(pod) {
            if !self.parts.contains(&element.0) {
                continue;
            }
            match self.shared.get_mut(&element) {
                None => desired.remove_element(&set_name(&self.stem, element.0), element.1),
                Some(1) => {
                    self.shared.remove(&element);
                }
                Some(others) => *others -= 1,
            }
        }
    }
}
