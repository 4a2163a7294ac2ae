//! Pods, their attachments, and namespaces.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Labels, LogWish, Mac, NamespacedName, Protocol};

/// A pod, reduced to what decides about packets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub id: NamespacedName,
    /// Its labels.
    pub labels: Labels,
    /// The node it runs on, once scheduled.
    pub node: Option<Arc<str>>,
    /// Its attachments to secondary networks. Empty for a pod in phase `Succeeded` or `Failed`, for a
    /// `hostNetwork` pod, and for a pod without network status.
    pub attachments: Vec<Attachment>,
    /// The named ports of its containers, init and sidecar containers included.
    pub ports: Vec<ContainerPort>,
}

/// One entry of a pod's `network-status` that names a `NetworkAttachmentDefinition`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// The network.
    pub network: NamespacedName,
    /// The interface's name inside the pod; empty when the status does not say.
    pub interface: Arc<str>,
    /// The interface's MAC, when the status lists one.
    pub mac: Option<Mac>,
    /// The interface's addresses; empty on a network without IPAM.
    pub addresses: Vec<IpAddr>,
}

/// A named container port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ContainerPort {
    /// The name, such as `http`.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port number, 1 to 65535.
    pub port: u16,
}

/// A Kubernetes namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Which frames of its isolated pods are logged, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogWish>,
}
