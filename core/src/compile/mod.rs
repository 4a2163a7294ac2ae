//! From a world to the ruleset that it demands: the definition that everything else is measured against.

mod attachment;
mod group;
mod ownership;
mod policy_chain;
mod skeleton;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

pub(crate) use attachment::{AttachmentId, Judgement, Local, locals};
pub(crate) use group::{GroupKey, Part, Scope, set_name};
pub(crate) use ownership::Ownership;
pub(crate) use policy_chain::{ChainKey, SetUse, policy_chain, ranges_name, ranges_set};
pub(crate) use skeleton::{egress_mac, egress_port, ingress_mac, ingress_port, skeleton};

use crate::config::Config;
use crate::model::Direction;
use crate::ruleset::{Chain, ChainSpec, Datum, Elements, Key, Ruleset, Set, SetName, comment};
use crate::world::World;

/// The ruleset that `world` demands of the configured node, from scratch.
///
/// It looks at every object; the compiler's incremental updates come to the same result by looking only at what a
/// change can reach.
pub fn compile(world: &World, config: &Config) -> Ruleset {
    let mut ruleset = skeleton(config);
    let mut ownership = Ownership::default();
    let mut judgements: BTreeMap<AttachmentId, (Judgement, Local<'_>)> = BTreeMap::new();
    for local in world.pods().flat_map(|pod| locals(world, &config.node, pod)) {
        ownership.add_attachment(&local);
        let judgement =
            Judgement::new(&local, &world.policies_in(&local.pod.id.namespace).collect::<Vec<_>>());
        judgements.insert(local.id.clone(), (judgement, local));
    }
    for port in world.ports() {
        ownership.add_port(port);
    }
    let mut policy_chains: BTreeSet<&ChainKey> = BTreeSet::new();
    for (id, (judgement, _)) in &judgements {
        for direction in Direction::ALL {
            if let Some(policies) = judgement.chains(direction) {
                ruleset.chains.insert(id.chain(direction), id.judging_chain(direction, policies));
                policy_chains.extend(policies);
            }
        }
    }
    let sets = add_policy_chains(&mut ruleset, world, &policy_chains);
    for set in &sets {
        add_set(&mut ruleset, world, set);
    }
    dispatch(&mut ruleset, world, &ownership, &judgements);
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

/// Adds the sets behind one use, with their elements.
fn add_set(ruleset: &mut Ruleset, world: &World, set: &SetUse) {
    let group = match set {
        SetUse::Ranges { kind, ranges } => {
            ruleset.sets.insert(ranges_name(*kind, ranges), ranges_set(*kind, ranges));
            return;
        }
        SetUse::Group(group) => group,
    };
    let mut elements: BTreeMap<Part, Elements> =
        group.parts().iter().map(|part| (*part, Elements::new())).collect();
    for pod in covered_pods(world, &group.scope).filter(|pod| group.pods.matches(&pod.labels)) {
        for (part, key) in group.elements(pod) {
            elements.entry(part).or_default().insert(key, None);
        }
    }
    let stem: String = group.stem();
    for (part, elements) in elements {
        ruleset.sets.insert(set_name(&stem, part), Set { spec: group.spec(part), elements });
    }
}

/// The pods of the namespaces in `scope`.
pub(crate) fn covered_pods<'a>(
    world: &'a World,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a crate::model::Pod> + use<'a> {
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
    judgements: &BTreeMap<AttachmentId, (Judgement, Local<'_>)>,
) {
    let mut without_port: BTreeMap<&AttachmentId, &(Judgement, Local<'_>)> = judgements.iter().collect();
    let mut put = |map: SetName, key: Datum, verdict| {
        if let Some(map) = ruleset.sets.get_mut(&map) {
            map.elements.entry(Key::One(key)).or_insert(Some(verdict));
        }
    };
    for port in world.ports() {
        let Some(owner) = ownership.owner(port) else { continue };
        let Some((judgement, _)) = judgements.get(owner) else { continue };
        without_port.remove(owner);
        put(egress_port(), Datum::Index(port.index), judgement.verdict(owner, Direction::Egress));
        put(ingress_port(), Datum::Index(port.index), judgement.verdict(owner, Direction::Ingress));
    }
    for (id, (judgement, local)) in without_port {
        let Some(mac) = local.attachment.mac.filter(|_| !judgement.is_free()) else { continue };
        put(egress_mac(), Datum::Mac(mac), judgement.verdict(id, Direction::Egress));
        put(ingress_mac(), Datum::Mac(mac), judgement.verdict(id, Direction::Ingress));
    }
}
