//! The model's answer to a probe: its frames walk past the hooks of the nodes' tables, there and back.
//!
//! Addresses are taken as resolved: the frames of ARP are judged by the `arp` probe.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;

use policy_core::eval::{Decision, Flows, Passage, PortBridge, evaluate};

use crate::conversation::{End, Way, frames};
use crate::path::{Crossing, NodeView, crossings};
use crate::plan::{Station, StationId};
use crate::probe::{Outcome, Probe};
use crate::tagging::DEFAULT_VLAN;

/// The nodes' tables, and the ports that the stations are behind.
pub struct Fabric<'a> {
    /// The nodes that are built.
    pub nodes: &'a BTreeMap<String, NodeView<'a>>,
    /// Everyone who can be probed.
    pub stations: &'a BTreeMap<StationId, Station>,
}

/// What packets have put into the dynamic sets of each node.
pub(crate) type Memory<'a> = BTreeMap<&'a str, Flows>;

impl<'a> Fabric<'a> {
    /// What comes of each of `probes`; those with an end that is nowhere are left out.
    pub fn outcomes<'p>(&self, probes: impl IntoIterator<Item = &'p Probe>) -> BTreeMap<Probe, Outcome> {
        let outcome = |probe: &'p Probe| Some((probe.clone(), self.outcome(probe)?));
        probes.into_iter().filter_map(outcome).collect()
    }

    /// What comes of `probe`; `None` when an end of it is nowhere.
    pub fn outcome(&self, probe: &Probe) -> Option<Outcome> {
        let (from, to) = (self.stations.get(&probe.from)?, self.stations.get(&probe.to)?);
        let end =
            |station: &Station| End { mac: station.mac_on_bridge(), address: station.address(probe.family) };
        let mut memory = Memory::new();
        let mut arrived = false;
        let mut frames = frames(probe.kind, end(from), end(to))?.into_iter().peekable();
        while let Some((way, frame)) = frames.next() {
            let (sender, receiver) = match way {
                Way::Back => (to, from),
                Way::There => (from, to),
            };
            if !self.passes(&mut memory, sender, receiver, &frame)? {
                return Some(if arrived { Outcome::OneWay } else { Outcome::Closed });
            }
            // A datagram in fragments has arrived with the last of them.
            arrived |= frames.peek().is_none_or(|(next, _)| *next != way);
        }
        Some(Outcome::Open)
    }

    /// Whether a frame passes every hook on its way; `None` when an end of it is nowhere.
    pub(crate) fn passes(
        &self,
        memory: &mut Memory<'a>,
        sender: &'a Station,
        receiver: &'a Station,
        frame: &[u8],
    ) -> Option<bool> {
        let frame =
            &*sender.tagging.tag().map_or(Cow::Borrowed(frame), |vlan| Cow::Owned(tagged(frame, vlan)));
        for Crossing { node, hook, input, output } in crossings(self.nodes, sender, receiver)? {
            let ruleset = self.nodes.get(node)?.ruleset;
            let bridge = arrival(if node == sender.node { sender } else { receiver }, node == sender.node);
            let passage = Passage { hook, input, output, bridge: Some(bridge), frame };
            if evaluate(ruleset, memory.entry(node).or_default(), &passage) == Decision::Drop {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Where a frame comes in at a node: by the sender's own port, or by the uplink of the receiver's bridge.
pub(crate) fn arrival(station: &Station, by_own_port: bool) -> PortBridge<'_> {
    let access = station.tagging.access.filter(|_| by_own_port);
    PortBridge { name: &station.bridge, vlan: access.unwrap_or(DEFAULT_VLAN) }
}

/// The frame with a tag of `vlan` behind its addresses: IEEE 802.1Q section 9.
fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    const ADDRESSES: usize = 12;
    let mut tagged = frame.to_vec();
    let [high, low] = vlan.to_be_bytes();
    let at = ADDRESSES.min(tagged.len());
    tagged.splice(at..at, [0x81, 0x00, high, low]);
    tagged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Position;
    use crate::probe::ProbeKind;
    use policy_core::model::Mac;
    use policy_core::ruleset::{
        BaseChain, Chain, ChainName, ChainSpec, Datum, Expr, Field, Hook, Rule, Ruleset, Verdict,
    };
    use test_case::test_case;

    /// A ruleset that drops, at `hook`, the frames with `value` in `field`.
    fn dropping(hook: Hook, field: Field, value: Datum) -> Ruleset {
        let base = Some(BaseChain { hook, priority: -200, drop_by_default: false });
        let rule = Rule {
            exprs: vec![Expr::is(field, value), Expr::Verdict(Verdict::Drop)],
            comment: String::new(),
        };
        let chain = Chain { spec: ChainSpec { base, comment: String::new() }, rules: vec![rule] };
        Ruleset { chains: BTreeMap::from([(ChainName::new("c"), chain)]), ..Ruleset::default() }
    }

    /// A station on `node`.
    fn station(owner: &str, last: u8, node: &str) -> Station {
        Station {
            id: StationId { owner: owner.to_owned(), interface: "net1".to_owned() },
            node: node.to_owned(),
            bridge: "br-0".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, last]),
            addresses: vec![format!("10.0.0.{last}/24").parse().expect("an address")],
            tagging: crate::tagging::Tagging::default(),
            position: Position::Port,
            routes: Vec::new(),
            wire: crate::plan::Wire::default(),
        }
    }

    fn outcome(ruleset: &Ruleset, kind: ProbeKind) -> Option<Outcome> {
        let (from, to) = (station("one", 1, "node-1"), station("two", 2, "node-1"));
        let ports = BTreeMap::from([(from.id.clone(), 1), (to.id.clone(), 2)]);
        let view = NodeView { ruleset, ports, uplinks: BTreeMap::new() };
        probed(&BTreeMap::from([("node-1".to_owned(), view)]), from, to, kind)
    }

    fn probed(
        nodes: &BTreeMap<String, NodeView<'_>>,
        from: Station,
        to: Station,
        kind: ProbeKind,
    ) -> Option<Outcome> {
        let family = *kind.families().first()?;
        let probe = Probe { kind, family, from: from.id.clone(), to: to.id.clone() };
        let stations = BTreeMap::from([(from.id.clone(), from), (to.id.clone(), to)]);
        Fabric { nodes, stations: &stations }.outcome(&probe)
    }

    /// Port 1 is the station's, port 9 the uplink, on both nodes.
    #[test_case(Hook::Prerouting, Field::InputPort, 1, "node-1" => Outcome::Closed; "the sender's port on its node")]
    #[test_case(Hook::Forward, Field::OutputPort, 9, "node-1" => Outcome::Closed; "the uplink of the sender's node")]
    #[test_case(Hook::Prerouting, Field::InputPort, 9, "node-2" => Outcome::Closed; "the uplink of the receiver's node")]
    #[test_case(Hook::Forward, Field::OutputPort, 1, "node-2" => Outcome::Closed; "the receiver's port on its node")]
    #[test_case(Hook::Prerouting, Field::InputPort, 1, "node-2" => Outcome::OneWay; "the answer at the receiver's port")]
    #[test_case(Hook::Forward, Field::OutputPort, 1, "node-1" => Outcome::OneWay; "the answer at the sender's port")]
    fn between_nodes_both_tables_judge(hook: Hook, field: Field, port: u32, at: &str) -> Outcome {
        let (from, to) = (station("one", 1, "node-1"), station("two", 2, "node-2"));
        let (closing, free) = (dropping(hook, field, Datum::Index(port)), Ruleset::default());
        let view = |station: &Station| NodeView {
            ruleset: if station.node == at { &closing } else { &free },
            ports: BTreeMap::from([(station.id.clone(), 1)]),
            uplinks: BTreeMap::from([(station.bridge.clone(), 9)]),
        };
        let nodes = [&from, &to].map(|station| (station.node.clone(), view(station)));
        probed(&BTreeMap::from(nodes), from, to, ProbeKind::Tcp(80)).expect("both ends are there")
    }

    #[test_case(ProbeKind::Arp; "arp")]
    #[test_case(ProbeKind::Icmp; "icmp")]
    #[test_case(ProbeKind::Tcp(80); "tcp")]
    #[test_case(ProbeKind::Udp(53); "udp")]
    #[test_case(ProbeKind::UdpBig(53); "udp in fragments")]
    #[test_case(ProbeKind::IcmpError(53); "icmp error")]
    #[test_case(ProbeKind::Sctp(3868); "sctp")]
    fn a_probe_is_judged_by_both_ports_in_both_directions(kind: ProbeKind) {
        let (sender, receiver) = (Datum::Index(1), Datum::Index(2));
        assert_eq!(outcome(&Ruleset::default(), kind), Some(Outcome::Open));
        let cases = [
            (Hook::Prerouting, Field::InputPort, sender, Outcome::Closed),
            (Hook::Forward, Field::OutputPort, receiver, Outcome::Closed),
            (Hook::Prerouting, Field::InputPort, receiver, Outcome::OneWay),
            (Hook::Forward, Field::OutputPort, sender, Outcome::OneWay),
            // The node itself sends nothing.
            (Hook::Output, Field::OutputPort, receiver, Outcome::Open),
        ];
        for (hook, field, port, wanted) in cases {
            assert_eq!(outcome(&dropping(hook, field, port), kind), Some(wanted), "{hook} {field} {port}");
        }
    }

    /// Port 2 is the station's that the node talks to.
    #[test_case(Hook::Output, Field::OutputPort => (Outcome::Closed, Outcome::OneWay); "what the node sends leaves at the output hook")]
    #[test_case(Hook::Prerouting, Field::InputPort => (Outcome::OneWay, Outcome::Closed); "what it gets comes in at prerouting")]
    #[test_case(Hook::Forward, Field::OutputPort => (Outcome::Open, Outcome::Open); "nothing of it is forwarded")]
    fn the_node_is_behind_no_port(hook: Hook, field: Field) -> (Outcome, Outcome) {
        let node = Station { position: Position::Node, ..station("node", 1, "node-1") };
        let pod = station("two", 2, "node-1");
        let ruleset = dropping(hook, field, Datum::Index(2));
        let between = |from: &Station, to: &Station| {
            let ports = BTreeMap::from([(pod.id.clone(), 2)]);
            let view = NodeView { ruleset: &ruleset, ports, uplinks: BTreeMap::new() };
            let nodes = BTreeMap::from([("node-1".to_owned(), view)]);
            probed(&nodes, from.clone(), to.clone(), ProbeKind::Tcp(80)).expect("both ends are there")
        };
        (between(&node, &pod), between(&pod, &node))
    }

    #[test]
    fn a_frame_that_is_not_ip_has_no_answer_to_be_judged() {
        let kind = ProbeKind::Ether(0x88b5);
        let (sender, receiver) = (Datum::Index(1), Datum::Index(2));
        let cases = [
            (Hook::Prerouting, Field::InputPort, sender, Outcome::Closed),
            (Hook::Forward, Field::OutputPort, receiver, Outcome::Closed),
            (Hook::Prerouting, Field::InputPort, receiver, Outcome::Open),
            (Hook::Forward, Field::OutputPort, sender, Outcome::Open),
        ];
        for (hook, field, port, wanted) in cases {
            assert_eq!(outcome(&dropping(hook, field, port), kind), Some(wanted), "{hook} {field} {port}");
        }
    }

    #[test]
    fn the_ports_of_a_conversation_are_those_of_the_probe() {
        let dropping = dropping(Hook::Forward, Field::DestinationPort, Datum::Port(80));
        // Other protocols have no ports, or others.
        assert_eq!(outcome(&dropping, ProbeKind::Tcp(80)), Some(Outcome::Closed));
        assert_eq!(outcome(&dropping, ProbeKind::Tcp(81)), Some(Outcome::Open));
        assert_eq!(outcome(&dropping, ProbeKind::Udp(80)), Some(Outcome::Closed));
        assert_eq!(outcome(&dropping, ProbeKind::Sctp(80)), Some(Outcome::Closed));
        assert_eq!(outcome(&dropping, ProbeKind::IcmpError(80)), Some(Outcome::Closed));
    }
}
