//! Incremental updates: from a change of the world to the parts of the ruleset that it can reach.

mod desired;
mod groups;
mod labels;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compile::{
    AttachmentId, ChainKey, Enforcement, Local, Ownership, SetUse, egress_mac, egress_port, ingress_mac,
    ingress_port, locals, managed_ports, policy_chain, ranges_name, ranges_set, skeleton,
};
use crate::config::Config;
use crate::model::{BridgePort, Labels, Mac, NamespacedName, Pod, Policy};
use crate::ruleset::{Chain, ChainSpec, Datum, Key, comment};
use crate::world::World;

pub(crate) use desired::Desired;
use groups::Groups;
use labels::LabelIndex;

/// A local attachment as it is enforced.
#[derive(Clone, Default, Debug)]
struct Enforced {
    enforcement: Enforcement,
    mac: Option<Mac>,
    bridge: Arc<str>,
    ports: BTreeSet<u32>,
}

/// A policy's chain in use.
#[derive(Clone, Debug)]
struct PolicyChain {
    users: usize,
    sets: BTreeSet<SetUse>,
}

/// Everything that incremental updates need to know besides the world. All of it follows from the world.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    node: Arc<str>,
    pub(crate) desired: Desired,
    attachments: BTreeMap<AttachmentId, Enforced>,
    local_pods: BTreeSet<NamespacedName>,
    ownership: Ownership,
    owners: BTreeMap<u32, AttachmentId>,
    /// Attachments with something to enforce but without a port, by MAC.
    pending: BTreeMap<Mac, BTreeSet<AttachmentId>>,
    policies: BTreeMap<Arc<str>, LabelIndex<NamespacedName>>,
    chains: BTreeMap<ChainKey, PolicyChain>,
    sets: BTreeMap<SetUse, usize>,
    groups: Groups,
}

impl Index {
    /// The index of an empty world.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            node: config.node.clone(),
            desired: Desired { ruleset: skeleton(config), ..Desired::default() },
            attachments: BTreeMap::new(),
            local_pods: BTreeSet::new(),
            ownership: Ownership::default(),
            owners: BTreeMap::new(),
            pending: BTreeMap::new(),
            policies: BTreeMap::new(),
            chains: BTreeMap::new(),
            sets: BTreeMap::new(),
            groups: Groups::default(),
        }
    }

    /// A namespace was `old` before.
    pub(crate) fn namespace_changed(&mut self, world: &World, name: &Arc<str>, old: Option<&Labels>) {
        self.groups.namespace_changed(world, &mut self.desired, name, old, world.namespace(name));
    }

    /// The bridge that a network stands for has changed.
    pub(crate) fn network_changed(&mut self, world: &World, network: &NamespacedName) {
        let attached = |pod: &Pod| pod.attachments.iter().any(|attachment| attachment.network == *network);
        let pods: Vec<NamespacedName> =
            self.local_pods.iter().filter(|id| world.pod(id).is_some_and(attached)).cloned().collect();
        for pod in pods {
            self.refresh_pod(world, &pod);
        }
    }

    /// A pod was `old` before.
    pub(crate) fn pod_changed(&mut self, world: &World, id: &NamespacedName, old: Option<&Pod>) {
        let new = world.pod(id);
        self.groups.pod_changed(&mut self.desired, old, new);
        let local = |pod: &Pod| pod.node.as_deref() == Some(&*self.node) && !pod.attachments.is_empty();
        let was_local = old.is_some_and(local);
        let is_local = new.is_some_and(local);
        if is_local {
            self.local_pods.insert(id.clone());
        } else {
            self.local_pods.remove(id);
        }
        if was_local || is_local {
            self.refresh_pod(world, id);
        }
    }

    /// A policy was `old` before.
    pub(crate) fn policy_changed(&mut self, world: &World, id: &NamespacedName, old: Option<&Policy>) {
        let new = world.policy(id);
        let index = self.policies.entry(id.namespace.clone()).or_default();
        if let Some(policy) = old {
            index.remove(&policy.selector, id);
        }
        if let Some(policy) = new {
            index.insert(&policy.selector, id);
        }
        if index.is_empty() {
            self.policies.remove(&id.namespace);
        }
        if let Some(policy) = new {
            self.rewrite_chains(world, policy);
        }
        let selects = |policy: Option<&Policy>, pod: &Pod| {
            policy.is_some_and(|policy| policy.selector.matches(&pod.labels))
        };
        let first = NamespacedName::new(id.namespace.clone(), "");
        let of_namespace = self.local_pods.range(first..).take_while(|pod| pod.namespace == id.namespace);
        let touched =
            |pod: &&NamespacedName| world.pod(pod).is_some_and(|pod| selects(old, pod) || selects(new, pod));
        let pods: Vec<NamespacedName> = of_namespace.filter(touched).cloned().collect();
        for pod in pods {
            self.refresh_pod(world, &pod);
        }
    }

    /// A bridge port was `old` before.
    pub(crate) fn port_changed(&mut self, world: &World, index: u32, old: Option<&BridgePort>) {
        let new = world.port(index);
        let mut ports = BTreeSet::from([index]);
        for port in [old, new].into_iter().flatten() {
            for mac in port.stations.iter().chain(&port.far_mac) {
                ports.extend(self.ownership.ports_with(*mac));
            }
        }
        if let Some(port) = old {
            self.ownership.remove_port(port);
        }
        if let Some(port) = new {
            self.ownership.add_port(port);
            for mac in port.stations.iter().chain(&port.far_mac) {
                ports.extend(self.ownership.ports_with(*mac));
            }
        }
        self.reassign(world, ports);
    }

    /// Brings the attachments of one pod up to date.
    fn refresh_pod(&mut self, world: &World, id: &NamespacedName) {
        let first = AttachmentId {
            pod: id.clone(),
            network: NamespacedName::new("", ""),
            interface: "".into(),
            ordinal: 0,
        };
        let known = self.attachments.range(first..).take_while(|(attachment, _)| attachment.pod == *id);
        let mut gone: BTreeSet<AttachmentId> = known.map(|(attachment, _)| attachment.clone()).collect();
        if let Some(pod) = world.pod(id) {
            for local in locals(world, &self.node, pod) {
                gone.remove(&local.id);
                self.set_attachment(world, &local);
            }
        }
        for attachment in gone {
            self.remove_attachment(world, &attachment);
        }
    }

    fn set_attachment(&mut self, world: &World, local: &Local<'_>) {
        let candidates = self.policies.get(&local.id.pod.namespace).into_iter();
        let candidates = candidates.flat_map(|index| index.candidates(&local.pod.labels));
        let candidates: Vec<&Policy> = candidates.filter_map(|id| world.policy(id)).collect();
        let enforcement = Enforcement::new(local, &candidates);
        let known = self.attachments.get(&local.id);
        let moved =
            known.is_none_or(|old| old.mac != local.attachment.mac || old.bridge != local.bridge.bridge);
        if !moved && known.is_some_and(|old| old.enforcement == enforcement) {
            return;
        }
        if moved {
            self.detach(world, &local.id);
        }
        let enforced = self.attachments.entry(local.id.clone()).or_default();
        enforced.mac = local.attachment.mac;
        enforced.bridge = local.bridge.bridge.clone();
        let before = core::mem::replace(&mut enforced.enforcement, enforcement.clone());
        self.replace(world, &before, &enforcement);
        if moved {
            self.ownership.add_attachment(local);
            if let Some(mac) = local.attachment.mac {
                self.reassign(world, self.ownership.ports_with(mac));
            }
        }
        self.dispatch_attachment(&local.id);
    }

    fn remove_attachment(&mut self, world: &World, id: &AttachmentId) {
        self.detach(world, id);
        if let Some(old) = self.attachments.remove(id) {
            self.replace(world, &old.enforcement, &Enforcement::default());
        }
    }

    /// Takes an attachment off its ports and its MAC; its chains stay.
    fn detach(&mut self, world: &World, id: &AttachmentId) {
        let Some(mac) = self.attachments.get_mut(id).and_then(|enforced| enforced.mac.take()) else { return };
        self.ownership.remove_attachment(id, Some(mac));
        self.unpend(mac, id);
        self.reassign(world, self.ownership.ports_with(mac));
    }

    /// Works out anew who owns `ports`.
    fn reassign(&mut self, world: &World, ports: BTreeSet<u32>) {
        for index in ports {
            let owner = world.port(index).and_then(|port| self.ownership.owner(port)).cloned();
            let before = match &owner {
                Some(owner) => self.owners.insert(index, owner.clone()),
                None => self.owners.remove(&index),
            };
            if before == owner {
                continue;
            }
            if let Some(id) = before {
                if let Some(enforced) = self.attachments.get_mut(&id) {
                    enforced.ports.remove(&index);
                }
                for set in [egress_port(), ingress_port(), managed_ports()] {
                    self.desired.remove_element(&set, Key::One(Datum::Index(index)));
                }
                self.dispatch_attachment(&id);
            }
            if let Some(id) = owner {
                if let Some(enforced) = self.attachments.get_mut(&id) {
                    enforced.ports.insert(index);
                }
                self.dispatch_attachment(&id);
            }
        }
    }

    /// Writes the map elements that lead to an attachment's chains.
    fn dispatch_attachment(&mut self, id: &AttachmentId) {
        let Some(Enforced { enforcement, mac, ports, .. }) = self.attachments.get(id) else { return };
        let waits = ports.is_empty() && !enforcement.is_free();
        let mac = *mac;
        for index in ports {
            let key = Key::One(Datum::Index(*index));
            self.desired.put_element(&managed_ports(), key.clone(), None);
            for (map, verdict) in [egress_port(), ingress_port()].iter().zip(&enforcement.verdicts) {
                self.desired.put_element(map, key.clone(), Some(verdict.clone()));
            }
        }
        if let Some(mac) = mac {
            if waits {
                self.pending.entry(mac).or_default().insert(id.clone());
                self.dispatch_mac(mac);
            } else {
                self.unpend(mac, id);
            }
        }
    }

    /// Notes that an attachment is not (or no longer) judged by its MAC.
    fn unpend(&mut self, mac: Mac, id: &AttachmentId) {
        if let Some(waiting) = self.pending.get_mut(&mac) {
            waiting.remove(id);
            if waiting.is_empty() {
                self.pending.remove(&mac);
            }
            self.dispatch_mac(mac);
        }
    }

    /// Writes the map elements for a MAC: the first waiting attachment decides.
    fn dispatch_mac(&mut self, mac: Mac) {
        let first = self.pending.get(&mac).and_then(|waiting| waiting.first());
        let key = Key::One(Datum::Mac(mac));
        let verdicts =
            first.and_then(|id| self.attachments.get(id)).map(|enforced| &enforced.enforcement.verdicts);
        for (map, at) in [egress_mac(), ingress_mac()].iter().zip(0..) {
            match verdicts.and_then(|verdicts| verdicts.get(at)) {
                Some(verdict) => {
                    self.desired.put_element(map, key.clone(), Some(verdict.clone()));
                }
                None => self.desired.remove_element(map, key.clone()),
            }
        }
    }

    /// Replaces what exists for an attachment.
    fn replace(&mut self, world: &World, old: &Enforcement, new: &Enforcement) {
        for key in new.policies.difference(&old.policies) {
            self.use_chain(world, key);
        }
        for (name, chain) in &new.chains {
            self.desired.put_chain(name.clone(), chain.clone());
        }
        for name in old.chains.keys().filter(|name| !new.chains.contains_key(*name)) {
            self.desired.remove_chain(name.clone());
        }
        for key in old.policies.difference(&new.policies) {
            self.drop_chain(key);
        }
    }

    fn use_chain(&mut self, world: &World, key: &ChainKey) {
        if let Some(chain) = self.chains.get_mut(key) {
            chain.users += 1;
            return;
        }
        if let Some(policy) = world.policy(&key.policy) {
            let sets = self.write_chain(world, policy, key);
            self.chains.insert(key.clone(), PolicyChain { users: 1, sets });
        }
    }

    fn drop_chain(&mut self, key: &ChainKey) {
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
    fn rewrite_chains(&mut self, world: &World, policy: &Policy) {
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
                SetUse::Ranges { kind, ranges } => self.desired.remove_set(ranges_name(*kind, ranges)),
            }
        }
    }
}
