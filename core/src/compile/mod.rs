//! From a world to the ruleset that it demands: the definition that everything else is measured against.

mod belongings;
mod chain_key;
mod conntrack;
mod enforcement;
mod group;
mod guard;
mod logging;
mod meeting;
mod ownership;
mod policy_chain;
mod quarantine;
mod ranges;
mod skeleton;
mod tracking;
mod zones;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub(crate) use chain_key::ChainKey;
pub use enforcement::Judged;
pub(crate) use enforcement::{AttachmentId, Enforcement, Local, locals};
pub(crate) use group::{GroupKey, Part, Scope, set_name};
pub(crate) use guard::{guard_of, own_key};
pub(crate) use logging::Place;
pub(crate) use ownership::Ownership;
pub(crate) use policy_chain::{SetUse, policy_chain};
pub(crate) use quarantine::{
    bridge_key, closed_bridges, is_open, open_ports, quarantine, quarantine_chain, quarantined_bridges,
};
pub(crate) use ranges::{ranges_name, ranges_set};
pub(crate) use skeleton::{Maps, managed_ports, skeleton};
pub(crate) use zones::{Zones, zone_bridge};

use crate::config::{Config, StateEngine};
use crate::model::{Direction, Pod, Policy};
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
    for local in world.pods().flat_map(|pod| locals(world, config, pod)) {
        ownership.add_attachment(&local);
        let policies: Vec<&Policy> = world.policies_in(&local.pod.id.namespace).collect();
        enforced.insert(local.id.clone(), (Enforcement::new(&local, &policies), local));
    }
    for port in world.ports() {
        ownership.add_port(port, world.far_macs(port.index));
    }
    let mut policy_chains: BTreeSet<&ChainKey> = BTreeSet::new();
    for (enforcement, _) in enforced.values() {
        ruleset.chains.extend(enforcement.chains.clone());
        policy_chains.extend(&enforcement.policies);
    }
    let sets = add_policy_chains(&mut ruleset, world, &policy_chains);
    add_sets(&mut ruleset, world, &sets);
    if config.state == StateEngine::Conntrack {
        add_zones(&mut ruleset, world);
    }
    dispatch(&mut ruleset, world, config, &ownership, &enforced);
    if config.quarantine {
        add_open_ports(&mut ruleset, world, config);
    }
    ruleset
}

/// Lists the ports that quarantine leaves alone, and puts it into force where it is called for.
fn add_open_ports(ruleset: &mut Ruleset, world: &World, config: &Config) {
    let bridges = quarantined_bridges(world);
    for direction in Direction::ALL {
        ruleset
            .chains
            .insert(quarantine_chain(direction), quarantine(direction, config, !bridges.is_empty()));
    }
    if let Some(set) = ruleset.sets.get_mut(&closed_bridges()) {
        set.elements.extend(bridges.iter().map(|bridge| (bridge_key(bridge), None)));
    }
    if let Some(set) = ruleset.sets.get_mut(&open_ports()) {
        let open = world.ports().filter(|port| is_open(port, config, bridges.contains(&port.bridge)));
        set.elements.extend(open.map(|port| (Key::One(Datum::Index(port.index)), None)));
    }
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
            SetUse::Told(origin, flow) => {
                let set = Set::empty(flow.spec(*origin));
                ruleset.sets.insert(flow.told_set(*origin), set);
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

/// Adds the chains that put frames into zones, and what leads to them.
fn add_zones(ruleset: &mut Ruleset, world: &World) {
    let zones = Zones::of(world);
    ruleset.chains.extend(zones.chains());
    if let Some(map) = ruleset.sets.get_mut(&zone_bridge()) {
        map.elements.extend(zones.elements());
    }
}

/// Fills the dispatch maps: each owned port by index, each attachment without a port by MAC.
fn dispatch(
    ruleset: &mut Ruleset,
    world: &World,
    config: &Config,
    ownership: &Ownership,
    enforced: &BTreeMap<AttachmentId, (Enforcement, Local<'_>)>,
) {
    let mut without_port: BTreeMap<&AttachmentId, &(Enforcement, Local<'_>)> = enforced.iter().collect();
    let maps = Maps::of(config.state);
    let mut put = |set: SetName, key: Key, verdict: Option<&Verdict>| {
        if let Some(set) = ruleset.sets.get_mut(&set) {
            set.elements.entry(key).or_insert(verdict.cloned());
        }
    };
    let ports = world.ports().map(|port| port.index).collect();
    for (port, owner) in ownership.owners(world, &ports) {
        let Some((owner, (enforcement, _))) = enforced.get_key_value(owner) else { continue };
        without_port.remove(owner);
        let index = Datum::Index(port);
        put(managed_ports(), Key::One(index), None);
        for (map, verdict) in maps.ports.iter().zip(&enforcement.port_verdicts()) {
            put(map.clone(), Key::One(index), Some(verdict));
        }
        for (set, value) in &enforcement.own {
            put(set.clone(), own_key(port, *value), None);
        }
    }
    for (enforcement, local) in without_port.into_values() {
        let Some(mac) = local.attachment.mac.filter(|_| !enforcement.is_free()) else { continue };
        for (map, verdict) in maps.macs.iter().zip(&enforcement.verdicts) {
            put(map.clone(), Key::One(Datum::Mac(mac)), Some(verdict));
        }
    }
}
