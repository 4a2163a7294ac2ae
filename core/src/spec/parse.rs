//! From the text of a policy to the policy.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::model::{NamespacedName, Peers, Policy, PolicyRule, Ports, Selector};

use super::path::quoted;
use super::peer::peer;
use super::port::port;
use super::selector::selector;
use super::syntax::{is_dns_label, is_dns_name};
use super::{EgressRule, Field, IngressRule, List, Path, PeerSpec, PolicySpec, PortSpec, Problems, Unknown};

/// The annotation that names a policy's networks.
pub const POLICY_FOR: &str = "k8s.v1.cni.cncf.io/policy-for";

/// Reads the policy `id` from its [`POLICY_FOR`] annotation and its spec.
///
/// It never fails: what cannot be used is left out on the closed side and named in the policy's problems.
pub fn parse(id: NamespacedName, policy_for: Option<&str>, spec: &Field<PolicySpec>) -> Policy {
    let mut problems = Problems::default();
    let networks = networks(policy_for, &id.namespace, &mut problems);
    let root = Path::root("spec");
    let absent = PolicySpec::default();
    let spec = match spec {
        Field::Absent => &absent,
        Field::Given(spec) => spec,
        Field::Wrong(reason) => {
            problems.add(&root, reason.as_str());
            return closed(id, networks, problems);
        }
    };
    spec.unknown.none(&root, &mut problems);
    let (selector, whole) = pod_selector(spec, &root, &mut problems);
    let directions = directions(spec, &root, &mut problems);
    let namespace = id.namespace.clone();
    let mut reader = RuleReader { namespace: &namespace, problems: &mut problems };
    let ingress = reader.rules(&spec.ingress, &root.field("ingress"), RuleReader::ingress);
    let egress = reader.rules(&spec.egress, &root.field("egress"), RuleReader::egress);
    // What an unreadable requirement would have excluded is unknown, so its pods are isolated and nothing is allowed.
    let rules =
        |isolates: bool, rules: Vec<PolicyRule>| isolates.then(|| if whole { rules } else { Vec::new() });
    Policy {
        id,
        networks,
        selector,
        ingress: rules(directions.ingress, ingress),
        egress: rules(directions.egress, egress),
        log: None,
        problems: problems.into_list(),
    }
}

/// A policy whose spec cannot be read at all: it isolates every pod of its namespace and allows nothing.
fn closed(id: NamespacedName, networks: Vec<NamespacedName>, problems: Problems) -> Policy {
    Policy {
        id,
        networks,
        selector: Selector::default(),
        ingress: Some(Vec::new()),
        egress: Some(Vec::new()),
        log: None,
        problems: problems.into_list(),
    }
}

/// The networks of a [`POLICY_FOR`] annotation.
fn networks(annotation: Option<&str>, namespace: &str, problems: &mut Problems) -> Vec<NamespacedName> {
    let metadata = Path::root("metadata");
    let annotations = metadata.field("annotations");
    let at = annotations.key(POLICY_FOR);
    let Some(text) = annotation.filter(|text| !text.trim().is_empty()) else {
        problems.add(&at, "missing or empty: the policy applies to no network");
        return Vec::new();
    };
    let mut networks = BTreeSet::new();
    for (index, item) in text.split(',').enumerate() {
        let name = NamespacedName::parse(item, namespace)
            .filter(|name| is_dns_label(&name.namespace) && is_dns_name(&name.name));
        match name {
            Some(name) => {
                networks.insert(name);
            }
            None => problems.add(
                &at.index(index),
                format!("{}: not a network's name or namespace/name", quoted(item.trim())),
            ),
        }
    }
    if networks.is_empty() {
        problems.add(&at, "names no usable network: the policy applies to none");
    }
    networks.into_iter().collect()
}

/// The policy's selector as far as it can be read, and whether that is all of it.
fn pod_selector(spec: &PolicySpec, root: &Path<'_>, problems: &mut Problems) -> (Selector, bool) {
    let at = root.field("podSelector");
    match &spec.pod_selector {
        Field::Absent => (Selector::default(), true),
        Field::Given(spec) => {
            let read = selector(spec, &at, problems);
            (read.selector, read.whole)
        }
        Field::Wrong(reason) => {
            problems.add(&at, reason.as_str());
            (Selector::default(), false)
        }
    }
}

/// Which directions a policy isolates.
struct Directions {
    ingress: bool,
    egress: bool,
}

/// Reads `policyTypes`. Absent, it is `Ingress`, and `Egress` when there are egress rules: the defaulting of
/// `networking.k8s.io/v1` (`SetDefaults_NetworkPolicy`).
fn directions(spec: &PolicySpec, root: &Path<'_>, problems: &mut Problems) -> Directions {
    let at = root.field("policyTypes");
    let entries = match &spec.policy_types {
        Field::Absent => &Vec::new(),
        Field::Given(entries) => entries,
        Field::Wrong(reason) => {
            problems.add(&at, reason.as_str());
            return Directions { ingress: true, egress: true };
        }
    };
    let mut listed = Directions { ingress: false, egress: false };
    for (index, entry) in entries.iter().enumerate() {
        let known = entry.required().and_then(|name| match name.as_str() {
            "Ingress" => {
                listed.ingress = true;
                Ok(())
            }
            "Egress" => {
                listed.egress = true;
                Ok(())
            }
            other => Err(format!("{}: not one of Ingress, Egress", quoted(other))),
        });
        if let Err(reason) = known {
            problems.add(&at.index(index), reason);
        }
    }
    if listed.ingress || listed.egress {
        return listed;
    }
    let egress = match &spec.egress {
        Field::Absent => false,
        Field::Given(rules) => !rules.is_empty(),
        // Rules of the wrong type are rules: somebody meant egress to be isolated.
        Field::Wrong(_) => true,
    };
    Directions { ingress: true, egress }
}

/// Reads rules of a policy in one namespace.
struct RuleReader<'a> {
    namespace: &'a Arc<str>,
    problems: &'a mut Problems,
}

impl RuleReader<'_> {
    /// Reads the entries of a rule list; one that cannot be read allows nothing and is left out.
    fn rules<T>(
        &mut self,
        list: &List<T>,
        at: &Path<'_>,
        read: fn(&mut Self, &T, &Path<'_>) -> Option<PolicyRule>,
    ) -> Vec<PolicyRule> {
        self.entries(list, at, "rule", read).unwrap_or_default()
    }

    fn ingress(&mut self, rule: &IngressRule, at: &Path<'_>) -> Option<PolicyRule> {
        self.rule(&rule.from, &at.field("from"), &rule.ports, &rule.unknown, at)
    }

    fn egress(&mut self, rule: &EgressRule, at: &Path<'_>) -> Option<PolicyRule> {
        self.rule(&rule.to, &at.field("to"), &rule.ports, &rule.unknown, at)
    }

    fn rule(
        &mut self,
        peers: &List<PeerSpec>,
        peers_at: &Path<'_>,
        ports: &List<PortSpec>,
        unknown: &Unknown,
        at: &Path<'_>,
    ) -> Option<PolicyRule> {
        let known = unknown.none(at, self.problems);
        let peers = self
            .entries(peers, peers_at, "peer", |reader, spec, at| {
                peer(spec, reader.namespace, at, reader.problems)
            })
            .map_or(Peers::Any, Peers::Listed);
        let ports = self
            .entries(ports, &at.field("ports"), "port", |reader, spec, at| port(spec, at, reader.problems))
            .map_or(Ports::Any, Ports::Listed);
        known.then_some(PolicyRule { peers, ports })
    }

    /// Reads the entries of a list and leaves out those that are not usable. `None` when nothing is written; a list
    /// of the wrong type is a list without a usable entry.
    fn entries<T, U>(
        &mut self,
        list: &List<T>,
        at: &Path<'_>,
        what: &str,
        read: fn(&mut Self, &T, &Path<'_>) -> Option<U>,
    ) -> Option<Vec<U>> {
        let list = match list {
            Field::Absent => return None,
            Field::Given(list) if list.is_empty() => return None,
            Field::Given(list) => list,
            Field::Wrong(reason) => {
                self.problems.add(at, reason.as_str());
                return Some(Vec::new());
            }
        };
        let mut usable = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let at = at.index(index);
            let reason = match entry {
                Field::Given(entry) => {
                    usable.extend(read(self, entry, &at));
                    continue;
                }
                Field::Absent => format!("null is not a {what}"),
                Field::Wrong(reason) => String::clone(reason),
            };
            self.problems.add(&at, reason);
        }
        Some(usable)
    }
}
