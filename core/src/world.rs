//! What the agent knows: the latest version of every object.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::model::{
    Attachment, BridgeNetwork, BridgePort, Kind, Labels, NamespacedName, Network, NetworkConfig, Object,
    ObjectId, Pod, Policy,
};

/// Every object by name. Pure storage: it changes only by [`World::upsert`] and [`World::remove`].
#[derive(Clone, Default, PartialEq, Debug)]
pub struct World {
    namespaces: BTreeMap<Arc<str>, Labels>,
    networks: BTreeMap<NamespacedName, NetworkRecord>,
    pods: BTreeMap<NamespacedName, Pod>,
    policies: BTreeMap<NamespacedName, Policy>,
    ports: BTreeMap<u32, BridgePort>,
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
    /// A namespace's labels.
    Namespace(Option<Labels>),
    /// The bridge that a network was.
    Network(Option<BridgeNetwork>),
    /// A pod, and the networks that were forgotten with its last attachment to them.
    Pod(Option<Pod>),
    /// A policy.
    Policy(Option<Policy>),
    /// A bridge port.
    Port(Option<BridgePort>),
}

impl World {
    /// A namespace's labels; `None` when there is no such namespace.
    pub fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// All namespaces with their labels.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &Labels)> {
        self.namespaces.iter()
    }

    /// A network's definition; `None` when there is none.
    pub fn network(&self, name: &NamespacedName) -> Option<&NetworkConfig> {
        self.networks.get(name)?.config.as_ref()
    }

    /// The bridge of a managed network, as far as it is enforced: a network that is gone or unreadable while pods are
    /// attached counts as last known.
    pub fn bridge(&self, network: &NamespacedName) -> Option<&BridgeNetwork> {
        self.networks.get(network)?.bridge.as_ref()
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
                Previous::Namespace(self.namespaces.insert(name, labels))
            }
            Object::Network(network) => Previous::Network(self.set_network(network)),
            Object::Pod(pod) => {
                let pod = self.texts.share_pod(pod);
                let old = self.pods.remove(&pod.id);
                self.count_attachments(&pod.attachments, old.as_ref().map_or(&[], |pod| &pod.attachments));
                self.pods.insert(pod.id.clone(), pod);
                Previous::Pod(old)
            }
            Object::Policy(policy) => Previous::Policy(self.policies.insert(policy.id.clone(), policy)),
            Object::Port(port) => Previous::Port(self.ports.insert(port.index, port)),
        }
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, id: &ObjectId) -> Previous {
        match id {
            ObjectId::Namespace(name) => Previous::Namespace(self.namespaces.remove(name)),
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
                self.count_attachments(&[], old.as_ref().map_or(&[], |pod| &pod.attachments));
                Previous::Pod(old)
            }
            ObjectId::Policy(id) => Previous::Policy(self.policies.remove(id)),
            ObjectId::Port(index) => Previous::Port(self.ports.remove(index)),
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

    /// Moves the attachment counts of networks from the `old` attachments to the `new` ones.
    fn count_attachments(&mut self, new: &[Attachment], old: &[Attachment]) {
        for attachment in new {
            self.networks.entry(attachment.network.clone()).or_default().attachments += 1;
        }
        for attachment in old {
            if let Some(record) = self.networks.get_mut(&attachment.network) {
                record.attachments = record.attachments.saturating_sub(1);
            }
            self.drop_unused(&attachment.network);
        }
    }

    /// Forgets the bridge of a network without definition or pods, and then its record.
    fn drop_unused(&mut self, id: &NamespacedName) {
        let Some(record) = self.networks.get_mut(id) else { return };
        if record.attachments == 0 && !matches!(record.config, Some(NetworkConfig::Bridge(_))) {
            record.bridge = None;
            if record.config.is_none() {
                self.networks.remove(id);
            }
        }
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
