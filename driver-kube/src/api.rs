//! The objects of the Kubernetes API, reduced to the fields that are read.
//!
//! What the API server itself guarantees (metadata, pods, namespaces) has plain types. What a custom resource
//! may hold unchecked is a [`Field`], which never fails: one odd object must not stop the watch of the others.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use policy_core::spec::{Field, PolicySpec};
use serde::Deserialize;

/// `ObjectMeta`, with the annotations in `A` that are read on this kind.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Meta<A> {
    /// The object's name.
    pub name: Arc<str>,
    /// Its namespace; none on cluster-wide kinds, `default` when a manifest leaves it out.
    #[serde(default)]
    pub namespace: Option<Arc<str>>,
    /// Its labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<Arc<str>, Arc<str>>>,
    /// Its annotations.
    #[serde(default = "none")]
    pub annotations: Option<A>,
    /// Which version of the object this is, as the API server counts; manifests have none.
    #[serde(default, rename = "resourceVersion")]
    pub resource_version: Option<Arc<str>>,
}

/// `#[serde(default)]` on a field of type `Option<A>` would ask for `A: Default`.
const fn none<A>() -> Option<A> {
    None
}

/// `Namespace` (`v1`).
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Namespace {
    /// Its metadata.
    pub metadata: Meta<NamespaceAnnotations>,
}

/// The annotations of a namespace that are read.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct NamespaceAnnotations {
    /// Which frames of its isolated pods are logged: `drop` or `all`.
    #[serde(rename = "mnp-nft-bridge.io/log", default)]
    pub log: Option<String>,
}

/// `Pod` (`v1`).
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Pod {
    /// Its metadata.
    pub metadata: Meta<PodAnnotations>,
    /// What was asked for.
    #[serde(default)]
    pub spec: Option<PodSpec>,
    /// What became of it.
    #[serde(default)]
    pub status: Option<PodStatus>,
}

/// The annotations of a pod that are read.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct PodAnnotations {
    /// The pod's interfaces, as Multus reports them.
    #[serde(rename = "k8s.v1.cni.cncf.io/network-status", default)]
    pub network_status: Option<String>,
    /// The same under the name that Multus used before version 3.5.
    #[serde(rename = "k8s.v1.cni.cncf.io/networks-status", default)]
    pub networks_status: Option<String>,
}

/// `PodSpec`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node that it is bound to.
    pub node_name: Option<Arc<str>>,
    /// Whether it uses the node's own network namespace.
    pub host_network: Option<bool>,
    /// Its containers.
    pub containers: Option<Vec<Container>>,
    /// Its init containers, among them the sidecars (those with `restartPolicy: Always`).
    pub init_containers: Option<Vec<Container>>,
}

/// `Container`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its ports.
    pub ports: Option<Vec<ContainerPort>>,
}

/// `ContainerPort`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name; a port without one cannot be named by a policy.
    #[serde(default)]
    pub name: Option<Arc<str>>,
    /// Its number.
    pub container_port: i64,
    /// Its protocol, `TCP` when absent.
    #[serde(default)]
    pub protocol: Option<String>,
}

/// `PodStatus`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<String>,
}

/// `NetworkAttachmentDefinition` (`k8s.cni.cncf.io/v1`).
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct NetworkAttachmentDefinition {
    /// Its metadata.
    pub metadata: Meta<NetworkAnnotations>,
    /// Its specification; absent when the configuration lies on the nodes' disks.
    #[serde(default)]
    pub spec: Field<NetworkSpec>,
}

/// The annotations of a `NetworkAttachmentDefinition` that are read.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct NetworkAnnotations {
    /// The anti-spoofing guard: `mac` or `mac-ip`.
    #[serde(rename = "mnp-nft-bridge.io/guard", default)]
    pub guard: Option<String>,
}

/// `NetworkAttachmentDefinitionSpec`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, expecting = "an object")]
pub struct NetworkSpec {
    /// The CNI configuration, a JSON text.
    pub config: Field<String>,
}

/// `MultiNetworkPolicy` (`k8s.cni.cncf.io/v1beta1` and `v1beta2`, alike in all fields that are read).
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct MultiNetworkPolicy {
    /// Its metadata.
    pub metadata: Meta<PolicyAnnotations>,
    /// The policy itself.
    #[serde(default)]
    pub spec: Field<PolicySpec>,
}

/// The annotations of a `MultiNetworkPolicy` that are read.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct PolicyAnnotations {
    /// The networks that the policy is for.
    #[serde(rename = "k8s.v1.cni.cncf.io/policy-for", default)]
    pub policy_for: Option<String>,
    /// Which frames of the pods that it isolates are logged: `drop` or `all`.
    #[serde(rename = "mnp-nft-bridge.io/log", default)]
    pub log: Option<String>,
}
