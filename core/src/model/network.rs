//! Networks: what a `NetworkAttachmentDefinition` says, as far as enforcement needs it.

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::NamespacedName;

/// A `NetworkAttachmentDefinition`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub id: NamespacedName,
    /// What its CNI configuration makes of it.
    pub config: NetworkConfig,
}

/// The kind of network that a CNI configuration describes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NetworkConfig {
    /// The main plugin is one of the bridge plugins: a managed network.
    Bridge(BridgeNetwork),
    /// The main plugin is another one; policies enforce nothing here.
    Other {
        /// The main plugin's type, such as `macvlan`.
        plugin: Arc<str>,
    },
    /// The configuration cannot be read.
    Unreadable {
        /// Why, in one sentence.
        reason: Arc<str>,
    },
}

/// A managed network: a Linux bridge on every node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct BridgeNetwork {
    /// The bridge's interface name on the node (CNI key `bridge`, default `cni0`).
    pub bridge: Arc<str>,
    /// The access VLAN of the network's ports (CNI key `vlan`, 1 to 4094), if any.
    pub vlan: Option<u16>,
    /// Whether addresses come from a DHCP server on the network (`ipam.type` is `dhcp`).
    pub dhcp: bool,
    /// The anti-spoofing guard asked for by the network's annotation, if any.
    pub guard: Option<Guard>,
}

/// What a managed port may send with (annotation `mnp-nft-bridge.io/guard`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Guard {
    /// Only its attachment's own MAC.
    Mac,
    /// Only its attachment's own MAC and addresses, inside ARP and neighbour discovery too.
    MacIp,
}
