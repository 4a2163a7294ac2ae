//! Incremental updates: from a change of the world to the parts of the ruleset that it can reach.

mod chains;
mod desired;
mod groups;
mod labels;
mod quarantine;
mod zones;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compile::{
    AttachmentId, ChainKey, Enforcement, Local, Maps, Ownership, SetUse, Zones, bridge_key, closed_bridges,
    is_open, locals, managed_ports, open_ports, own_key, quarantine, quarantine_chain, skeleton,
};
use crate::config::Config;
use crate::model::{BridgePort, Direction, Labels, LogWish, Mac, NamespacedName, Pod, Policy};
use crate::ruleset::{Datum, Key};
use crate::world::World;

use chains::PolicyChain;
pub(crate) use desired::Desired;
use groups::Groups;
use labels::LabelIndex;
use quarantine::Quarantine;

/// A local attachment as it is enforced.
#[derive(Clone, Default, Debug)]
pub(crate) struct Enforced {
    pub(crate) enforcement: Enforcement,
    mac: Option<Mac>,
    bridge: Arc<str>,
    ports: BTreeSet<u32>,
}

/// Everything that incremental updates need to know besides the world. All of it follows from the world.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    config: Config,
    maps: Maps,
    pub(crate) desired: Desired,
    pub(crate) attachments: BTreeMap<AttachmentId, Enforced>,
    local_pods: BTreeSet<NamespacedName>,
    ownership: Ownership,
    owners: BTreeMap<u32, AttachmentId>,
    /// Attachments with something to enforce but without a port, by MAC.
    pending: BTreeMap<Mac, BTreeSet<AttachmentId>>,
    policies: BTreeMap<Arc<str>, LabelIndex<NamespacedName>>,
    chains: BTreeMap<ChainKey, PolicyChain>,
    sets: BTreeMap<SetUse, usize>,
    groups: Groups,
    quarantine: Quarantine,
    zones: Zones,
}

impl Enforced {
    /// The attachment's MAC.
    pub(crate) const fn mac(&self) -> Option<Mac> {
        self.mac
    }
}

impl Index {
    /// The attachment that a port is known to be of.
    pub(crate) fn owner(&self, port: u32) -> Option<(&AttachmentId, &Enforced)> {
        self.attachments.get_key_value(self.owners.get(&port)?)
    }

    /// The index of an empty world.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            maps: Maps::of(config.state),
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
            quarantine: Quarantine::default(),
            zones: Zones::default(),
        }
    }

    /// A namespace was `old` before.
    pub(crate) fn namespace_changed(
        &mut self,
        world: &World,
        name: &Arc<str>,
        old: Option<&Labels>,
        wished: Option<LogWish>,
    ) {
        self.groups.namespace_changed(world, &mut self.desired, name, old, world.namespace(name));
        if world.log_wish(name) != wished {
            for pod in self.pods_of(name) {
                self.refresh_pod(world, &pod);
            }
        }
    }

    /// The local pods of a namespace.
    fn pods_of(&self, namespace: &Arc<str>) -> Vec<NamespacedName> {
        let first = NamespacedName::new(namespace.clone(), "");
        self.local_pods.range(first..).take_while(|pod| pod.namespace == *namespace).cloned().collect()
    }

    /// The bridge that a network stands for has changed.
    pub(crate) fn network_changed(&mut self, world: &World, network: &NamespacedName) {
        let bridges = self.quarantine.network_changed(world, network);
        self.open_or_close(world, &bridges);
        let attached = |pod: &Pod| pod.attachments.iter().any(|attachment| attachment.network == *network);
        let pods: Vec<NamespacedName> =
            self.local_pods.iter().filter(|id| world.pod(id).is_some_and(attached)).cloned().collect();
        for pod in pods {
            self.refresh_pod(world, &pod);
        }
        self.refresh_zones(world);
    }

    /// A pod was `old` before; the bridges of the `forgotten` networks went with it.
    pub(crate) fn pod_changed(
        &mut self,
        world: &World,
        id: &NamespacedName,
        old: Option<&Pod>,
        forgotten: &[NamespacedName],
    ) {
        let new = world.pod(id);
        self.groups.pod_changed(&mut self.desired, old, new);
        for network in forgotten {
            let bridges = self.quarantine.network_changed(world, network);
            self.open_or_close(world, &bridges);
        }
        let local =
            |pod: &Pod| pod.node.as_deref() == Some(&*self.config.node) && !pod.attachments.is_empty();
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
        if !forgotten.is_empty() {
            self.refresh_zones(world);
        }
    }

    /// A policy was `old` before.
    pub(crate) fn policy_changed(&mut self, world: &World, id: &NamespacedName, old: Option<&Policy>) {
        let new = world.policy(id);
        let networks =
            |policy: Option<&Policy>| policy.map_or_else(Vec::new, |policy| policy.networks.clone());
        let bridges = self.quarantine.policy_changed(world, &networks(old), &networks(new));
        self.open_or_close(world, &bridges);
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
        let touched =
            |pod: &NamespacedName| world.pod(pod).is_some_and(|pod| selects(old, pod) || selects(new, pod));
        for pod in self.pods_of(&id.namespace).into_iter().filter(touched) {
            self.refresh_pod(world, &pod);
        }
    }

    /// A bridge port was `old` before; it shares stations with the ports `near`, or did.
    pub(crate) fn port_changed(
        &mut self,
        world: &World,
        index: u32,
        old: Option<&BridgePort>,
        near: &BTreeSet<u32>,
    ) {
        let new = world.port(index);
        self.open_port(index, new);
        let mut macs: BTreeSet<Mac> = self.ownership.far_ends(index).collect();
        if let Some(port) = old {
            self.ownership.remove_port(port);
        }
        if let Some(port) = new {
            self.ownership.add_port(port, world.far_macs(index));
            macs.extend(self.ownership.far_ends(index));
        }
        let of_far_ends = macs.into_iter().flat_map(|mac| self.ownership.ports_with(world, mac));
        self.reassign(world, of_far_ends.chain(near.iter().copied()).chain([index]).collect());
    }

    /// Brings quarantine into force, or lifts it, on bridges where that has changed.
    fn open_or_close(&mut self, world: &World, bridges: &BTreeSet<Arc<str>>) {
        if bridges.is_empty() || !self.config.quarantine {
            return;
        }
        for direction in Direction::ALL {
            let chain = quarantine(direction, &self.config, self.quarantine.is_active());
            self.desired.put_chain(quarantine_chain(direction), chain);
        }
        if self.config.bridge_names.are_known() {
            for bridge in bridges {
                if self.quarantine.covers(bridge) {
                    self.desired.put_element(&closed_bridges(), bridge_key(bridge), None);
                } else {
                    self.desired.remove_element(&closed_bridges(), bridge_key(bridge));
                }
            }
            return;
        }
        for port in world.ports().filter(|port| bridges.contains(&port.bridge)) {
            self.open_port(port.index, Some(port));
        }
    }

    /// Lists a port among those that quarantine leaves alone, or takes it off the list; `None` for a port that is gone.
    fn open_port(&mut self, index: u32, port: Option<&BridgePort>) {
        let open = |port: &BridgePort| is_open(port, &self.config, self.quarantine.covers(&port.bridge));
        let key = Key::One(Datum::Index(index));
        if self.config.quarantine && port.is_some_and(open) {
            self.desired.put_element(&open_ports(), key, None);
        } else {
            self.desired.remove_element(&open_ports(), key);
        }
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
            for local in locals(world, &self.config, pod) {
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
        self.disown(&local.id, &before, &enforcement);
        if moved {
            self.ownership.add_attachment(local);
            if let Some(mac) = local.attachment.mac {
                self.reassign(world, self.ownership.ports_with(world, mac));
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

    /// Takes from an attachment's ports what they may no longer send with.
    fn disown(&mut self, id: &AttachmentId, old: &Enforcement, new: &Enforcement) {
        let Some(Enforced { ports, .. }) = self.attachments.get(id) else { return };
        for (set, value) in old.own.difference(&new.own) {
            for index in ports {
                self.desired.remove_element(set, own_key(*index, *value));
            }
        }
    }

    /// Takes an attachment off its ports and its MAC; its chains stay.
    fn detach(&mut self, world: &World, id: &AttachmentId) {
        let Some(enforced) = self.attachments.get_mut(id) else { return };
        let Some(mac) = enforced.mac.take() else { return };
        // What the world remembers of a MAC goes with the last pod that has it: the ports are only known here.
        let mut ports = enforced.ports.clone();
        self.ownership.remove_attachment(id, Some(mac));
        self.unpend(mac, id);
        ports.extend(self.ownership.ports_with(world, mac));
        self.reassign(world, ports);
    }

    /// Works out anew who owns `ports`.
    fn reassign(&mut self, world: &World, ports: BTreeSet<u32>) {
        let ports = Ownership::contenders(world, ports);
        let mut owners: BTreeMap<u32, AttachmentId> = self
            .ownership
            .owners(world, &ports)
            .into_iter()
            .map(|(index, owner)| (index, owner.clone()))
            .collect();
        for index in ports {
            let owner = owners.remove(&index);
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
                for set in self.maps.ports.iter().chain([&managed_ports()]) {
                    self.desired.remove_element(set, Key::One(Datum::Index(index)));
                }
                if let Some(enforcement) = self.attachments.get(&id).map(|enforced| &enforced.enforcement) {
                    for (set, value) in &enforcement.own {
                        self.desired.remove_element(set, own_key(index, *value));
                    }
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
            for (map, verdict) in self.maps.ports.iter().zip(enforcement.port_verdicts()) {
                self.desired.put_element(map, key.clone(), Some(verdict));
            }
            for (set, value) in &enforcement.own {
                self.desired.put_element(set, own_key(*index, *value), None);
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
        for (map, at) in self.maps.macs.iter().zip(0..) {
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
}
