//! The reasons: the policies of one end, read rule by rule.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use super::guard::breach;
use super::neighbours::Meeting;
use super::view::View;
use super::{
    End, Exempt, Identity, NotMeant, PassedOver, PeerFit, PeerTrace, PolicyTrace, PortFit, PortTrace,
    RuleTrace, Standing, Trace, Unenforced,
};
use crate::compile::quarantined_bridges;
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
        let quarantined = reason == Unenforced::NoMac && is_quarantined(world, config, attachment);
        trace.standing = if quarantined { Standing::Quarantined } else { Standing::Unenforced(reason) };
        return Some(trace);
    }
    let mut selecting = Vec::new();
    for policy in world.policies_in(&pod.id.namespace) {
        match selects(policy, pod, attachment) {
            Ok(()) => selecting.push(policy),
            Err(reason) => trace.passed_over.push((policy.id.clone(), reason)),
        }
    }
    let is_isolated = |direction: Direction| selecting.iter().any(|policy| policy.rules(direction).is_some());
    let view = View { direction, frame };
    let meeting = view.meeting(attachment);
    let mut asked = vec![direction];
    if is_isolated(direction) {
        let dhcp = world.bridge(&attachment.network).is_some_and(|bridge| bridge.dhcp);
        let mut exempt = view.exempt(attachment, dhcp, config);
        if exempt.is_none() && meeting == Some(Meeting::Renewal) {
            if is_isolated(direction.reverse()) {
                asked.push(direction.reverse());
            } else {
                exempt = Some(Exempt::FreeOtherDirection);
            }
        }
        let judge = Judge { world, view, pod, meeting, others: others(world, &view, meeting) };
        let rules = asked.iter().flat_map(|direction| {
            let judge = &judge;
            selecting
                .iter()
                .filter_map(move |policy| Some(judge.policy(policy, *direction, policy.rules(*direction)?)))
        });
        trace.standing = Standing::Isolated { exempt, policies: rules.collect() };
    }
    let silent = |policy: &&&Policy| asked.iter().all(|direction| policy.rules(*direction).is_none());
    let silent = selecting.iter().filter(silent);
    trace.passed_over.extend(silent.map(|policy| (policy.id.clone(), PassedOver::OtherDirection)));
    trace.passed_over.sort_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(bridge) = world.bridge(&attachment.network).filter(|_| direction == Direction::Egress)
        && let Some(breach) = breach(attachment, bridge, config, frame)
    {
        trace.standing = Standing::Guarded(breach);
    }
    Some(trace)
}

/// Whether an attachment whose port cannot be found is on a bridge whose unknown ports pass nothing.
fn is_quarantined(world: &World, config: &Config, attachment: &Attachment) -> bool {
    let bridge = world.bridge(&attachment.network).filter(|_| config.quarantine);
    bridge.is_some_and(|bridge| quarantined_bridges(world).contains(&bridge.bridge))
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

/// Whether a policy selects an attachment, or why it does not.
fn selects(policy: &Policy, pod: &Pod, attachment: &Attachment) -> Result<(), PassedOver> {
    if !policy.networks.contains(&attachment.network) {
        return Err(PassedOver::Network);
    }
    unmet(&policy.selector, &pod.labels).map_or(Ok(()), |requirement| Err(PassedOver::Labels(requirement)))
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

/// Every attachment that the frame's other end is known to be, or may be.
fn others<'a>(world: &'a World, view: &View<'_>, meeting: Option<Meeting>) -> Vec<Other<'a>> {
    let mut others = Vec::new();
    for pod in world.pods() {
        for (index, attachment) in pod.attachments.iter().enumerate() {
            if let Some(identity) = view.identity(attachment, meeting) {
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
    /// How the frame is judged, when it is ARP or neighbour discovery.
    meeting: Option<Meeting>,
    others: Vec<Other<'a>>,
}

impl Judge<'_> {
    fn policy(&self, policy: &Policy, direction: Direction, rules: &[PolicyRule]) -> PolicyTrace {
        let rules = rules.iter().enumerate().map(|(index, rule)| self.rule(policy, index, rule));
        PolicyTrace { policy: policy.id.clone(), direction, rules: rules.collect() }
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
            (Ports::Listed(_), true) if self.meeting.is_some() => {
                vec![PortTrace { port: None, fit: PortFit::Unasked }]
            }
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
        if block.contains(address) {
            return PeerFit::InBlock(address);
        }
        if let Some(fit) = self.view.near_block(block) {
            return fit;
        }
        let except = block.except().iter().find(|net| net.contains(&address));
        except.map_or(PeerFit::OutsideBlock(address), |net| PeerFit::Excepted(address, *net))
    }

    fn selected(&self, policy: &Policy, namespaces: &NamespaceScope, pods: &Selector) -> PeerFit {
        let mut reasons = Vec::new();
        for other in &self.others {
            match self.not_meant(policy, namespaces, pods, other) {
                None => return PeerFit::Selected(other.end.clone(), other.identity),
                // Anybody without addresses may be sought; that these are not meant explains nothing.
                Some(_) if other.identity == Identity::Unlisted => {}
                Some(reason) => reasons.push((other.end.clone(), reason)),
            }
        }
        if reasons.is_empty() { PeerFit::Nobody } else { PeerFit::NotMeant(reasons) }
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
