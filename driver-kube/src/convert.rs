//! From the API's objects to the core's.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use std::path::PathBuf;

use policy_core::model::{
    ContainerPort, Guard, Labels, Namespace, NamespacedName, Network, NetworkConfig, Object, Pod, Policy,
    Problem, Protocol,
};
use policy_core::spec::{Field, Path, Problems, log_wish, parse, quoted};

use crate::api;
use crate::cni::{self, CniError};
use crate::status;

/// What conversion depends on besides the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The CNI plugin types whose networks are Linux bridges.
    pub plugins: BTreeSet<Arc<str>>,
    /// Where configurations lie that a `NetworkAttachmentDefinition` leaves to the node's disk.
    pub config_directory: Option<PathBuf>,
}

impl Default for Options {
    /// The plugins `bridge` and `cnv-bridge`, and Multus' own default directory.
    fn default() -> Self {
        Self {
            plugins: ["bridge", "cnv-bridge"].map(Arc::from).into(),
            config_directory: Some(PathBuf::from("/etc/cni/multus/net.d")),
        }
    }
}

/// An object of the core, and what in the API's object could not be used.
#[derive(Clone, PartialEq, Debug)]
pub struct Converted {
    /// The object.
    pub object: Object,
    /// What was left out of it, and where that is written.
    pub problems: Vec<Problem>,
}

/// The name of a namespaced object.
pub(crate) fn name_of<A>(meta: &api::Meta<A>) -> NamespacedName {
    NamespacedName {
        namespace: meta.namespace.clone().unwrap_or_else(|| "default".into()),
        name: meta.name.clone(),
    }
}

fn labels_of<A>(meta: &api::Meta<A>) -> Labels {
    meta.labels.clone().unwrap_or_default().into()
}

/// A namespace. The API server gives each the label `kubernetes.io/metadata.name`; a manifest may lack it.
pub fn namespace(object: &api::Namespace) -> Converted {
    let name = object.metadata.name.clone();
    let mut labels = object.metadata.labels.clone().unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".into(), name.clone());
    let mut problems = Problems::default();
    let annotations = object.metadata.annotations.as_ref();
    let log = log_wish(annotations.and_then(|annotations| annotations.log.as_deref()), &mut problems);
    let object = Object::Namespace(Namespace { name, labels: labels.into(), log });
    Converted { object, problems: problems.into_list() }
}

/// A pod. A completed or `hostNetwork` pod has no attachments, whatever its status lists.
pub fn pod(object: &api::Pod) -> Converted {
    let mut problems = Problems::default();
    let id = name_of(&object.metadata);
    let spec = object.spec.as_ref();
    let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
    let completed = matches!(phase, Some("Succeeded" | "Failed"));
    let host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    let mut attachments = Vec::new();
    let mut ports = Vec::new();
    if !completed && !host_network {
        attachments = pod_attachments(object, &id.namespace, &mut problems);
    }
    // Ports matter only where traffic can arrive; without attachments they would only cost memory.
    if let (Some(spec), false) = (spec, attachments.is_empty()) {
        let at = Path::root("spec");
        container_ports(
            spec.init_containers.as_deref(),
            &at.field("initContainers"),
            &mut ports,
            &mut problems,
        );
        container_ports(spec.containers.as_deref(), &at.field("containers"), &mut ports, &mut problems);
    }
    let node = spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty());
    let object = Object::Pod(Pod { id, labels: labels_of(&object.metadata), node, attachments, ports });
    Converted { object, problems: problems.into_list() }
}

fn pod_attachments(
    object: &api::Pod,
    namespace: &str,
    problems: &mut Problems,
) -> Vec<policy_core::model::Attachment> {
    let Some(annotations) = &object.metadata.annotations else {
        return Vec::new();
    };
    let (key, text) = match (&annotations.network_status, &annotations.networks_status) {
        (Some(text), _) => ("k8s.v1.cni.cncf.io/network-status", text),
        (None, Some(text)) => ("k8s.v1.cni.cncf.io/networks-status", text),
        (None, None) => return Vec::new(),
    };
    let metadata = Path::root("metadata");
    let at = metadata.field("annotations");
    status::attachments(text, namespace, &at.key(key), problems)
}

/// Adds the named ports of `containers`.
fn container_ports(
    containers: Option<&[api::Container]>,
    at: &Path<'_>,
    ports: &mut Vec<ContainerPort>,
    problems: &mut Problems,
) {
    for (index, container) in containers.unwrap_or_default().iter().enumerate() {
        let at = at.index(index);
        let at = at.field("ports");
        for (index, port) in container.ports.as_deref().unwrap_or_default().iter().enumerate() {
            let Some(name) = port.name.clone().filter(|name| !name.is_empty()) else {
                continue;
            };
            let at = at.index(index);
            match (protocol(port.protocol.as_deref()), u16::try_from(port.container_port)) {
                (None, _) => problems.add(&at.field("protocol"), "not one of TCP, UDP, SCTP"),
                (_, Ok(0) | Err(_)) => {
                    let reason = format!("{}: not a port from 1 to 65535", port.container_port);
                    problems.add(&at.field("containerPort"), reason);
                }
                (Some(protocol), Ok(port)) => ports.push(ContainerPort { name, protocol, port }),
            }
        }
    }
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(_) => None,
    }
}

/// A network.
pub fn network(object: &api::NetworkAttachmentDefinition, options: &Options) -> Converted {
    let mut problems = Problems::default();
    let id = name_of(&object.metadata);
    let guard = guard(object, &mut problems);
    let config = cni_config(object, &id.name, options)
        .and_then(|text| cni::network(&text, &options.plugins, guard))
        .unwrap_or_else(|error| {
            let spec = Path::root("spec");
            problems.add(&spec.field("config"), error.to_string());
            NetworkConfig::Unreadable { reason: error.to_string().into() }
        });
    Converted { object: Object::Network(Network { id, config }), problems: problems.into_list() }
}

/// The text of a network's CNI configuration, from the object or from the disk.
fn cni_config(
    object: &api::NetworkAttachmentDefinition,
    name: &str,
    options: &Options,
) -> Result<String, CniError> {
    let wrong = |path: &str, reason: &str| CniError::Field { path: path.into(), reason: reason.into() };
    let text = match &object.spec {
        Field::Absent => "",
        Field::Wrong(reason) => return Err(wrong("spec", reason)),
        Field::Given(spec) => match &spec.config {
            Field::Absent => "",
            Field::Given(text) => text.as_str(),
            Field::Wrong(reason) => return Err(wrong("spec.config", reason)),
        },
    };
    if !text.trim().is_empty() {
        return Ok(text.into());
    }
    let directory = options.config_directory.as_deref().ok_or(CniError::NoDirectory)?;
    cni::on_disk(directory, name)
}

/// The guard that a network asks for. One that cannot be read is the strictest: somebody wanted a guard, and a
/// misspelt one must not be none.
fn guard(object: &api::NetworkAttachmentDefinition, problems: &mut Problems) -> Option<Guard> {
    let text = object.metadata.annotations.as_ref()?.guard.as_deref()?;
    match text.trim() {
        "mac" => Some(Guard::Mac),
        "mac-ip" => Some(Guard::MacIp),
        other => {
            let metadata = Path::root("metadata");
            let at = metadata.field("annotations");
            let reason = format!("{}: not one of mac, mac-ip; taken as mac-ip", quoted(other));
            problems.add(&at.key("mnp-nft-bridge.io/guard"), reason);
            Some(Guard::MacIp)
        }
    }
}

/// A policy; its problems are also part of it.
pub fn policy(object: &api::MultiNetworkPolicy) -> Converted {
    let annotations = object.metadata.annotations.as_ref();
    let policy_for = annotations.and_then(|annotations| annotations.policy_for.as_deref());
    let mut problems = Problems::default();
    let log = log_wish(annotations.and_then(|annotations| annotations.log.as_deref()), &mut problems);
    let mut policy = Policy { log, ..parse(name_of(&object.metadata), policy_for, &object.spec) };
    policy.problems.extend(problems.into_list());
    let problems = policy.problems.clone();
    Converted { object: Object::Policy(policy), problems }
}
