//! The wires: the nodes with their bridges, a veth pair to every station, and a switch between the nodes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use anyhow::{Context as _, Result};
use policy_core::model::BridgePort;
use policy_core::ruleset::Ruleset;

use super::cluster::Kubelet;
use crate::guest;
use crate::links;
use crate::netns::Namespace;
use crate::path::NodeView;
use crate::plan::{Position, Station, StationId, namespace_of, namespace_of_node, uplink};

/// The nodes, the pods and hosts on them, and what connects them.
pub(super) struct Wiring {
    /// The nodes.
    pub(super) nodes: BTreeMap<String, Node>,
    /// The namespaces that stations are in, by name: those of pods and hosts, and of nodes that are stations.
    pub(super) places: BTreeMap<String, Arc<Namespace>>,
    /// What the nodes' uplinks lead to, if there are several nodes: bridges of the same names.
    switch: Option<Namespace>,
    /// What attaches pods, if not the harness itself.
    pub(super) kubelet: Option<Kubelet>,
}

/// A node: its own namespace, and the ports on its bridges as the link watcher should report them.
pub(super) struct Node {
    /// Where its bridges are and its agent runs.
    pub(super) namespace: Arc<Namespace>,
    /// Each station's port.
    wires: BTreeMap<StationId, BridgePort>,
    /// Each bridge's port to the switch.
    uplinks: BTreeMap<String, BridgePort>,
}

impl Node {
    /// All ports.
    pub(super) fn ports(&self) -> impl Iterator<Item = &BridgePort> {
        self.wires.values().chain(self.uplinks.values())
    }

    /// The port indexes by the ports' names.
    pub(super) fn indexes(&self) -> BTreeMap<String, u32> {
        self.ports().map(|port| (port.name.to_string(), port.index)).collect()
    }

    /// The node with what its kernel holds.
    pub(super) fn view<'a>(&self, ruleset: &'a Ruleset) -> NodeView<'a> {
        NodeView {
            ruleset,
            ports: self.wires.iter().map(|(id, port)| (id.clone(), port.index)).collect(),
            uplinks: self.uplinks.iter().map(|(bridge, port)| (bridge.clone(), port.index)).collect(),
        }
    }
}

impl Wiring {
    /// Nodes without bridges.
    pub(super) async fn new(names: &[String]) -> Result<Self> {
        let mut nodes = BTreeMap::new();
        for name in names {
            let namespace = Arc::new(Namespace::create(&namespace_of_node(name)).await?);
            let node = Node { namespace, wires: BTreeMap::new(), uplinks: BTreeMap::new() };
            nodes.insert(name.clone(), node);
        }
        let switch = if names.len() > 1 { Some(Namespace::create("switch").await?) } else { None };
        Ok(Self { nodes, places: BTreeMap::new(), switch, kubelet: None })
    }

    /// A node.
    pub(super) fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.get(name).with_context(|| format!("there is no node {name}"))
    }

    /// Connects a station, as a CNI plugin would; the first one on a bridge finds its uplink in place.
    pub(super) async fn attach(&mut self, station: &Station) -> Result<()> {
        self.uplink_of(station).await?;
        let place = self.place(station).await?;
        let pod = match station.wire.guest {
            None => Arc::clone(&place),
            Some(_) => self.namespace(&namespace_of(&station.id.owner)).await?,
        };
        let node = Arc::clone(&self.node(&station.node)?.namespace);
        match &station.position {
            Position::Behind { near, .. } => links::route(&node, &place, station, near).await,
            Position::Node => links::settle(&node, station).await,
            Position::Port => {
                let port = match (station.wire.guest, &mut self.kubelet) {
                    (None, Some(kubelet)) if station.wire.network.is_some() => {
                        kubelet.attach(&node, &pod, station).await?
                    }
                    (None, _) => links::attach(&node, &pod, station).await?,
                    (Some(_), _) => guest::attach(&node, &pod, &place, station).await?,
                };
                self.node_mut(&station.node)?.wires.insert(station.id.clone(), station.port(port));
                Ok(())
            }
        }
    }

    /// Changes a wire, or what is at its end.
    pub(super) async fn rewire(&mut self, before: &Station, after: &Station) -> Result<()> {
        self.uplink_of(after).await?;
        let place = self.place(after).await?;
        let node = self.node_mut(&after.node)?;
        let port = node.wires.get(&before.id).with_context(|| format!("{} has no wire", before.id))?.index;
        if (before.port_name(), &before.bridge) != (after.port_name(), &after.bridge) {
            links::replug(&node.namespace, port, after).await?;
        }
        if (before.mac, &before.addresses) != (after.mac, &after.addresses) {
            links::readdress(&place, after).await?;
        }
        guest::settle(&node.namespace, &place, port, after).await?;
        node.wires.insert(after.id.clone(), after.port(port));
        Ok(())
    }

    /// The first station on a bridge finds the uplink in place.
    async fn uplink_of(&mut self, station: &Station) -> Result<()> {
        let Some(switch) = &self.switch else { return Ok(()) };
        let node = self.nodes.get_mut(&station.node);
        let node = node.with_context(|| format!("there is no node {}", station.node))?;
        if !node.uplinks.contains_key(&station.bridge) {
            let uplink = uplink(&station.node, &station.bridge);
            let index = links::join(&node.namespace, switch, &uplink).await?;
            node.uplinks.insert(station.bridge.clone(), uplink.port(index));
        }
        Ok(())
    }

    fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes.get_mut(name).with_context(|| format!("there is no node {name}"))
    }

    /// The namespace of a station, which is made when it is not there.
    async fn place(&mut self, station: &Station) -> Result<Arc<Namespace>> {
        let name = station.namespace();
        if station.position == Position::Node && !self.places.contains_key(&name) {
            let node = Arc::clone(&self.node(&station.node)?.namespace);
            self.places.insert(name.clone(), node);
        }
        self.namespace(&name).await
    }

    /// The namespace of this name, which is made when it is not there.
    async fn namespace(&mut self, name: &str) -> Result<Arc<Namespace>> {
        if let Some(place) = self.places.get(name) {
            return Ok(Arc::clone(place));
        }
        let place = Arc::new(Namespace::create(name).await?);
        self.places.insert(name.to_owned(), Arc::clone(&place));
        Ok(place)
    }

    /// Cuts a wire; with its last wire a pod's namespace goes too.
    pub(super) async fn detach(&mut self, station: &Station) -> Result<()> {
        let node = Arc::clone(&self.node(&station.node)?.namespace);
        let pod = self.places.get(&namespace_of(&station.id.owner));
        match (&mut self.kubelet, pod) {
            (Some(kubelet), Some(pod)) if kubelet.has(&station.id) => kubelet.detach(&node, pod, station)?,
            _ => links::detach(&node, station).await?,
        }
        self.node_mut(&station.node)?.wires.remove(&station.id);
        let owner = &station.id.owner;
        if !self.nodes.values().flat_map(|node| node.wires.keys()).any(|id| id.owner == *owner) {
            let names = BTreeSet::from([station.namespace(), namespace_of(owner)]);
            for namespace in names.iter().filter_map(|name| self.places.remove(name)) {
                Arc::into_inner(namespace).context("the namespace is still in use")?.remove()?;
            }
        }
        Ok(())
    }

    /// Empties the neighbour tables of everyone.
    pub(super) async fn forget_neighbours(&self) -> Result<()> {
        for place in self.places.values() {
            place.forget_neighbours().await?;
        }
        Ok(())
    }
}
