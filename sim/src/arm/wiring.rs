//! The wires of a node: its bridges, and a veth pair to every station.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use anyhow::{Context as _, Result};
use policy_core::model::BridgePort;

use crate::links;
use crate::netns::Namespace;
use crate::plan::{Station, StationId, namespace_of};

/// A node, the pods and hosts on it, and what connects them.
pub(super) struct Wiring {
    /// The node's own namespace.
    pub(super) node: Namespace,
    /// The namespaces of pods and hosts, by name.
    pub(super) pods: BTreeMap<String, Arc<Namespace>>,
    /// Each station's port, as the link watcher should report it.
    pub(super) wires: BTreeMap<StationId, BridgePort>,
}

impl Wiring {
    /// A node without bridges.
    pub(super) async fn new(node: &str) -> Result<Self> {
        let node = Namespace::create(&format!("node:{node}")).await?;
        Ok(Self { node, pods: BTreeMap::new(), wires: BTreeMap::new() })
    }

    /// Connects a station, as a CNI plugin would.
    pub(super) async fn attach(&mut self, station: &Station) -> Result<()> {
        let name = station.namespace();
        if !self.pods.contains_key(&name) {
            self.pods.insert(name.clone(), Arc::new(Namespace::create(&name).await?));
        }
        let pod = self.pods.get(&name).context("the namespace was just made")?;
        let port = links::attach(&self.node, pod, station).await?;
        self.wires.insert(station.id.clone(), station.port(port));
        Ok(())
    }

    /// Cuts a wire; with its last wire a pod's namespace goes too.
    pub(super) async fn detach(&mut self, station: &Station) -> Result<()> {
        links::detach(&self.node, station).await?;
        self.wires.remove(&station.id);
        let owner = &station.id.owner;
        if !self.wires.keys().any(|id| id.owner == *owner) {
            let namespace = self.pods.remove(&namespace_of(owner));
            let namespace = namespace.and_then(Arc::into_inner).context("the namespace is still in use")?;
            namespace.remove()?;
        }
        Ok(())
    }

    /// Empties the neighbour tables of all pods and hosts.
    pub(super) async fn forget_neighbours(&self) -> Result<()> {
        for pod in self.pods.values() {
            pod.forget_neighbours().await?;
        }
        Ok(())
    }

    /// The port index of each station.
    pub(super) fn ports(&self) -> BTreeMap<StationId, u32> {
        self.wires.iter().map(|(id, port)| (id.clone(), port.index)).collect()
    }

    /// The port indexes by the ports' names.
    pub(super) fn indexes(&self) -> BTreeMap<String, u32> {
        self.wires.values().map(|port| (port.name.to_string(), port.index)).collect()
    }
}
