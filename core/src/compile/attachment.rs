//! Local attachments: who they are, which policies judge them, and the chains that do it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};

use super::policy_chain::ChainKey;
use super::skeleton::{Origin, jump, neighbours, rule};
use crate::model::{Attachment, BridgeNetwork, Direction, NamespacedName, Pod, Policy};
use crate::ruleset::{Chain, ChainName, ChainSpec, Expr, Rule, Verdict, comment, fingerprint, readable};
use crate::world::World;

/// Names one attachment of one pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AttachmentId {
    /// The pod.
    pub(crate) pod: NamespacedName,
    /// The network.
    pub(crate) network: NamespacedName,
    /// The interface's name in the pod.
    pub(crate) interface: Arc<str>,
    /// Tells apart entries that are alike in all of the above.
    pub(crate) ordinal: u16,
}

/// An attachment of a pod of this node to a managed network.
#[derive(Clone, Debug)]
pub(crate) struct Local<'a> {
    pub(crate) id: AttachmentId,
    pub(crate) attachment: &'a Attachment,
    pub(crate) bridge: &'a BridgeNetwork,
    pub(crate) pod: &'a Pod,
}

/// The attachments of `pod` that are enforced on `node`.
pub(crate) fn locals<'a>(world: &'a World, node: &str, pod: &'a Pod) -> Vec<Local<'a>> {
    let mut locals: Vec<Local<'a>> = Vec::new();
    if pod.node.as_deref() != Some(node) {
        return locals;
    }
    for attachment in &pod.attachments {
        let Some(bridge) = world.bridge(&attachment.network) else { continue };
        let alike = |local: &&Local<'_>| {
            local.id.network == attachment.network && local.id.interface == attachment.interface
        };
        let ordinal = u16::try_from(locals.iter().filter(alike).count()).unwrap_or(u16::MAX);
        let id = AttachmentId {
            pod: pod.id.clone(),
            network: attachment.network.clone(),
            interface: attachment.interface.clone(),
            ordinal,
        };
        locals.push(Local { id, attachment, bridge, pod });
    }
    locals
}

/// How one attachment is judged: per direction the chains of the policies that select it, sorted; `None` where it is not
/// isolated.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Judgement {
    pub(crate) egress: Option<Vec<ChainKey>>,
    pub(crate) ingress: Option<Vec<ChainKey>>,
}

impl Judgement {
    /// The judgement of `local` by those of `policies` that select it. The policies are of the pod's namespace.
    pub(crate) fn new(local: &Local<'_>, policies: &[&Policy]) -> Self {
        let mut judgement = Self::default();
        for policy in policies {
            let named = policy.networks.binary_search(&local.attachment.network).is_ok();
            if !named || !policy.selector.matches(&local.pod.labels) {
                continue;
            }
            for direction in Direction::ALL {
                if policy.rules(direction).is_some() {
                    let chains = judgement.chains_mut(direction).get_or_insert_default();
                    chains.push(ChainKey::new(policy, direction, local.pod));
                }
            }
        }
        for chains in [&mut judgement.egress, &mut judgement.ingress].into_iter().flatten() {
            chains.sort_unstable();
        }
        judgement
    }

    /// The policies' chains for `direction`.
    pub(crate) fn chains(&self, direction: Direction) -> Option<&[ChainKey]> {
        match direction {
            Direction::Egress => self.egress.as_deref(),
            Direction::Ingress => self.ingress.as_deref(),
        }
    }

    fn chains_mut(&mut self, direction: Direction) -> &mut Option<Vec<ChainKey>> {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }

    /// Whether no policy selects the attachment.
    pub(crate) fn is_free(&self) -> bool {
        self.egress.is_none() && self.ingress.is_none()
    }

    /// What the dispatch maps say for the attachment's port (or MAC) in `direction`.
    pub(crate) fn verdict(&self, id: &AttachmentId, direction: Direction) -> Verdict {
        if self.is_free() {
            Verdict::Accept
        } else if self.chains(direction).is_some() {
            Verdict::Goto(id.chain(direction))
        } else {
            Verdict::Goto(origin(direction).unjudged_chain())
        }
    }
}

/// Who begins the flows whose first packet is judged in `direction`.
const fn origin(direction: Direction) -> Origin {
    match direction {
        Direction::Egress => Origin::Started,
        Direction::Ingress => Origin::Admitted,
    }
}

impl AttachmentId {
    /// The name of the chain that judges this attachment in `direction`.
    pub(crate) fn chain(&self, direction: Direction) -> ChainName {
        let way = match direction {
            Direction::Egress => "out",
            Direction::Ingress => "in",
        };
        let hash = fingerprint(&format!("{self:?}"));
        ChainName::new(format!("{way}/{hash}-{}", readable(&format!("{}/{}", self.pod, self.interface), 150)))
    }

    /// The chain itself: replies, neighbour discovery, what some policy allows, and nothing else.
    pub(crate) fn judging_chain(&self, direction: Direction, policies: &[ChainKey]) -> Chain {
        let replies = origin(direction.reverse()).replies_chain();
        let mut rules: Vec<Rule> = vec![jump(replies), jump(neighbours())];
        rules.extend(policies.iter().map(|key| jump(key.name())));
        rules.push(rule(vec![Expr::Counter, Expr::Verdict(Verdict::Drop)]));
        let text = format!("{direction} of pod {} at {} on {}", self.pod, self.interface, self.network);
        Chain { spec: ChainSpec { base: None, comment: comment(&text) }, rules }
    }
}
