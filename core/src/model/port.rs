//! Bridge ports, as the node's kernel reports them.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Mac;

/// A port of a bridge on this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BridgePort {
    /// Interface index on the node; unique at any moment, reused by the kernel later.
    pub index: u32,
    /// Interface name on the node.
    pub name: Arc<str>,
    /// Name of the bridge it belongs to.
    pub bridge: Arc<str>,
    /// MAC of the other end of the veth pair, when the port is one end of a pair that the agent can see.
    pub far_mac: Option<Mac>,
    /// Interface name of the other end, inside the pod.
    pub far_name: Option<Arc<str>>,
    /// What kind of device it is.
    pub kind: PortKind,
    /// MACs that the bridge has learned behind this port (its forwarding database).
    pub stations: BTreeSet<Mac>,
}

impl BridgePort {
    /// Whether it leads to a network, so that no pod is behind it: by its kind, or because it is one of `uplinks`.
    pub(crate) fn leads_to_a_network(&self, uplinks: &BTreeSet<Arc<str>>) -> bool {
        self.kind == PortKind::Uplink || uplinks.contains(&self.name)
    }
}

/// What kind of device a bridge port is, as far as it says who can be behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum PortKind {
    /// A device whose frames a program on the node reads and writes, such as a virtual machine's.
    Tap,
    /// Anything that leads to a network and not to one pod: a physical device, a bond, a VLAN or tunnel device, and a veth
    /// whose other end stays on the node.
    Uplink,
    /// One end of a pair whose other end is in another network namespace.
    Veth,
}
