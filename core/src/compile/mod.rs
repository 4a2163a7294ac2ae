//! From a world to the ruleset that it demands: the definition that everything else is measured against.

mod chain_key;
mod enforcement;
mod group;
mod meeting;
mod ownership;
mod policy_chain;
mod ranges;
mod skeleton;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub(crate) use chain_key::ChainKey;
pub(crate) use enforcement::{AttachmentId, Enforcement, Local, locals};
pub(crate) use group::{GroupKey, Part, Scope, set_name};
pub(crate) use ownership::Ownership;
pub(crate) use policy_chain::{SetUse, policy_chain};
pub(crate) use ranges::{ranges_name, ranges_set};
pub(crate) use skeleton::{egress_mac, egress_port, ingress_mac, ingress_port, managed_ports, skeleton};

use crate::config::Config;
use crate::model::{Pod, Policy};
use crate::ruleset::{Chain, ChainSpec, Datum, Elements, Key, Ruleset, Set, SetName, Verdict, comment};
use crate::world::World;

/// The ruleset that `world` demands of the configured node, from scratch.
///
/// It looks at every object; the compiler's incremental updates come to the same result by looking only at what a
/// change can reach.
pub fn compile(world: &World, config: &Config) -> Ruleset {
    let mut ruleset = skeleton(config);
    let mut ownership = Ownership::default();
    let mut enforced: BTreeMap<AttachmentId, (Enforcement, Local<'_>)> = BTreeMap::new();
    for local in world.pods().flat_map(|pod| locals(world, &config.node, pod)) {
        ownership.add_attachment(&local);
        let policies: Vec<&Policy> = world.policies_in(&local.pod.id.namespace).collect();
        enforced.insert(local.id.clone(), (Enforcement::new(&local, &policies), local));
    }
    for port in world.ports() {
        ownership.add_port(port);
    }
    let mut policy_chains: BTreeSet<&ChainKey> = BTreeSet::new();
    for (enforcement, _) in enforced.values() {
        ruleset.chains.extend(enforcement.chains.clone());
        policy_chains.extend(&enforcement.policies);
    }
    let sets = add_policy_chains(&mut ruleset, world, &policy_chains);
    add_sets(&mut ruleset, world, &sets);
    dispatch(&mut ruleset, world, &ownership, &enforced);
    ruleset
}

/// Adds the chains of policies and returns the sets that they use.
fn add_policy_chains(ruleset: &mut Ruleset, world: &World, keys: &BTreeSet<&ChainKey>) -> BTreeSet<SetUse> {
    let mut sets = BTreeSet::new();
    for key in keys {
        let Some(policy) = world.policy(&key.policy) else { continue };
        let (rules, used) = policy_chain(policy, key);
        let spec = ChainSpec { base: None, comment: comment(&key.describe()) };
        ruleset.chains.insert(key.name(), Chain { spec, rules });
        sets.extend(used);
    }
    sets
}

/// Adds the sets in use, with their elements.
fn add_sets(ruleset: &mut Ruleset, world: &World, sets: &BTreeSet<SetUse>) {
    let mut groups: BTreeMap<&GroupKey, BTreeMap<Part, Elements>> = BTreeMap::new();
    for set in sets {
        match set {
            SetUse::Group(group, part) => {
                groups.entry(group).or_default().insert(*part, Elements::new());
            }
            SetUse::Ranges { kind, ranges } => {
                ruleset.sets.insert(ranges_name(*kind, ranges), ranges_set(*kind, ranges));
            }
        }
    }
    for (group, mut parts) in groups {
        for pod in covered_pods(world, &group.scope).filter(|pod| group.pods.matches(&pod.labels)) {
            for (part, key) in group.elements(pod) {
                if let Some(elements) = parts.get_mut(&part) {
                    elements.insert(key, None);
                }
            }
        }
        let stem = group.stem();
        for (part, elements) in parts {
            ruleset.sets.insert(set_name(&stem, part), Set { spec: group.spec(part), elements });
        }
    }
}

/// The pods of the namespaces in `scope`.
pub(crate) fn covered_pods<'a>(
    world: &'a World,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a Pod> + use<'a> {
    let all = matches!(scope, Scope::All).then(|| world.pods());
    let namespaces = world.namespaces().map(|(name, _)| name).filter(|name| match scope {
        Scope::All | Scope::Named(_) => false,
        Scope::Matching(_) => scope.contains(name, world.namespace(name)),
    });
    let named = match scope {
        Scope::All | Scope::Matching(_) => None,
        Scope::Named(name) => Some(name),
    };
    let some = namespaces.chain(named).flat_map(|name| world.pods_in(name));
    all.into_iter().flatten().chain(some)
}

/// Fills the dispatch maps: each owned port by index, each attachment without a port by MAC.
fn dispatch(
    ruleset: &mut Ruleset,
    world: &World,
    ownership: &Ownership,
    enforced: &BTreeMap<AttachmentId, (Enforcement, Local<'_>)>,
) {
    let mut without_port: BTreeMap<&AttachmentId, &(Enforcement, Local<'_>)> = enforced.iter().collect();
    let mut put = |set: SetName, key: Datum, verdict: Option<&Verdict>| {
        if let Some(set) = ruleset.sets.get_mut(&set) {
            set.elements.entry(Key::One(key)).or_insert(verdict.cloned());
        }
    };
    for port in world.ports() {
        let Some((owner, (enforcement, _))) = ownership.owner(port).and_then(|id| enforced.get_key_value(id))
        else {
            continue;
        };
        without_port.remove(owner);
        let index = Datum::Index(port.index);
        put(managed_ports(), index, None);
        for (map, verdict) in [egress_port(), ingress_port()].into_iter().zip(&enforcement.verdicts) {
            put(map, index, Some(verdict));
        }
    }
    for (enforcement, local) in without_port.into_values() {
        let Some(mac) = local.attachment.mac.filter(|_| !enforcement.is_free()) else { continue };
        for (map, verdict) in [egress_mac(), ingress_mac()].into_iter().zip(&enforcement.verdicts) {
            put(map, Datum::Mac(mac), Some(verdict));
        }
    }
}
