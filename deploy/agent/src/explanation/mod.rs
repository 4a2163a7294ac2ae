//! An explanation as it is shown: the core's traces with field paths, places in files and words. Its JSON form is an
//! interface: fields are added, not changed.

mod text;

use anyhow::{Result, ensure};
use policy_core::explain::{
    Bench, Conversation, End, PeerTrace, Places, PolicyTrace, PortFit, PortTrace, RuleTrace, Side, Standing,
    Trace, trace,
};
use policy_core::frame::FrameSpec;
use policy_core::model::{Direction, NamespacedName, ObjectId, Peers, PolicyRule, Ports};
use policy_core::{Config, World};
use serde::Serialize;

use crate::manifests::Manifests;
use crate::words;

/// The answer to one question.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// The service asked for.
    pub(crate) service: String,
    /// Each family of addresses.
    pub(crate) flows: Vec<Flow>,
}

/// One pair of addresses.
#[derive(Debug, Serialize)]
pub(crate) struct Flow {
    from: Party,
    to: Party,
    /// Whether the first packet arrives; replies to it then pass as well.
    allowed: bool,
    /// What the sender's policies say; nothing when it is no pod.
    egress: Option<View>,
    /// What the receiver's policies say; nothing when it is no pod.
    ingress: Option<View>,
}

/// One end of a flow.
#[derive(Debug, Serialize)]
struct Party {
    pod: Option<NameText>,
    interface: Option<String>,
    network: Option<NameText>,
    address: String,
}

/// A name as `namespace/name`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct NameText(String);

impl From<&NamespacedName> for NameText {
    fn from(name: &NamespacedName) -> Self {
        Self(name.to_string())
    }
}

/// What the policies of one end say.
#[derive(Debug, Serialize)]
struct View {
    allowed: bool,
    /// `free`, `guarded`, `isolated`, `exempt`, `quarantined` or `unenforced`.
    standing: &'static str,
    reason: String,
    /// The policies that isolate the end.
    policies: Vec<PolicyView>,
    /// The other policies of the pod's namespace.
    passed_over: Vec<PassedOverView>,
}

/// A policy that isolates the end.
#[derive(Debug, Serialize)]
struct PolicyView {
    policy: NameText,
    /// `file:line:column`.
    place: Option<String>,
    allows: bool,
    /// Its rules; none are listed when the frame passes whatever they say.
    rules: Vec<RuleView>,
    /// What in the policy cannot be used, and therefore matches nothing.
    problems: Vec<String>,
}

/// A rule.
#[derive(Debug, Serialize)]
struct RuleView {
    path: Option<String>,
    place: Option<String>,
    allows: bool,
    peers: Vec<PeerView>,
}

/// A peer of a rule.
#[derive(Debug, Serialize)]
struct PeerView {
    /// Nothing when the rule is for everyone.
    path: Option<String>,
    peer: String,
    fits: bool,
    /// Why, as a word.
    because: &'static str,
    /// Why, as a sentence.
    reason: String,
    /// The rule's ports; empty when the peer does not fit.
    ports: Vec<PortView>,
}

/// A port entry of a rule.
#[derive(Debug, Serialize)]
struct PortView {
    /// Nothing when the rule is for every port, or ports do not matter.
    path: Option<String>,
    port: String,
    fits: bool,
    because: &'static str,
    reason: String,
}

/// A policy that does not isolate the end.
#[derive(Debug, Serialize)]
struct PassedOverView {
    policy: NameText,
    because: &'static str,
    reason: String,
}

/// Makes explanations from manifests.
pub(crate) struct Explainer<'a> {
    pub(crate) manifests: &'a Manifests,
    pub(crate) world: &'a World,
    pub(crate) config: &'a Config,
}

impl Explainer<'_> {
    /// Explains one conversation. The verdict is the bench's.
    pub(crate) fn flow(&self, bench: &mut Bench, conversation: &Conversation) -> Result<Flow> {
        let Conversation { from, to, frame } = conversation;
        let egress = self.trace(from, Direction::Egress, frame);
        let ingress = self.trace(to, Direction::Ingress, frame);
        for (said, decided) in
            [(&egress, bench.egress(conversation)), (&ingress, bench.ingress(conversation))]
        {
            let said = said.as_ref().map(|(_, trace)| trace.passes());
            ensure!(
                said == decided,
                "the explanation contradicts the compiled ruleset; this is a defect of mnp-nft-bridge: please \
                 report it with these manifests"
            );
        }
        Ok(Flow {
            from: self.party(from),
            to: self.party(to),
            allowed: bench.allows(conversation),
            egress: egress.map(|(end, trace)| self.view(end, &trace)),
            ingress: ingress.map(|(end, trace)| self.view(end, &trace)),
        })
    }

    fn trace<'s>(&self, side: &'s Side, direction: Direction, frame: &FrameSpec) -> Option<(&'s End, Trace)> {
        let end = side.end.as_ref()?;
        Some((end, trace(self.world, self.config, end, direction, frame)?))
    }

    fn party(&self, side: &Side) -> Party {
        let found = side.end.as_ref().and_then(|end| end.find(self.world));
        Party {
            pod: found.map(|(pod, _)| (&pod.id).into()),
            interface: found.map(|(_, attachment)| attachment.interface.to_string()),
            network: found.map(|(_, attachment)| (&attachment.network).into()),
            address: side.address.to_string(),
        }
    }

    fn view(&self, end: &End, trace: &Trace) -> View {
        let (standing, reason) = match &trace.standing {
            Standing::Free => ("free", "no policy isolates it".to_owned()),
            Standing::Guarded(breach) => ("guarded", format!("the network's guard drops it: {breach}")),
            Standing::Isolated { exempt: Some(exempt), .. } => {
                ("exempt", format!("{exempt} passes whatever the policies say"))
            }
            Standing::Isolated { exempt: None, .. } if trace.passes() => {
                ("isolated", "a policy allows it".to_owned())
            }
            Standing::Isolated { exempt: None, .. } => {
                ("isolated", "it is isolated, and no policy allows this".to_owned())
            }
            Standing::Quarantined => (
                "quarantined",
                "its network status lists no mac, so nobody is known to own its bridge port, and such ports pass nothing"
                    .to_owned(),
            ),
            Standing::Unenforced(reason) => {
                let network = end.find(self.world).map(|(_, attachment)| &attachment.network);
                let reason = network.map(|network| words::unenforced(reason, network)).unwrap_or_default();
                ("unenforced", format!("nothing is enforced there: {reason}"))
            }
        };
        let policies = match &trace.standing {
            Standing::Isolated { policies, .. } => policies.as_slice(),
            Standing::Free | Standing::Guarded(_) | Standing::Quarantined | Standing::Unenforced(_) => &[],
        };
        let mut policies: Vec<PolicyView> = policies.iter().map(|policy| self.policy(policy)).collect();
        if standing == "exempt" {
            // Nobody asks the rules.
            for policy in &mut policies {
                policy.rules.clear();
            }
        }
        let passed_over = trace.passed_over.iter().map(|(policy, reason)| {
            let finding = words::passed_over(reason);
            PassedOverView { policy: policy.into(), because: finding.code, reason: finding.sentence }
        });
        View { allowed: trace.passes(), standing, reason, policies, passed_over: passed_over.collect() }
    }

    fn policy(&self, said: &PolicyTrace) -> PolicyView {
        let direction = said.direction;
        let latest = self.manifests.latest();
        let written = latest.get(&ObjectId::Policy(said.policy.clone())).copied();
        let policy = self.world.policy(&said.policy);
        let rules = policy.and_then(|policy| policy.rules(direction)).unwrap_or_default();
        let reader =
            RuleReader { direction, policy: &said.policy, places: self.manifests.places(&said.policy) };
        let views = said.rules.iter().filter_map(|rule| {
            let mut view = reader.rule(rules.get(rule.rule)?, rule);
            view.place = view.path.as_ref().and_then(|path| Some(written?.place(path)));
            Some(view)
        });
        PolicyView {
            policy: (&said.policy).into(),
            place: written.map(|written| written.place("")),
            allows: said.allows(),
            rules: views.collect(),
            problems: policy
                .map(|policy| policy.problems.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
        }
    }
}

/// Puts the rules of one policy into words.
struct RuleReader<'a> {
    direction: Direction,
    policy: &'a NamespacedName,
    places: Places,
}

impl RuleReader<'_> {
    fn rule(&self, rule: &PolicyRule, said: &RuleTrace) -> RuleView {
        RuleView {
            path: self.places.rule(self.direction, said.rule),
            place: None,
            allows: said.allows(),
            peers: said.peers.iter().map(|peer| self.peer(rule, said.rule, peer)).collect(),
        }
    }

    fn peer(&self, rule: &PolicyRule, index: usize, said: &PeerTrace) -> PeerView {
        let peer = match (&rule.peers, said.peer) {
            (Peers::Listed(peers), Some(at)) => peers.get(at),
            (Peers::Any | Peers::Listed(_), _) => None,
        };
        let finding = words::peer_fit(&said.fit, self.policy);
        PeerView {
            path: said.peer.and_then(|peer| self.places.peer(self.direction, index, peer)),
            peer: words::peer(peer),
            fits: said.fit.fits(),
            because: finding.code,
            reason: finding.sentence,
            ports: said.ports.iter().map(|port| self.port(rule, index, port)).collect(),
        }
    }

    fn port(&self, rule: &PolicyRule, index: usize, said: &PortTrace) -> PortView {
        let port = match (&rule.ports, said.port) {
            (Ports::Listed(ports), Some(at)) => ports.get(at),
            (Ports::Any | Ports::Listed(_), _) => None,
        };
        let finding = words::port_fit(&said.fit);
        PortView {
            path: said.port.and_then(|port| self.places.port(self.direction, index, port)),
            port: if said.fit == PortFit::Unasked { "any port".to_owned() } else { words::port(port) },
            fits: said.fit.fits(),
            because: finding.code,
            reason: finding.sentence,
        }
    }
}
