//! The nouns of the world: what the agent knows about a cluster and a node, parsed and valid by construction.
//!
//! Text from outside is turned into these types once, at the door (`spec` for policies, the drivers for the
//! rest); behind the door nothing is validated twice.

mod id;
mod mac;
mod network;
mod pod;
mod policy;
mod port;
mod selector;

pub use id::{Kind, NamespacedName, Object, ObjectId};
pub use mac::{Mac, MacError};
pub use network::{BridgeNetwork, Guard, Network, NetworkConfig};
pub use pod::{Attachment, ContainerPort, Namespace, Pod};
pub use policy::{
    Block, Direction, LogWish, NamespaceScope, Peer, Peers, Policy, PolicyRule, PortMatch, PortNumbers,
    Ports, Problem, Protocol,
};
pub use port::{BridgePort, PortKind};
pub use selector::{Labels, Operator, Requirement, Selector};
