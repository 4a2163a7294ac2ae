//! From a parsed policy back to its text: which entry of which list a rule, a peer or a port was written as.
//!
//! Parsing leaves out what is not usable, so indexes shift. An entry is usable exactly when a policy of that entry alone
//! keeps it.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::model::{Direction, NamespacedName, Peers, PolicyRule, Ports};
use crate::spec::{EgressRule, Field, IngressRule, List, PeerSpec, PolicySpec, PortSpec, parse};

/// Where the usable rules of a policy are written.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Places {
    egress: Vec<RulePlace>,
    ingress: Vec<RulePlace>,
}

/// Indexes as written, by index as parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct RulePlace {
    rule: usize,
    peers: Vec<usize>,
    ports: Vec<usize>,
}

impl Places {
    /// The places of `spec`.
    pub fn new(spec: &Field<PolicySpec>) -> Self {
        let Field::Given(spec) = spec else { return Self::default() };
        let egress = places(&spec.egress, |rule| {
            let place = (usable(&rule.to, peer_alone), usable(&rule.ports, port_alone));
            alone_egress(rule).map(|_| place)
        });
        let ingress = places(&spec.ingress, |rule| {
            let place = (usable(&rule.from, peer_alone), usable(&rule.ports, port_alone));
            alone_ingress(rule).map(|_| place)
        });
        Self { egress, ingress }
    }

    /// The path of the `rule`th usable rule for `direction`.
    pub fn rule(&self, direction: Direction, rule: usize) -> Option<String> {
        Some(format!("spec.{direction}[{}]", self.place(direction, rule)?.rule))
    }

    /// The path of the `peer`th usable peer of a rule.
    pub fn peer(&self, direction: Direction, rule: usize, peer: usize) -> Option<String> {
        let field = match direction {
            Direction::Egress => "to",
            Direction::Ingress => "from",
        };
        let at = self.place(direction, rule)?.peers.get(peer)?;
        Some(format!("{}.{field}[{at}]", self.rule(direction, rule)?))
    }

    /// The path of the `port`th usable port entry of a rule.
    pub fn port(&self, direction: Direction, rule: usize, port: usize) -> Option<String> {
        let at = self.place(direction, rule)?.ports.get(port)?;
        Some(format!("{}.ports[{at}]", self.rule(direction, rule)?))
    }

    fn place(&self, direction: Direction, rule: usize) -> Option<&RulePlace> {
        match direction {
            Direction::Egress => self.egress.get(rule),
            Direction::Ingress => self.ingress.get(rule),
        }
    }
}

/// The places of the usable rules of a list.
fn places<R>(list: &List<R>, place: impl Fn(&R) -> Option<(Vec<usize>, Vec<usize>)>) -> Vec<RulePlace> {
    let rules = list.given().map_or(&[][..], Vec::as_slice).iter().enumerate();
    let rules = rules.filter_map(|(rule, written)| {
        let (peers, ports) = place(written.given()?)?;
        Some(RulePlace { rule, peers, ports })
    });
    rules.collect()
}

/// The indexes of the usable entries of a list.
fn usable<T: Clone>(list: &List<T>, is_usable: fn(T) -> bool) -> Vec<usize> {
    let entries = list.given().map_or(&[][..], Vec::as_slice).iter().enumerate();
    let entries = entries.filter(|(_, entry)| entry.given().is_some_and(|entry| is_usable(entry.clone())));
    entries.map(|(index, _)| index).collect()
}

fn peer_alone(peer: PeerSpec) -> bool {
    let rule = IngressRule { from: only(peer), ..IngressRule::default() };
    alone_ingress(&rule).is_some_and(|rule| matches!(rule.peers, Peers::Listed(peers) if !peers.is_empty()))
}

fn port_alone(port: PortSpec) -> bool {
    let rule = IngressRule { ports: only(port), ..IngressRule::default() };
    alone_ingress(&rule).is_some_and(|rule| matches!(rule.ports, Ports::Listed(ports) if !ports.is_empty()))
}

fn alone_ingress(rule: &IngressRule) -> Option<PolicyRule> {
    let spec = PolicySpec { ingress: only(rule.clone()), ..PolicySpec::default() };
    parse(NamespacedName::new("", ""), None, &Field::Given(spec)).ingress?.pop()
}

fn alone_egress(rule: &EgressRule) -> Option<PolicyRule> {
    let spec = PolicySpec { egress: only(rule.clone()), ..PolicySpec::default() };
    parse(NamespacedName::new("", ""), None, &Field::Given(spec)).egress?.pop()
}

fn only<T>(entry: T) -> List<T> {
    Field::Given(vec![Field::Given(entry)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(spec: &str) -> Places {
        Places::new(&serde_json::from_str(spec).expect("the test's JSON"))
    }

    #[test]
    fn entries_keep_their_written_place_when_others_are_left_out() {
        let places = places(
            r#"{"ingress": [null, {"form": []}, {"from": [{"ipBlock": {"cidr": "x"}}, {"podSelector": {}}],
                "ports": [{"port": 0}, null, {"port": 80}]}],
                "egress": [{"to": [null, {"namespaceSelector": {}}], "ports": [{"protocol": "tcp"}, {}]}]}"#,
        );
        assert_eq!(places.rule(Direction::Ingress, 0).as_deref(), Some("spec.ingress[2]"));
        assert_eq!(places.peer(Direction::Ingress, 0, 0).as_deref(), Some("spec.ingress[2].from[1]"));
        assert_eq!(places.port(Direction::Ingress, 0, 0).as_deref(), Some("spec.ingress[2].ports[2]"));
        assert_eq!(places.peer(Direction::Egress, 0, 0).as_deref(), Some("spec.egress[0].to[1]"));
        assert_eq!(places.port(Direction::Egress, 0, 0).as_deref(), Some("spec.egress[0].ports[1]"));
        assert_eq!(places.rule(Direction::Ingress, 1), None);
        assert_eq!(places.peer(Direction::Egress, 0, 1), None);
    }

    #[test]
    fn a_spec_that_is_no_object_has_no_places() {
        assert_eq!(places("7"), Places::default());
        assert_eq!(places(r#"{"ingress": 7, "egress": [{"to": 7, "ports": 7}]}"#).ingress, []);
    }
}
