//! Objects of the API, whole and in parts: read, then enforced in a small cluster.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use driver_kube::{Options, cni, manifest, status};
use policy_core::model::{
    Attachment, NamespacedName, Network, NetworkConfig, Object, Peers, Pod, Policy, Ports,
};
use policy_core::spec::{Field, PROBLEMS_MAX, Path, PolicySpec, Problems, parse};

use super::utf8;
use crate::features::Features;
use crate::world::{COMPLAINT_BYTES_MAX, enforce};

/// The most objects of a file that are enforced together: their cost may grow with the square of their number.
const ENFORCED_MAX: usize = 60;

fn complaint(text: &str, features: &mut Features) {
    assert!(text.len() <= COMPLAINT_BYTES_MAX, "a complaint of {} bytes", text.len());
    features.saw(text);
}

/// Files, read as the tool for people does.
pub(super) fn manifest(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    let text = utf8(bytes);
    let contents = manifest::read(text, "file");
    for mistake in &contents.mistakes {
        complaint(&mistake.to_string(), &mut features);
    }
    let options = Options { config_directory: None, ..Options::default() };
    let mut objects = Vec::new();
    for located in &contents.manifests {
        let converted = located.manifest.object(&options);
        assert!(converted.problems.len() <= PROBLEMS_MAX + 1);
        for problem in &converted.problems {
            complaint(&problem.to_string(), &mut features);
            let place = located.place_of(&problem.path);
            assert!(place.line >= 1 && place.column >= 1, "{place} is nowhere");
        }
        objects.push(converted.object);
    }
    features.counted("objects", objects.len());
    assert!(objects.len() <= bytes.len(), "{} objects in {} bytes", objects.len(), bytes.len());
    objects.truncate(ENFORCED_MAX);
    features.extend(enforce(objects, bytes.len()));
    features
}

/// A network's configuration.
pub(super) fn network_config(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    let plugins: BTreeSet<Arc<str>> = Options::default().plugins;
    let config = match cni::network(utf8(bytes), &plugins, None) {
        Err(error) => {
            complaint(&error.to_string(), &mut features);
            return features;
        }
        Ok(config) => config,
    };
    match &config {
        NetworkConfig::Bridge(bridge) => {
            assert!((1..16).contains(&bridge.bridge.len()), "the bridge {:?}", bridge.bridge);
            assert!(bridge.vlan.is_none_or(|vlan| (1..=4094).contains(&vlan)), "VLAN {:?}", bridge.vlan);
            features.saw(format_args!("bridge {} {}", bridge.vlan.is_some(), bridge.dhcp));
        }
        NetworkConfig::Other { plugin } => features.saw(format_args!("other plugin {}", plugin.is_empty())),
        NetworkConfig::Unreadable { reason } => features.saw(reason),
    }
    let object = Object::Network(Network { id: NamespacedName::new("shop", "data"), config });
    features.extend(enforce(vec![object], bytes.len()));
    features
}

/// A pod's network status.
pub(super) fn network_status(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    let mut problems = Problems::default();
    let attachments = status::attachments(utf8(bytes), "shop", &Path::root("status"), &mut problems);
    let problems = problems.into_list();
    assert!(problems.len() <= PROBLEMS_MAX + 1);
    for problem in &problems {
        complaint(&problem.to_string(), &mut features);
    }
    features.counted("attachments", attachments.len());
    assert!(attachments.len() <= bytes.len(), "{} attachments in {} bytes", attachments.len(), bytes.len());
    for Attachment { interface, mac, addresses, .. } in &attachments {
        assert!(interface.len() < 16, "the interface {interface:?}");
        features.counted(if mac.is_some() { "addresses beside a mac" } else { "addresses" }, addresses.len());
    }
    let pod = Object::Pod(Pod {
        id: NamespacedName::new("shop", "hostile"),
        labels: [("app", "web")].into_iter().collect(),
        node: Some("here".into()),
        attachments,
        ports: Vec::new(),
    });
    features.extend(enforce(vec![pod], bytes.len()));
    features
}

/// A policy's spec.
pub(super) fn policy(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    let spec: Field<PolicySpec> = match serde_json::from_slice(bytes) {
        Ok(spec) => spec,
        Err(error) => {
            features.saw(error);
            return features;
        }
    };
    let policy = parse(NamespacedName::new("shop", "hostile"), Some("data"), &spec);
    describe(&policy, &mut features);
    features.extend(enforce(vec![Object::Policy(policy)], bytes.len()));
    features
}

fn describe(policy: &Policy, features: &mut Features) {
    assert!(policy.problems.len() <= PROBLEMS_MAX + 1);
    for problem in &policy.problems {
        complaint(&problem.to_string(), features);
    }
    features.counted("requirements", policy.selector.requirements().len());
    for (what, rules) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
        features.saw(format_args!("{what} {}", rules.is_some()));
        for rule in rules.iter().flatten() {
            match &rule.peers {
                Peers::Any => features.saw("everybody"),
                Peers::Listed(peers) => features.counted("peers", peers.len()),
            }
            match &rule.ports {
                Ports::Any => features.saw("every port"),
                Ports::Listed(ports) => features.counted("ports", ports.len()),
            }
        }
    }
}

/// The networks of a policy.
pub(super) fn policy_for(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    let text = utf8(bytes);
    let policy = parse(NamespacedName::new("shop", "hostile"), Some(text), &Field::Absent);
    features.counted("networks", policy.networks.len());
    assert!(policy.networks.len() <= text.split(',').count());
    assert!(policy.networks.is_sorted(), "networks are in order");
    describe(&policy, &mut features);
    features.extend(enforce(vec![Object::Policy(policy)], bytes.len()));
    features
}
