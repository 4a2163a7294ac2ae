//! Local attachments: who they are, which policies judge them, and the chains that do it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::IpAddr;

use super::chain_key::{ChainKey, Purpose};
use super::guard::{OwnValue, guard_of, guarded, guarded_verdict, own_values};
use super::logging::{self, Logging, Place};
use super::skeleton::{
    self, ICMP6_ADVERTISEMENT, ICMP6_SOLICITATION, accept, arp_request, goto, icmp6, jump, multicast, rule,
};
use super::tracking::{self, Origin};
use crate::config::{Config, LogSettings};
use crate::model::{Attachment, BridgeNetwork, Direction, Guard, LogWish, NamespacedName, Pod, Policy};
use crate::ruleset::{
    Chain, ChainName, ChainSpec, Datum, Expr, Field, Rule, Verdict, comment, fingerprint, readable,
};
use crate::sighting::Action;
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
    pub(crate) guard: Option<Guard>,
    pub(crate) logging: Logging,
}

/// The attachments of `pod` that are enforced on the configured node.
pub(crate) fn locals<'a>(world: &'a World, config: &Config, pod: &'a Pod) -> Vec<Local<'a>> {
    let mut locals: Vec<Local<'a>> = Vec::new();
    if pod.node.as_deref() != Some(&*config.node) {
        return locals;
    }
    let logging = Logging::of(world, config, pod);
    let mut alike: BTreeMap<(&NamespacedName, &Arc<str>), u16> = BTreeMap::new();
    for attachment in &pod.attachments {
        let Some(bridge) = world.bridge(&attachment.network) else { continue };
        let next = alike.entry((&attachment.network, &attachment.interface)).or_default();
        let ordinal = *next;
        *next = next.saturating_add(1);
        let id = AttachmentId {
            pod: pod.id.clone(),
            network: attachment.network.clone(),
            interface: attachment.interface.clone(),
            ordinal,
        };
        let guard = guard_of(attachment, bridge, config);
        locals.push(Local { id, attachment, bridge, pod, guard, logging });
    }
    locals
}

/// How one attachment is enforced: everything that exists for it in the table, but for its ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Enforcement {
    /// Its own chains.
    pub(crate) chains: BTreeMap<ChainName, Chain>,
    /// The policies' chains that they lead to.
    pub(crate) policies: BTreeSet<ChainKey>,
    /// What its policies make the dispatch maps say for it, in the order of [`Direction::ALL`]; then for the frames that
    /// go up to the node.
    pub(crate) verdicts: [Verdict; 3],
    /// Whether its ports are guarded.
    guard: Option<Guard>,
    /// What its ports may send with, where they are guarded.
    pub(crate) own: BTreeSet<OwnValue>,
}

impl Default for Enforcement {
    /// That of an attachment that no policy selects.
    fn default() -> Self {
        Self {
            chains: BTreeMap::new(),
            policies: BTreeSet::new(),
            verdicts: [Verdict::Accept, Verdict::Accept, Verdict::Accept],
            guard: None,
            own: BTreeSet::new(),
        }
    }
}

impl Enforcement {
    /// The enforcement of `local` by those of `policies` that select it. The policies are of the pod's namespace.
    pub(crate) fn new(local: &Local<'_>, policies: &[&Policy]) -> Self {
        let selecting: Vec<&Policy> = policies
            .iter()
            .filter(|policy| policy.networks.binary_search(&local.attachment.network).is_ok())
            .filter(|policy| policy.selector.matches(&local.pod.labels))
            .copied()
            .collect();
        let of = |direction: Direction| {
            let isolating = selecting.iter().filter(|policy| policy.rules(direction).is_some());
            let isolating: Vec<&Policy> = isolating.copied().collect();
            (!isolating.is_empty()).then_some(isolating)
        };
        let own = own_values(local.attachment, local.guard);
        let enforcement = Self { guard: local.guard, own, ..Self::default() };
        let mut writer = Writer { local, policies: Direction::ALL.map(of), enforcement };
        if !selecting.is_empty() {
            let [egress, ingress] = Direction::ALL.map(|direction| writer.direction(direction));
            writer.enforcement.verdicts = [egress, ingress, writer.to_node()];
        }
        writer.enforcement
    }

    /// What the dispatch maps say for its ports, in the same order.
    pub(crate) fn port_verdicts(&self) -> [Verdict; 3] {
        let [egress, ingress, to_node] = self.verdicts.clone();
        [self.guard.map_or(egress.clone(), |guard| guarded_verdict(guard, &egress)), ingress, to_node]
    }

    /// Whether frames of the attachment are told of with these words.
    pub(crate) fn tells(&self, place: Place<'_>) -> bool {
        match place.action() {
            Action::Allow => !self.deciding(place).is_empty(),
            Action::Drop => {
                let stem = place.stem();
                let first = self.chains.range(ChainName::new(stem)..).next();
                first.is_some_and(|(name, _)| name.as_str().starts_with(stem))
            }
        }
    }

    /// The policies that decide about the frames that are told of with these words.
    pub(crate) fn deciding(&self, place: Place<'_>) -> Vec<NamespacedName> {
        let keys = self.policies.iter().filter(|key| key.direction == place.direction());
        let keys = keys.filter(|key| match (place.action(), key.purpose) {
            (Action::Allow, Purpose::Begun(_)) => key.stem() == place.stem(),
            (Action::Drop, Purpose::Logged(_) | Purpose::Original) => true,
            (Action::Allow | Action::Drop, _) => false,
        });
        keys.map(|key| key.policy.clone()).collect()
    }

    /// Whether the policies do nothing with the attachment's frames.
    pub(crate) fn is_free(&self) -> bool {
        self.verdicts == Self::default().verdicts
    }
}

struct Writer<'a> {
    local: &'a Local<'a>,
    /// The policies that isolate each direction, in the order of [`Direction::ALL`].
    policies: [Option<Vec<&'a Policy>>; 2],
    enforcement: Enforcement,
}

impl Writer<'_> {
    /// Writes the chains for one direction, and returns what leads to them.
    fn direction(&mut self, direction: Direction) -> Verdict {
        let judged = self.is_isolated(direction);
        if !judged && !self.is_isolated(direction.reverse()) {
            return Verdict::Accept;
        }
        if !judged {
            return Verdict::Goto(Origin::of(direction).unjudged_chain());
        }
        let guard = self.local.guard.filter(|_| direction == Direction::Egress).map(guarded);
        let mut rules: Vec<Rule> = guard.into_iter().chain(self.replies(direction)).collect();
        rules.push(jump(skeleton::always(direction)));
        if self.local.bridge.dhcp {
            rules.push(jump(skeleton::dhcp_client(direction)));
        }
        let near = self.near(direction);
        for kind in [
            vec![Expr::is(Field::NetworkProtocol, Datum::ARP)],
            icmp6(ICMP6_SOLICITATION),
            icmp6(ICMP6_ADVERTISEMENT),
        ] {
            rules.push(goto_when(kind, near.clone()));
        }
        match self.wished(direction) {
            Some((LogWish::All, settings)) => {
                rules.extend(self.jumps(direction, Purpose::Logged(settings)));
                // These lead on to others, which nobody else leads to.
                let begun = self.keys(direction, Purpose::Begun(settings));
                self.enforcement.policies.extend(begun);
            }
            Some((LogWish::Drop, _)) | None => rules.extend(self.jumps(direction, Purpose::Original)),
        }
        Verdict::Goto(self.add(direction, "", rules, true))
    }

    /// What records the frames that go up to the node: only where the node's replies are judged.
    fn to_node(&self) -> Verdict {
        if self.is_isolated(Direction::Ingress) {
            Verdict::Goto(tracking::node_chain())
        } else {
            Verdict::Accept
        }
    }

    /// What is logged of the attachment's frames in `direction`, and how.
    fn wished(&self, direction: Direction) -> Option<(LogWish, LogSettings)> {
        self.local.logging.wished(self.isolating(direction)?)
    }

    fn is_isolated(&self, direction: Direction) -> bool {
        self.isolating(direction).is_some()
    }

    fn isolating(&self, direction: Direction) -> Option<&[&Policy]> {
        let [egress, ingress] = &self.policies;
        match direction {
            Direction::Egress => egress.as_deref(),
            Direction::Ingress => ingress.as_deref(),
        }
    }

    /// The rules that pass replies that travel in `direction`. Where the original direction is judged too, a reply passes
    /// only as long as its policies allow the flow: what is revoked ends in both directions at once.
    fn replies(&mut self, direction: Direction) -> Vec<Rule> {
        let original = direction.reverse();
        if self.is_isolated(original) {
            self.jumps(original, Purpose::Reply)
        } else {
            vec![jump(Origin::of(original).replies_chain())]
        }
    }

    /// Writes the chains that judge ARP and neighbour discovery in `direction`, and returns the name of the first.
    fn near(&mut self, direction: Direction) -> ChainName {
        let purpose = match direction {
            Direction::Egress => Purpose::ToPeer,
            Direction::Ingress => Purpose::FromPeer,
        };
        let sought = self.jumps(direction, purpose);
        let seek = self.add(direction, "-seek", sought, true);
        let mut rules = self.announcements(direction);
        rules.extend(
            self.discoveries(direction).into_iter().map(|discovery| goto_when(discovery, seek.clone())),
        );
        if self.is_isolated(direction.reverse()) {
            rules.extend(self.jumps(direction, purpose));
            rules.extend(self.jumps(direction.reverse(), purpose));
            self.add(direction, "-near", rules, true)
        } else {
            rules.push(accept(Vec::new()));
            self.add(direction, "-near", rules, false)
        }
    }

    /// The attachment's own announcements, which always pass: who asks for an address of its own, or advertises to all.
    fn announcements(&self, direction: Direction) -> Vec<Rule> {
        if direction == Direction::Ingress {
            return Vec::new();
        }
        let arp = || Expr::is(Field::NetworkProtocol, Datum::ARP);
        let mut rules: Vec<Rule> =
            self.own_ip4(Field::ArpTargetIp).map(|own| accept(vec![arp(), own])).collect();
        if rules.is_empty() {
            rules.extend(skeleton::claims());
        }
        let mut advertisement = icmp6(ICMP6_ADVERTISEMENT);
        advertisement.push(multicast());
        rules.push(accept(advertisement));
        rules
    }

    /// The frames by which somebody looks for a neighbour: of those to the attachment, the ones that look for it.
    fn discoveries(&self, direction: Direction) -> Vec<Vec<Expr>> {
        let request = || {
            let mut request = arp_request();
            request.push(multicast());
            request
        };
        let mut solicitation = icmp6(ICMP6_SOLICITATION);
        solicitation.push(multicast());
        let own: Vec<Expr> = self.own_ip4(Field::ArpTargetIp).collect();
        let mut discoveries: Vec<Vec<Expr>> = match direction {
            Direction::Ingress if !own.is_empty() => {
                own.into_iter().map(|own| request().into_iter().chain([own]).collect()).collect()
            }
            Direction::Egress | Direction::Ingress => vec![request()],
        };
        discoveries.push(solicitation);
        discoveries
    }

    /// The conditions that an ARP address is one of the attachment's own.
    fn own_ip4(&self, field: Field) -> impl Iterator<Item = Expr> {
        self.local.attachment.addresses.iter().filter_map(move |address| match address {
            IpAddr::V4(address) => Some(Expr::is(field, Datum::Ip4(*address))),
            IpAddr::V6(_) => None,
        })
    }

    /// Jumps to the chains that the policies isolating `direction` have for `purpose`, which come into use by it.
    fn jumps(&mut self, direction: Direction, purpose: Purpose) -> Vec<Rule> {
        let keys = self.keys(direction, purpose);
        let jumps = keys.iter().map(|key| jump(key.name())).collect();
        self.enforcement.policies.extend(keys);
        jumps
    }

    /// The chains that the policies isolating `direction` have for `purpose`.
    fn keys(&self, direction: Direction, purpose: Purpose) -> Vec<ChainKey> {
        let policies = self.isolating(direction).unwrap_or_default().iter();
        let mut keys: Vec<ChainKey> =
            policies.map(|policy| ChainKey::new(policy, direction, purpose, self.local.pod)).collect();
        keys.sort_unstable();
        keys
    }

    /// Adds a chain of the attachment; one that judges ends by counting and dropping.
    fn add(&mut self, direction: Direction, suffix: &str, mut rules: Vec<Rule>, judges: bool) -> ChainName {
        let id = &self.local.id;
        if judges {
            let words = id.chain(direction, "");
            let told = |(_, settings)| rule(logging::told(settings, logging::DENIED, words.as_str()).into());
            rules.extend(self.wished(direction).map(told));
            rules.push(rule(vec![Expr::Counter, Expr::Verdict(Verdict::Drop)]));
        }
        let text = format!("{direction}{suffix} of pod {} at {} on {}", id.pod, id.interface, id.network);
        let name = id.chain(direction, suffix);
        let spec = ChainSpec { base: None, comment: comment(&text) };
        self.enforcement.chains.insert(name.clone(), Chain { spec, rules });
        name
    }
}

fn goto_when(mut conditions: Vec<Expr>, chain: ChainName) -> Rule {
    conditions.extend(goto(chain).exprs);
    rule(conditions)
}

/// Whose frames a chain judges.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Judged {
    /// The pod.
    pub pod: NamespacedName,
    /// The network that the pod is attached to.
    pub network: NamespacedName,
    /// The interface's name in the pod.
    pub interface: Arc<str>,
    /// What it sends (egress), or what it gets.
    pub direction: Direction,
}

impl AttachmentId {
    /// Whose frames `chain`, one of this attachment, judges.
    pub(crate) fn judged(&self, chain: &ChainName) -> Judged {
        let is_egress = chain.as_str().starts_with(way(Direction::Egress));
        self.judged_in(if is_egress { Direction::Egress } else { Direction::Ingress })
    }

    /// Whose frames are judged in `direction`.
    pub(crate) fn judged_in(&self, direction: Direction) -> Judged {
        Judged {
            pod: self.pod.clone(),
            network: self.network.clone(),
            interface: self.interface.clone(),
            direction,
        }
    }

    /// The name of a chain of this attachment.
    fn chain(&self, direction: Direction, suffix: &str) -> ChainName {
        let hash = fingerprint(&format!("{self:?}"));
        let attachment = readable(&format!("{}/{}", self.pod, self.interface), 150);
        ChainName::new(format!("{}/{hash}-{attachment}{suffix}", way(direction)))
    }
}

/// How the names of an attachment's chains for `direction` begin.
pub(super) const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Egress => "out",
        Direction::Ingress => "in",
    }
}
