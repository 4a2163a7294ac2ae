//! Conversations against the policy text: what answers a packet that passed, passes; what answers nothing, is judged. Both
//! engines that follow connections are held to the same answers.

use std::collections::BTreeMap;

use policy_core::eval::{Decision, Flows, Passage, PortBridge, evaluate};
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{NetworkConfig, Object};
use policy_core::ruleset::{Hook, Ruleset};
use policy_core::{Compiler, Input, StateEngine, Time};

use crate::agreement::world;
use crate::frames::frame;
use crate::oracle::Oracle;
use crate::source::{Source, random_bytes};

/// Conversations tried on each world.
const CONVERSATIONS: usize = 80;

/// Whatever can come second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Second {
    Answer,
    Error,
    ErrorAboutTheAnswer,
    ErrorForSomebodyElse,
    LaterFragment,
}

/// A bridge with two ports, and what packets have left behind.
struct Bridge<'a> {
    ruleset: &'a Ruleset,
    flows: Flows,
    name: &'a str,
}

impl Bridge<'_> {
    /// Whether a frame gets from one port to another.
    fn passes(&mut self, from: u32, to: u32, frame: &[u8]) -> bool {
        [(Hook::Prerouting, None), (Hook::Forward, Some(to))].into_iter().all(|(hook, output)| {
            let bridge = Some(PortBridge { name: self.name, vlan: 1 });
            let passage = Passage { hook, input: Some(from), output, bridge, frame };
            evaluate(self.ruleset, &mut self.flows, &passage) == Decision::Accept
        })
    }
}

/// The packet that answers this one; `None` for one that nobody answers, for one from an address to itself, and for one that
/// DHCP's exemptions let through.
fn answer(spec: &FrameSpec) -> Option<FrameSpec> {
    const DHCP: [u16; 4] = [67, 68, 546, 547];
    let Payload::Ip { source, destination, transport } = &spec.payload else { return None };
    if source == destination {
        // With the same ports, too, it could not be told from its answer.
        return None;
    }
    let transport = match *transport {
        Transport::Echo { request: true, id } => Transport::Echo { request: false, id },
        Transport::Tcp { source_port, destination_port, flags: 2 } => {
            Transport::Tcp { source_port: destination_port, destination_port: source_port, flags: 0x12 }
        }
        Transport::Udp { source_port, destination_port }
            if !DHCP.contains(&source_port) && !DHCP.contains(&destination_port) =>
        {
            Transport::Udp { source_port: destination_port, destination_port: source_port }
        }
        Transport::Sctp { source_port, destination_port } => {
            Transport::Sctp { source_port: destination_port, destination_port: source_port }
        }
        Transport::Echo { .. }
        | Transport::Icmp { .. }
        | Transport::Other(_)
        | Transport::Tcp { .. }
        | Transport::Udp { .. } => return None,
    };
    let payload = Payload::Ip { source: *destination, destination: *source, transport };
    Some(FrameSpec { source: spec.destination, destination: spec.source, payload })
}

/// The error that the receiver of a packet sends about it, to whoever sent it: destination unreachable.
fn error(about: &FrameSpec) -> FrameSpec {
    let Payload::Ip { source, destination, .. } = about.payload else { panic!("no packet") };
    let kind = if source.is_ipv4() { 3 } else { 1 };
    let rest = [0; 4].into_iter().chain(about.bytes().into_iter().skip(14)).collect();
    let transport = Transport::Icmp { kind, code: 1, rest };
    let payload = Payload::Ip { source: destination, destination: source, transport };
    FrameSpec { source: about.destination, destination: about.source, payload }
}

/// The first and the second fragment of a packet: RFC 791 section 3.1, RFC 8200 section 4.5.
fn fragments(spec: &FrameSpec, is_ip4: bool) -> [Vec<u8>; 2] {
    if is_ip4 {
        let cut = |flags: u16| {
            let mut bytes = spec.bytes();
            bytes[20..22].copy_from_slice(&flags.to_be_bytes());
            bytes
        };
        return [cut(0x2000), cut(1)];
    }
    let cut = |offset_and_more: u16| {
        let mut bytes = spec.bytes();
        let (length, next) = (u16::from_be_bytes([bytes[18], bytes[19]]), bytes[20]);
        bytes[18..20].copy_from_slice(&(length + 8).to_be_bytes());
        bytes[20] = 44;
        let [high, low] = offset_and_more.to_be_bytes();
        bytes.splice(54..54, [next, 0, high, low, 0, 0, 0x47, 0x11]);
        bytes
    };
    [cut(1), cut(8)]
}

/// What is to happen to the second packet of a conversation, and what does.
fn second(
    source: &mut Source<'_>,
    oracle: &Oracle<'_>,
    bridge: &mut Bridge<'_>,
    [from, to]: [u32; 2],
    spec: &FrameSpec,
) -> Option<(Second, bool, [bool; 2])> {
    let answer = answer(spec)?;
    let is_ip4 = matches!(spec.payload, Payload::Ip { source, .. } if source.is_ipv4());
    let kinds = [
        Second::Answer,
        Second::Error,
        Second::ErrorAboutTheAnswer,
        Second::ErrorForSomebodyElse,
        Second::LaterFragment,
    ];
    let kind = *source.pick(&kinds);
    let [first, later] = fragments(spec, is_ip4);
    let whole = spec.bytes();
    let passed = bridge.passes(from, to, if kind == Second::LaterFragment { &first } else { &whole });
    let leaves = oracle.egress(from, spec).passes;
    if leaves && !passed {
        // It went half-way, and nobody has got it: there is no conversation.
        return None;
    }
    let judged = |from: u32, to: u32, spec: &FrameSpec| {
        oracle.egress(from, spec).passes && oracle.ingress(Some(from), to, spec).passes
    };
    let (wanted, got) = match kind {
        Second::Answer => (passed || judged(to, from, &answer), bridge.passes(to, from, &answer.bytes())),
        Second::Error => {
            let error = error(spec);
            (passed || judged(to, from, &error), bridge.passes(to, from, &error.bytes()))
        }
        Second::ErrorAboutTheAnswer => {
            let error = error(&answer);
            let answered = bridge.passes(to, from, &answer.bytes());
            if answered != passed {
                return None;
            }
            (answered || judged(from, to, &error), bridge.passes(from, to, &error.bytes()))
        }
        Second::ErrorForSomebodyElse => {
            let mut error = error(spec);
            let Payload::Ip { destination, .. } = &mut error.payload else { return None };
            *destination =
                if is_ip4 { [192, 0, 2, 1].into() } else { [0x2001_u16, 0xdb8, 0, 0, 0, 0, 0, 1].into() };
            (judged(to, from, &error), bridge.passes(to, from, &error.bytes()))
        }
        Second::LaterFragment => (passed, bridge.passes(from, to, &later)),
    };
    Some((kind, passed, [wanted, got]))
}

#[test]
fn what_belongs_to_a_conversation_passes_and_nothing_else_does() {
    let worlds: u64 = std::env::var("LAWS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(800);
    let first: u64 = std::env::var("LAWS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut seen: BTreeMap<(StateEngineName, Second, bool, bool), u64> = BTreeMap::new();
    for seed in first..first + worlds {
        let bytes = random_bytes(seed, 6000);
        let mut source = Source::new(&bytes);
        let mut config = crate::config(&mut source);
        // Who may send with which address, and by which port, is another question.
        (config.guard, config.quarantine) = (None, false);
        let mut objects = world(&mut source, &config);
        for object in &mut objects {
            if let Object::Network(network) = object
                && let NetworkConfig::Bridge(bridge) = &mut network.config
            {
                bridge.guard = None;
            }
        }
        let mut compiler = Compiler::new(&config);
        for object in &objects {
            compiler.handle_input(Input::Upsert(object.clone()), Time::default());
        }
        let oracle = Oracle { objects: &objects, config: &config };
        let ports: Vec<u32> =
            oracle.ports().filter(|port| oracle.is_owned(port)).map(|port| port.index).collect();
        if ports.len() < 2 {
            continue;
        }
        for number in 0..CONVERSATIONS {
            let spec = frame(&mut source, &objects);
            let ends = [*source.pick(&ports), *source.pick(&ports)];
            if ends[0] == ends[1] || spec.destination.0[0] & 1 == 1 {
                continue;
            }
            let name = oracle.port(ends[0]).map_or("br0", |port| &port.bridge);
            let mut bridge = Bridge { ruleset: compiler.desired(), flows: Flows::default(), name };
            let Some((kind, passed, [wanted, got])) = second(&mut source, &oracle, &mut bridge, ends, &spec)
            else {
                continue;
            };
            assert_eq!(
                wanted,
                got,
                "seed {seed}, conversation {number}, {:?}: {kind:?} after {spec:?} from {ends:?}, which passed: {passed}\n\
                 {objects:#?}\n{}",
                config.state,
                compiler.desired()
            );
            *seen.entry((config.state.into(), kind, passed, got)).or_default() += 1;
        }
    }
    for ((state, kind, passed, got), count) in &seen {
        println!("{count:>8}  {state:?}  {kind:?} after what passed: {passed}; passes: {got}");
    }
    for state in [StateEngineName::Conntrack, StateEngineName::Sets] {
        for kind in [Second::Answer, Second::Error, Second::ErrorAboutTheAnswer, Second::LaterFragment] {
            assert!(seen.contains_key(&(state, kind, true, true)), "{state:?}: no {kind:?} passed");
            assert!(seen.contains_key(&(state, kind, false, false)), "{state:?}: no {kind:?} was stopped");
        }
        let astray = (state, Second::ErrorForSomebodyElse, true, false);
        assert!(seen.contains_key(&astray), "{state:?}: no error went astray");
    }
}

/// The engines in an order, for the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum StateEngineName {
    Conntrack,
    Sets,
}

impl From<StateEngine> for StateEngineName {
    fn from(state: StateEngine) -> Self {
        match state {
            StateEngine::Conntrack => Self::Conntrack,
            StateEngine::Sets => Self::Sets,
        }
    }
}
