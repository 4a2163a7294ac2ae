//! Names of objects.

use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{BridgePort, Namespace, Network, Pod, Policy};

/// `namespace/name` of a namespaced object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The object's name within it.
    pub name: Arc<str>,
}

impl NamespacedName {
    /// A name from its two halves.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Reads `namespace/name`, or `name` alone as an object of `default_namespace`; blanks around it do not
    /// count. `None` when a half is empty or there is more than one slash.
    pub fn parse(text: &str, default_namespace: &str) -> Option<Self> {
        let text = text.trim();
        let (namespace, name) = text.split_once('/').unwrap_or((default_namespace, text));
        let usable =
            |part: &str| !part.is_empty() && !part.contains('/') && !part.contains(char::is_whitespace);
        (usable(namespace) && usable(name)).then(|| Self::new(namespace, name))
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A kind of object that the core is told about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Kubernetes namespaces (their labels).
    Namespace,
    /// `NetworkAttachmentDefinition`s.
    Network,
    /// Pods.
    Pod,
    /// `MultiNetworkPolicy` objects.
    Policy,
    /// Bridge ports of this node's kernel.
    Port,
}

impl Kind {
    /// Every kind; the core writes nothing before each has been listed once.
    pub const ALL: [Self; 5] = [Self::Namespace, Self::Network, Self::Pod, Self::Policy, Self::Port];
    /// Those that an API server keeps.
    pub const OF_THE_CLUSTER: [Self; 4] = [Self::Namespace, Self::Network, Self::Pod, Self::Policy];

    /// What one of the kind is called.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Network => "network",
            Self::Pod => "pod",
            Self::Policy => "policy",
            Self::Port => "port",
        }
    }
}

/// Names one object of any kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ObjectId {
    /// A Kubernetes namespace.
    Namespace(Arc<str>),
    /// A `NetworkAttachmentDefinition`.
    Network(NamespacedName),
    /// A pod.
    Pod(NamespacedName),
    /// A `MultiNetworkPolicy`.
    Policy(NamespacedName),
    /// A bridge port, by interface index.
    Port(u32),
}

impl ObjectId {
    /// The kind of the object named.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Network(_) => Kind::Network,
            Self::Pod(_) => Kind::Pod,
            Self::Policy(_) => Kind::Policy,
            Self::Port(_) => Kind::Port,
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind().word();
        match self {
            Self::Namespace(name) => write!(f, "{kind} {name}"),
            Self::Network(name) | Self::Pod(name) | Self::Policy(name) => write!(f, "{kind} {name}"),
            Self::Port(index) => write!(f, "{kind} {index}"),
        }
    }
}

/// One object of the world.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Object {
    /// A Kubernetes namespace.
    Namespace(Namespace),
    /// A `NetworkAttachmentDefinition`.
    Network(Network),
    /// A pod.
    Pod(Pod),
    /// A `MultiNetworkPolicy`.
    Policy(Policy),
    /// A bridge port.
    Port(BridgePort),
}

impl Object {
    /// The object's name.
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Namespace(namespace) => ObjectId::Namespace(namespace.name.clone()),
            Self::Network(network) => ObjectId::Network(network.id.clone()),
            Self::Pod(pod) => ObjectId::Pod(pod.id.clone()),
            Self::Policy(policy) => ObjectId::Policy(policy.id.clone()),
            Self::Port(port) => ObjectId::Port(port.index),
        }
    }
}
