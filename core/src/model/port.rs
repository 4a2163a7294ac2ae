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
    /// MACs that the bridge has learned behind this port (its forwarding database).
    pub stations: BTreeSet<Mac>,
}
