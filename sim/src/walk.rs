//! The model's answer to a probe: its frames walk past the hooks of a ruleset, there and back.
//!
//! Egress is judged where a frame enters the bridge (prerouting, by the sender's port), ingress where it leaves
//! (forward, by both ports). Addresses are taken as resolved: the frames of ARP are judged by the `arp` probe.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use policy_core::eval::{Decision, Flows, Passage, evaluate};
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::Mac;
use policy_core::ruleset::{Hook, Ruleset};

use crate::plan::{Station, StationId};
use crate::probe::{Outcome, Probe, ProbeKind};

/// The client's port in the model; any unprivileged one would do.
const CLIENT_PORT: u16 = 40_001;
/// The low byte of the flags of a TCP segment: RFC 9293 section 3.1.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// A ruleset, and the ports that the stations are behind.
pub struct Bridge<'a> {
    /// What the kernel's table holds.
    pub ruleset: &'a Ruleset,
    /// Everyone who can be probed.
    pub stations: &'a BTreeMap<StationId, Station>,
    /// The port index of each station.
    pub ports: &'a BTreeMap<StationId, u32>,
}

/// One end of a conversation.
struct End {
    mac: Mac,
    address: IpAddr,
    port: u32,
}

/// Which way a frame goes.
#[derive(Clone, Copy)]
enum Way {
    Back,
    There,
}

impl Bridge<'_> {
    /// What comes of each of `probes`; those with an end that is nowhere are left out.
    pub fn outcomes<'p>(&self, probes: impl IntoIterator<Item = &'p Probe>) -> BTreeMap<Probe, Outcome> {
        let outcome = |probe: &'p Probe| Some((probe.clone(), self.outcome(probe)?));
        probes.into_iter().filter_map(outcome).collect()
    }

    /// What comes of `probe`; `None` when an end of it is nowhere.
    pub fn outcome(&self, probe: &Probe) -> Option<Outcome> {
        let from = self.end(&probe.from, probe)?;
        let to = self.end(&probe.to, probe)?;
        let mut flows = Flows::default();
        let mut arrived = false;
        for (way, payload) in conversation(probe.kind, &from, &to) {
            let (sender, receiver) = match way {
                Way::Back => (&to, &from),
                Way::There => (&from, &to),
            };
            if !self.passes(&mut flows, sender, receiver, payload) {
                return Some(if arrived { Outcome::OneWay } else { Outcome::Closed });
            }
            arrived = true;
        }
        Some(Outcome::Open)
    }

    fn end(&self, id: &StationId, probe: &Probe) -> Option<End> {
        let station = self.stations.get(id)?;
        Some(End { mac: station.mac, address: station.address(probe.family)?, port: *self.ports.get(id)? })
    }

    fn passes(&self, flows: &mut Flows, sender: &End, receiver: &End, payload: Payload) -> bool {
        let request = matches!(payload, Payload::Arp { operation: 1, .. });
        let destination = if request { Mac([0xff; 6]) } else { receiver.mac };
        let frame = FrameSpec { source: sender.mac, destination, payload }.bytes();
        let hooks = [(Hook::Prerouting, None), (Hook::Forward, Some(receiver.port))];
        hooks.into_iter().all(|(hook, output)| {
            let passage = Passage { hook, input: Some(sender.port), output, frame: &frame };
            evaluate(self.ruleset, flows, &passage) == Decision::Accept
        })
    }
}

/// The frames of a probe that succeeds, in order.
fn conversation(kind: ProbeKind, from: &End, to: &End) -> Vec<(Way, Payload)> {
    let there =
        |transport| (Way::There, Payload::Ip { source: from.address, destination: to.address, transport });
    let back =
        |transport| (Way::Back, Payload::Ip { source: to.address, destination: from.address, transport });
    match kind {
        ProbeKind::Arp => {
            let (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) = (from.address, to.address) else {
                return Vec::new();
            };
            let (sender_mac, target_mac) = (from.mac, to.mac);
            let request =
                Payload::Arp { operation: 1, sender_mac, sender_ip, target_mac: Mac([0; 6]), target_ip };
            let reply = Payload::Arp {
                operation: 2,
                sender_mac: target_mac,
                sender_ip: target_ip,
                target_mac: sender_mac,
                target_ip: sender_ip,
            };
            vec![(Way::There, request), (Way::Back, reply)]
        }
        ProbeKind::Icmp => {
            let echo = |request| Transport::Echo { request, id: 7 };
            vec![there(echo(true)), back(echo(false))]
        }
        ProbeKind::Tcp(port) => {
            let request = |flags| Transport::Tcp { source_port: CLIENT_PORT, destination_port: port, flags };
            let reply = |flags| Transport::Tcp { source_port: port, destination_port: CLIENT_PORT, flags };
            vec![
                there(request(SYN)),
                back(reply(SYN | ACK)),
                there(request(ACK)),
                there(request(PSH | ACK)),
                back(reply(PSH | ACK)),
            ]
        }
        ProbeKind::Udp(port) => vec![
            there(Transport::Udp { source_port: CLIENT_PORT, destination_port: port }),
            back(Transport::Udp { source_port: port, destination_port: CLIENT_PORT }),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Family;
    use policy_core::ruleset::{BaseChain, Chain, ChainName, ChainSpec, Datum, Expr, Field, Rule, Verdict};
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

    fn outcome(ruleset: &Ruleset, kind: ProbeKind) -> Option<Outcome> {
        let station = |owner: &str, last: u8| Station {
            id: StationId { owner: owner.to_owned(), interface: "net1".to_owned() },
            node: "node-1".to_owned(),
            bridge: "br-0".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, last]),
            addresses: vec![format!("10.0.0.{last}/24").parse().expect("an address")],
            tagging: crate::tagging::Tagging::default(),
        };
        let (from, to) = (station("one", 1), station("two", 2));
        let probe = Probe { kind, family: Family::Ipv4, from: from.id.clone(), to: to.id.clone() };
        let ports = BTreeMap::from([(from.id.clone(), 1), (to.id.clone(), 2)]);
        let stations = BTreeMap::from([(from.id.clone(), from), (to.id.clone(), to)]);
        Bridge { ruleset, stations: &stations, ports: &ports }.outcome(&probe)
    }

    #[test_case(ProbeKind::Arp; "arp")]
    #[test_case(ProbeKind::Icmp; "icmp")]
    #[test_case(ProbeKind::Tcp(80); "tcp")]
    #[test_case(ProbeKind::Udp(53); "udp")]
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

    #[test]
    fn the_ports_of_a_conversation_are_those_of_the_probe() {
        let dropping = dropping(Hook::Forward, Field::DestinationPort, Datum::Port(80));
        // Other protocols have no ports, or others.
        assert_eq!(outcome(&dropping, ProbeKind::Tcp(80)), Some(Outcome::Closed));
        assert_eq!(outcome(&dropping, ProbeKind::Tcp(81)), Some(Outcome::Open));
        assert_eq!(outcome(&dropping, ProbeKind::Udp(80)), Some(Outcome::Closed));
    }
}
