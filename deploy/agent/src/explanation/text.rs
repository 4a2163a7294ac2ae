//! An explanation as text: the verdict first, then the reasons, each a step deeper.

use core::fmt::{Display, Formatter, Result};

use super::{Explanation, Flow, Party, PeerView, PolicyView, RuleView, View};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (at, flow) in self.flows.iter().enumerate() {
            let Flow { from, to, allowed, egress, ingress } = flow;
            let separator = if at > 0 { "\n" } else { "" };
            let verdict = if *allowed { "allowed" } else { "denied" };
            writeln!(f, "{separator}{} from {from} to {to}: {verdict}", self.service)?;
            direction(f, "egress", from, egress.as_ref())?;
            direction(f, "ingress", to, ingress.as_ref())?;
        }
        Ok(())
    }
}

impl Display for Party {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match (&self.pod, &self.network) {
            (Some(pod), Some(network)) => {
                let interface = self.interface.as_deref().filter(|name| !name.is_empty());
                let at = interface.map(|name| format!("@{name}")).unwrap_or_default();
                write!(f, "{}{at} ({} on {})", pod.0, self.address, network.0)
            }
            _ => write!(f, "{}", self.address),
        }
    }
}

fn direction(f: &mut Formatter<'_>, name: &str, party: &Party, view: Option<&View>) -> Result {
    let Some(view) = view else {
        return writeln!(f, "  {name}: {} is no known pod, so nothing is enforced there", party.address);
    };
    let verdict = if view.allowed { "allowed" } else { "denied" };
    writeln!(f, "  {name}: {verdict}, {}", view.reason)?;
    let exempt = view.standing == "exempt";
    for view in &view.policies {
        policy(f, view, exempt)?;
    }
    view.passed_over
        .iter()
        .try_for_each(|view| writeln!(f, "    policy {} does not apply: {}", view.policy.0, view.reason))
}

fn policy(f: &mut Formatter<'_>, view: &PolicyView, exempt: bool) -> Result {
    let place = view.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    let says = match (view.allows, view.rules.is_empty()) {
        _ if exempt => "isolates it, and is not asked",
        (true, _) => "allows it",
        (false, true) => "has no usable rule for this direction",
        (false, false) => "does not allow it",
    };
    writeln!(f, "    policy {}{place} {says}", view.policy.0)?;
    view.rules.iter().try_for_each(|view| rule(f, view))?;
    view.problems.iter().try_for_each(|problem| writeln!(f, "      problem: {problem}"))
}

fn rule(f: &mut Formatter<'_>, view: &RuleView) -> Result {
    let path = view.path.as_deref().unwrap_or("rule");
    let says = match (view.allows, view.peers.is_empty()) {
        (true, _) => "allows it",
        (false, true) => "has no usable peer, so it is for nobody",
        (false, false) => "does not allow it",
    };
    writeln!(f, "      {path} {says}")?;
    view.peers.iter().try_for_each(|view| peer(f, view))
}

fn peer(f: &mut Formatter<'_>, view: &PeerView) -> Result {
    let path = view.path.as_ref().map(|path| format!("{path}, ")).unwrap_or_default();
    writeln!(f, "        {} {path}{}: {}", mark(view.fits), view.peer, view.reason)?;
    if view.fits && view.ports.is_empty() {
        writeln!(f, "          - the rule has no usable port entry, so it is for none")?;
    }
    view.ports.iter().try_for_each(|view| {
        let path = view.path.as_ref().map(|path| format!("{path}, ")).unwrap_or_default();
        writeln!(f, "          {} {path}{}: {}", mark(view.fits), view.port, view.reason)
    })
}

/// What stands before a finding.
const fn mark(fits: bool) -> char {
    if fits { '+' } else { '-' }
}
