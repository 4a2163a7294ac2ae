//! What the agent knows: the latest version of every object.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::Config;
use crate::model::{
    Attachment, BridgeNetwork, BridgePort, Kind, Labels, LogWish, Mac, NamespacedName, Network,
    NetworkConfig, Object, ObjectId, Pod, Policy,
};
use crate::stations::Stations;

/// How many MACs of a port's far end are remembered. A CNI plugin may set one after the link was made; more changes are
/// somebody's play.
const FAR_MACS_MAX: usize = 4;

/// Every object by name. Pure storage: it changes only by [`World::upsert`] and [`World::remove`].
#[derive(Clone, Default, PartialEq, Debug)]
pub struct World {
    namespaces: BTreeMap<Arc<str>, Labels>,
    /// What the namespaces that want a log want logged.
    log_wishes: BTreeMap<Arc<str>, LogWish>,
    networks: BTreeMap<NamespacedName, NetworkRecord>,
    pods: BTreeMap<NamespacedName, Pod>,
    policies: BTreeMap<NamespacedName, Policy>,
    ports: BTreeMap<u32, BridgePort>,
    /// The MACs that each port's far end has had, the first one first.
    far_macs: BTreeMap<u32, Vec<Mac>>,
    stations: Stations,
    texts: Texts,
}

/// What is known about one network.
#[derive(Clone, Default, PartialEq, Debug)]
struct NetworkRecord {
    /// Its definition; `None` when there is none (any more).
    config: Option<NetworkConfig>,
    /// The bridge it was last known to be. Kept while pods are attached, also when the definition is deleted or
    /// becomes unreadable.
    bridge: Option<BridgeNetwork>,
    /// How many attachments name it.
    attachments: usize,
}

/// The previous version of an object that has just been replaced or removed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Previous {
    /// A namespace's labels, and what it wanted logged.
    Namespace(Option<Labels>, Option<LogWish>),
    /// The bridge that a network was.
    Network(Option<BridgeNetwork>),
    /// A pod, and the networks whose bridges were forgotten with their last attachment.
    Pod(Option<Pod>, Vec<NamespacedName>),
    /// A policy.
    Policy(Option<Policy>),
    /// A bridge port, and the ports that it shares stations with, or did.
    Port(Option<BridgePort>, BTreeSet<u32>),
}

impl World {
    /// A world in which nothing is known yet, as the agent of `config` sees it.
    pub(crate) fn new(config: &Config) -> Self {
        Self { stations: Stations::new(config), ..Self::default() }
    }

    /// A namespace's labels; `None` when there is no such namespace.
    pub fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// Which frames a namespace wants logged, if any.
    pub fn log_wish(&self, namespace: &str) -> Option<LogWish> {
        self.log_wishes.get(namespace).copied()
    }

    /// All namespaces with their labels.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &Labels)> {
        self.namespaces.iter()
    }

    /// A network's definition; `None` when there is none.
    pub fn network(&self, name: &NamespacedName) -> Option<&NetworkConfig> {
        self.networks.get(name)?.config.as_ref()
    }

    /// Every network that has a definition.
    pub fn networks(&self) -> impl Iterator<Item = (&NamespacedName, &NetworkConfig)> {
        self.networks.iter().filter_map(|(name, record)| Some((name, record.config.as_ref()?)))
    }

    /// The bridge of a managed network, as far as it is enforced: a network that is gone or unreadable while pods are
    /// attached counts as last known.
    pub fn bridge(&self, network: &NamespacedName) -> Option<&BridgeNetwork> {
        self.networks.get(network)?.bridge.as_ref()
    }

    /// The bridges of all managed networks, as far as they are enforced; one of several networks comes up several times.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = &BridgeNetwork> {
        self.networks.values().filter_map(|record| record.bridge.as_ref())
    }

    /// All networks that are known, with their definitions and the bridges that they are enforced as.
    pub(crate) fn networks_as_kept(
        &self,
    ) -> impl Iterator<Item = (&NamespacedName, Option<&NetworkConfig>, Option<&BridgeNetwork>)> {
        self.networks.iter().map(|(id, record)| (id, record.config.as_ref(), record.bridge.as_ref()))
    }

    /// A pod.
    pub fn pod(&self, id: &NamespacedName) -> Option<&Pod> {
        self.pods.get(id)
    }

    /// All pods, by namespace and name.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The pods of one namespace, by name.
    pub fn pods_in(&self, namespace: &Arc<str>) -> impl Iterator<Item = &Pod> {
        of_namespace(&self.pods, namespace)
    }

    /// A policy.
    pub fn policy(&self, id: &NamespacedName) -> Option<&Policy> {
        self.policies.get(id)
    }

    /// All policies, by namespace and name.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values()
    }

    /// The policies of one namespace, by name.
    pub fn policies_in(&self, namespace: &Arc<str>) -> impl Iterator<Item = &Policy> {
        of_namespace(&self.policies, namespace)
    }

    /// A bridge port, by interface index.
    pub fn port(&self, index: u32) -> Option<&BridgePort> {
        self.ports.get(&index)
    }

    /// The MACs that a port's far end has had since the port is known, the first one first: a pod can change the last
    /// one, but not what it was before.
    pub(crate) fn far_macs(&self, index: u32) -> &[Mac] {
        self.far_macs.get(&index).map_or(&[], Vec::as_slice)
    }

    /// Which ports were seen with an attachment's MAC, and in which order.
    pub(crate) fn stations(&self) -> &Stations {
        &self.stations
    }

    /// All bridge ports, by interface index.
    pub fn ports(&self) -> impl Iterator<Item = &BridgePort> {
        self.ports.values()
    }

    /// The names of all objects of a kind.
    pub(crate) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        match kind {
            Kind::Namespace => self.namespaces.keys().cloned().map(ObjectId::Namespace).collect(),
            Kind::Network => {
                let defined = self.networks.iter().filter(|(_, record)| record.config.is_some());
                defined.map(|(id, _)| ObjectId::Network(id.clone())).collect()
            }
            Kind::Pod => self.pods.keys().cloned().map(ObjectId::Pod).collect(),
            Kind::Policy => self.policies.keys().cloned().map(ObjectId::Policy).collect(),
            Kind::Port => self.ports.keys().copied().map(ObjectId::Port).collect(),
        }
    }

    /// Takes in a new object or a new version of one.
    pub(crate) fn upsert(&mut self, object: Object) -> Previous {
        match object {
            Object::Namespace(namespace) => {
                let name = self.texts.share(&namespace.name);
                let labels = namespace.labels.shared(|text| self.texts.share(text));
                let wished = match namespace.log {
                    Some(wish) => self.log_wishes.insert(name.clone(), wish),
                    None => self.log_wishes.remove(&name),
                };
                Previous::Namespace(self.namespaces.insert(name, labels), wished)
            }
            Object::Network(network) => Previous::Network(self.set_network(network)),
            Object::Pod(pod) => {
                let pod = self.texts.share_pod(pod);
                let old = self.pods.remove(&pod.id);
                let attached = old.as_ref().map_or(&[][..], |pod| &pod.attachments);
                let forgotten = self.count_attachments(&pod.attachments, attached);
                self.stations.pod_changed(old.as_ref(), Some(&pod), &self.ports);
                self.pods.insert(pod.id.clone(), pod);
                Previous::Pod(old, forgotten)
            }
            Object::Policy(policy) => Previous::Policy(self.policies.insert(policy.id.clone(), policy)),
            Object::Port(port) => {
                let mut near = BTreeSet::new();
                // Under another name it is another device, whose index the kernel has used again before anybody heard that the
                // earlier one is gone: it inherits nothing.
                if self.ports.get(&port.index).is_some_and(|old| old.name != port.name) {
                    self.far_macs.remove(&port.index);
                    near = self.stations.port_gone(port.index, &self.ports);
                }
                self.remember_far_mac(&port);
                near.extend(self.stations.port_seen(&port, &self.ports));
                Previous::Port(self.ports.insert(port.index, port), near)
            }
        }
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, id: &ObjectId) -> Previous {
        match id {
            ObjectId::Namespace(name) => {
                Previous::Namespace(self.namespaces.remove(name), self.log_wishes.remove(name))
            }
            ObjectId::Network(id) => {
                let old = self.bridge(id).cloned();
                if let Some(record) = self.networks.get_mut(id) {
                    record.config = None;
                    self.drop_unused(id);
                }
                Previous::Network(old)
            }
            ObjectId::Pod(id) => {
                let old = self.pods.remove(id);
                let attached = old.as_ref().map_or(&[][..], |pod| &pod.attachments);
                let forgotten = self.count_attachments(&[], attached);
                self.stations.pod_changed(old.as_ref(), None, &self.ports);
                Previous::Pod(old, forgotten)
            }
            ObjectId::Policy(id) => Previous::Policy(self.policies.remove(id)),
            ObjectId::Port(index) => {
                self.far_macs.remove(index);
                let old = self.ports.remove(index);
                Previous::Port(old, self.stations.port_gone(*index, &self.ports))
            }
        }
    }

    /// Notes the MAC at a port's far end. Whoever changes it often is remembered by the first ones and the last.
    fn remember_far_mac(&mut self, port: &BridgePort) {
        let Some(mac) = port.far_mac else { return };
        let macs = self.far_macs.entry(port.index).or_default();
        if !macs.contains(&mac) {
            macs.truncate(FAR_MACS_MAX - 1);
            macs.push(mac);
        }
    }

    /// Stores a network's definition and returns the bridge it was before.
    fn set_network(&mut self, Network { id, config }: Network) -> Option<BridgeNetwork> {
        let record = self.networks.entry(id.clone()).or_default();
        let old = record.bridge.clone();
        match &config {
            NetworkConfig::Bridge(bridge) => record.bridge = Some(bridge.clone()),
            NetworkConfig::Other { .. } => record.bridge = None,
            NetworkConfig::Unreadable { .. } => {}
        }
        record.config = Some(config);
        self.drop_unused(&id);
        old
    }

    /// Moves the attachment counts of networks from the `old` attachments to the `new` ones. Returns the networks whose bridges
    /// are forgotten now.
    fn count_attachments(&mut self, new: &[Attachment], old: &[Attachment]) -> Vec<NamespacedName> {
        for attachment in new {
            self.networks.entry(attachment.network.clone()).or_default().attachments += 1;
        }
        let mut forgotten = Vec::new();
        for attachment in old {
            if let Some(record) = self.networks.get_mut(&attachment.network) {
                record.attachments = record.attachments.saturating_sub(1);
            }
            if self.drop_unused(&attachment.network) {
                forgotten.push(attachment.network.clone());
            }
        }
        forgotten
    }

    /// Forgets the bridge of a network without definition or pods, and then its record. Whether there was a bridge.
    fn drop_unused(&mut self, id: &NamespacedName) -> bool {
        let Some(record) = self.networks.get_mut(id) else { return false };
        if record.attachments > 0 || matches!(record.config, Some(NetworkConfig::Bridge(_))) {
            return false;
        }
        let bridge = record.bridge.take();
        if record.config.is_none() {
            self.networks.remove(id);
        }
        bridge.is_some()
    }
}

/// The entries of one namespace in a map that is sorted by namespace first.
fn of_namespace<'a, T>(
    map: &'a BTreeMap<NamespacedName, T>,
    namespace: &Arc<str>,
) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let first = NamespacedName::new(namespace.clone(), "");
    let wanted = namespace.clone();
    map.range(first..).take_while(move |(id, _)| id.namespace == wanted).map(|(_, object)| object)
}

/// One copy of each text that many objects share: label keys and values, names of namespaces, networks, nodes.
#[derive(Clone, Default, Debug)]
struct Texts {
    known: BTreeSet<Arc<str>>,
    /// How many texts there may be before those that nobody uses any more are dropped.
    sweep_at: usize,
}

/// Where texts are kept is no part of what a world means.
impl PartialEq for Texts {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Texts {
    fn share(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = (self.known.len() * 2).max(1024);
        }
        self.known.insert(text.clone());
        text.clone()
    }

    fn share_name(&mut self, name: &NamespacedName) -> NamespacedName {
        NamespacedName { namespace: self.share(&name.namespace), name: self.share(&name.name) }
    }

    fn share_pod(&mut self, mut pod: Pod) -> Pod {
        pod.id.namespace = self.share(&pod.id.namespace);
        pod.labels = pod.labels.shared(|text| self.share(text));
        pod.node = pod.node.map(|node| self.share(&node));
        for attachment in &mut pod.attachments {
            attachment.network = self.share_name(&attachment.network);
            attachment.interface = self.share(&attachment.interface);
        }
        for port in &mut pod.ports {
            port.name = self.share(&port.name);
        }
        pod
    }
}
