//! The reasons: the policies of one end, read rule by rule.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use super::view::View;
use super::{
    End, Identity, NotMeant, PassedOver, PeerFit, PeerTrace, PolicyTrace, PortFit, PortTrace, RuleTrace,
    Standing, Trace, Unenforced,
};
use crate::config::Config;
use crate::frame::FrameSpec;
use crate::model::{
    Attachment, Block, Direction, Labels, NamespaceScope, NetworkConfig, Peer, Peers, Pod, Policy,
    PolicyRule, PortMatch, PortNumbers, Ports, Requirement, Selector,
};
use crate::world::World;

/// What the policies that select `end` say about `frame` in `direction`; `None` when there is no such attachment.
pub fn trace(
    world: &World,
    config: &Config,
    end: &End,
    direction: Direction,
    frame: &FrameSpec,
) -> Option<Trace> {
    let (pod, attachment) = end.find(world)?;
    let mut trace = Trace { direction, standing: Standing::Free, passed_over: Vec::new() };
    if let Some(reason) = unenforced(world, attachment) {
        trace.standing = Standing::Unenforced(reason);
        return Some(trace);
    }
    let view = View { direction, frame };
    let judge = Judge { world, view, pod, others: others(world, &view) };
    let mut policies = Vec::new();
    for policy in world.policies_in(&pod.id.namespace) {
        match isolates(policy, direction, pod, attachment) {
            Ok(rules) => policies.push(judge.policy(policy, rules)),
            Err(reason) => trace.passed_over.push((policy.id.clone(), reason)),
        }
    }
    if !policies.is_empty() {
        trace.standing = Standing::Isolated { exempt: view.exempt(config), policies };
    }
    Some(trace)
}

/// Why nothing is enforced at an attachment, if so.
fn unenforced(world: &World, attachment: &Attachment) -> Option<Unenforced> {
    if world.bridge(&attachment.network).is_some() {
        return attachment.mac.is_none().then_some(Unenforced::NoMac);
    }
    Some(match world.network(&attachment.network) {
        Some(NetworkConfig::Other { plugin }) => Unenforced::OtherPlugin(plugin.clone()),
        Some(NetworkConfig::Unreadable { reason }) => Unenforced::Unreadable(reason.clone()),
        Some(NetworkConfig::Bridge(_)) | None => Unenforced::NoNetwork,
    })
}

/// The rules of a policy for an attachment that it isolates, or why it does not.
fn isolates<'p>(
    policy: &'p Policy,
    direction: Direction,
    pod: &Pod,
    attachment: &Attachment,
) -> Result<&'p [PolicyRule], PassedOver> {
    if !policy.networks.contains(&attachment.network) {
        return Err(PassedOver::Network);
    }
    if let Some(requirement) = unmet(&policy.selector, &pod.labels) {
        return Err(PassedOver::Labels(requirement));
    }
    policy.rules(direction).ok_or(PassedOver::OtherDirection)
}

/// The first requirement of `selector` that `labels` do not meet.
fn unmet(selector: &Selector, labels: &Labels) -> Option<Requirement> {
    selector.requirements().iter().find(|requirement| !requirement.matches(labels)).cloned()
}

/// An attachment that is the other end of the frame.
struct Other<'a> {
    end: End,
    pod: &'a Pod,
    attachment: &'a Attachment,
    identity: Identity,
}

/// Every attachment that the frame's other end is known to be.
fn others<'a>(world: &'a World, view: &View<'_>) -> Vec<Other<'a>> {
    let mut others = Vec::new();
    for pod in world.pods() {
        for (index, attachment) in pod.attachments.iter().enumerate() {
            if let Some(identity) = view.identity(attachment) {
                let end = End { pod: pod.id.clone(), attachment: index };
                others.push(Other { end, pod, attachment, identity });
            }
        }
    }
    others
}

struct Judge<'a> {
    world: &'a World,
    view: View<'a>,
    /// The pod whose policies judge.
    pod: &'a Pod,
    others: Vec<Other<'a>>,
}

impl Judge<'_> {
    fn policy(&self, policy: &Policy, rules: &[PolicyRule]) -> PolicyTrace {
        let rules = rules.iter().enumerate().map(|(index, rule)| self.rule(policy, index, rule));
        PolicyTrace { policy: policy.id.clone(), rules: rules.collect() }
    }

    fn rule(&self, policy: &Policy, index: usize, rule: &PolicyRule) -> RuleTrace {
        let peers = match &rule.peers {
            Peers::Any => vec![self.peer(policy, rule, None)],
            Peers::Listed(peers) => {
                peers.iter().enumerate().map(|peer| self.peer(policy, rule, Some(peer))).collect()
            }
        };
        RuleTrace { rule: index, peers }
    }

    fn peer(&self, policy: &Policy, rule: &PolicyRule, peer: Option<(usize, &Peer)>) -> PeerTrace {
        let fit = match peer {
            None => PeerFit::Everyone,
            Some((_, Peer::Block(block))) => self.block(block),
            Some((_, Peer::Pods { namespaces, pods })) => self.selected(policy, namespaces, pods),
        };
        let ports = match (&rule.ports, fit.fits()) {
            (_, false) => Vec::new(),
            (Ports::Any, true) => vec![PortTrace { port: None, fit: PortFit::Any }],
            (Ports::Listed(ports), true) => {
                let each = ports.iter().enumerate();
                let each = each.map(|(index, port)| PortTrace {
                    port: Some(index),
                    fit: self.port(policy, peer.map(|(_, peer)| peer), port),
                });
                each.collect()
            }
        };
        PeerTrace { peer: peer.map(|(index, _)| index), fit, ports }
    }

    fn block(&self, block: &Block) -> PeerFit {
        let Some(address) = self.view.other_address() else { return PeerFit::NoAddress };
        if !block.cidr().contains(&address) {
            return PeerFit::OutsideBlock(address);
        }
        let except = block.except().iter().find(|net| net.contains(&address));
        except.map_or(PeerFit::InBlock(address), |net| PeerFit::Excepted(address, *net))
    }

    fn selected(&self, policy: &Policy, namespaces: &NamespaceScope, pods: &Selector) -> PeerFit {
        if self.others.is_empty() {
            return PeerFit::Nobody;
        }
        let mut reasons = Vec::new();
        for other in &self.others {
            match self.not_meant(policy, namespaces, pods, other) {
                None => return PeerFit::Selected(other.end.clone(), other.identity),
                Some(reason) => reasons.push((other.end.clone(), reason)),
            }
        }
        PeerFit::NotMeant(reasons)
    }

    /// Why a selector peer does not stand for an attachment, if it does not.
    fn not_meant(
        &self,
        policy: &Policy,
        namespaces: &NamespaceScope,
        pods: &Selector,
        other: &Other<'_>,
    ) -> Option<NotMeant> {
        let namespace = &other.pod.id.namespace;
        match namespaces {
            NamespaceScope::Named(name) if name != namespace => return Some(NotMeant::NotInNamespace),
            NamespaceScope::Named(_) => {}
            NamespaceScope::Matching(selector) => {
                let Some(labels) = self.world.namespace(namespace) else {
                    return Some(NotMeant::UnknownNamespace);
                };
                if let Some(requirement) = unmet(selector, labels) {
                    return Some(NotMeant::NamespaceLabels(requirement));
                }
            }
        }
        if let Some(requirement) = unmet(pods, &other.pod.labels) {
            return Some(NotMeant::PodLabels(requirement));
        }
        let network = &other.attachment.network;
        (!policy.networks.contains(network)).then(|| NotMeant::Network(network.clone()))
    }

    fn port(&self, policy: &Policy, peer: Option<&Peer>, entry: &PortMatch) -> PortFit {
        let Some((protocol, port)) = self.view.service().filter(|(protocol, _)| *protocol == entry.protocol)
        else {
            return PortFit::OtherProtocol;
        };
        let number = |fits: bool| if fits { PortFit::Fits } else { PortFit::OtherNumber };
        let name = match &entry.numbers {
            PortNumbers::All => return PortFit::Fits,
            PortNumbers::Range(first, last) => return number((*first..=*last).contains(&port)),
            PortNumbers::Named(name) => name,
        };
        let receivers: Vec<&Pod> = match self.view.direction {
            Direction::Egress => self.receivers(policy, peer).collect(),
            Direction::Ingress => vec![self.pod],
        };
        let named = receivers.iter().flat_map(|pod| &pod.ports);
        let named = named.filter(|named| named.protocol == protocol && named.name == *name);
        let numbers: BTreeSet<u16> = named.map(|named| named.port).collect();
        if numbers.contains(&port) { PortFit::Fits } else { PortFit::NamedOtherwise(numbers) }
    }

    /// The known pods at the other end that `peer` covers: a name is resolved on these.
    fn receivers(&self, policy: &Policy, peer: Option<&Peer>) -> impl Iterator<Item = &Pod> {
        self.others.iter().filter_map(move |other| {
            let on_network = policy.networks.contains(&other.attachment.network);
            let covered = match peer {
                None => on_network,
                // A block covers addresses, and a MAC is none.
                Some(Peer::Block(_)) => on_network && other.identity != Identity::Mac,
                Some(Peer::Pods { namespaces, pods }) => {
                    self.not_meant(policy, namespaces, pods, other).is_none()
                }
            };
            covered.then_some(other.pod)
        })
    }
}
