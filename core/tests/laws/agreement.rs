//! The compiled ruleset against the policy text: random worlds, random frames, two independent answers.
//!
//! `LAWS_CASES` sets the number of worlds; each is asked about [`FRAMES`] frames. At the end a table says how often each
//! feature of the language decided a verdict; one that never did fails the test.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::oracle::Oracle;
use crate::source::Source;
use crate::worlds;
use policy_core::eval::{Decision, Flows, Passage, evaluate};
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{Attachment, Kind, Mac, Object, ObjectId};
use policy_core::ruleset::{Hook, Ruleset};
use policy_core::{Compiler, Config, Input, Time};

/// Frames tried on each world.
const FRAMES: usize = 200;

/// Every feature of the language that must decide some verdict.
const FEATURES: [&str; 45] = [
    "not managed",
    "not isolated",
    "isolation",
    "union of policies",
    "no peers",
    "ipBlock",
    "ipBlock with except",
    "except excludes",
    "peers exclude",
    "pods of the policy's namespace",
    "namespaceSelector",
    "match labels",
    "match expressions",
    "peer by IPv4 address",
    "peer by IPv6 address",
    "peer by link-local address",
    "peer by MAC",
    "payload that is not IP, by MAC",
    "all ports of a protocol",
    "port",
    "port range",
    "named port of the selected pod",
    "named port of the receiving peer",
    "ports exclude",
    "ports exclude icmp and others",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "another ip protocol",
    "not ip",
    "dhcp client",
    "own arp probe",
    "own arp announcement",
    "arp discovery by the pod",
    "arp discovery of the pod",
    "unicast arp or reply",
    "router solicitation",
    "router advertisement",
    "router advertisement of a pod",
    "listener report",
    "duplicate address detection",
    "own unsolicited advertisement",
    "neighbour solicitation",
    "unicast solicitation or advertisement",
];

fn transport(source: &mut Source<'_>) -> Transport {
    let (source_port, destination_port) = (*source.pick(&worlds::PORTS), *source.pick(&worlds::PORTS));
    match source.below(12) {
        0..=3 => Transport::Tcp { source_port, destination_port, flags: 2 },
        4..=6 => Transport::Udp { source_port, destination_port },
        7..=8 => Transport::Sctp { source_port, destination_port },
        9 => Transport::Echo { request: true, id: 7 },
        10 => Transport::Icmp { kind: *source.pick(&[3, 11]), code: 0, rest: vec![0; 20] },
        _ => Transport::Other(*source.pick(&[47, 50, 89, 112])),
    }
}

/// One end of a frame: a MAC and addresses, mostly those of an attachment that exists.
fn end(source: &mut Source<'_>, objects: &[Object]) -> (Mac, Vec<IpAddr>) {
    let attachments: Vec<&Attachment> = objects
        .iter()
        .filter_map(|object| if let Object::Pod(pod) = object { Some(&pod.attachments) } else { None })
        .flatten()
        .collect();
    if attachments.is_empty() || source.chance(1, 5) {
        return (worlds::mac(source), vec![worlds::address(source), worlds::address(source)]);
    }
    let attachment = *source.pick(&attachments);
    let mac = attachment.mac.unwrap_or_else(|| worlds::mac(source));
    let mut addresses = attachment.addresses.clone();
    addresses.push(if source.chance(1, 2) { mac.link_local().into() } else { worlds::address(source) });
    (mac, addresses)
}

/// A random frame between two ends.
pub(crate) fn frame(source: &mut Source<'_>, objects: &[Object]) -> FrameSpec {
    let (sender, sender_addresses) = end(source, objects);
    let (receiver, receiver_addresses) = end(source, objects);
    let from = *source.pick(&sender_addresses);
    let to = receiver_addresses.iter().copied().find(|to| to.is_ipv4() == from.is_ipv4());
    let group = source.chance(1, 8);
    let discovery = source.chance(1, 3);
    let (payload, group) = match (source.below(16), to) {
        (0, _) | (_, None) if !discovery => {
            let ether_type = *source.pick(&[0x88cc, 0x1234, 0x8847]);
            (Payload::Other { ether_type, bytes: vec![0; 46] }, group)
        }
        (_, Some(IpAddr::V6(to))) if discovery => neighbour_discovery(source, from, to),
        _ if discovery => arp(source, (sender, &sender_addresses), &receiver_addresses),
        (_, to) => {
            let destination = to.unwrap_or(from);
            (Payload::Ip { source: from, destination, transport: transport(source) }, group)
        }
    };
    let destination = if group { Mac([0x33, 0x33, 0xff, 0, 0, 1]) } else { receiver };
    FrameSpec { source: sender, destination, payload }
}

/// An ARP packet, and whether it is for everybody.
fn arp(source: &mut Source<'_>, sender: (Mac, &[IpAddr]), receiver: &[IpAddr]) -> (Payload, bool) {
    let ip4 = |source: &mut Source<'_>, addresses: &[IpAddr]| {
        let listed = addresses
            .iter()
            .find_map(|address| if let IpAddr::V4(address) = address { Some(*address) } else { None });
        listed.unwrap_or_else(|| *source.pick(&[Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]))
    };
    let sender_ip = if source.chance(1, 6) { Ipv4Addr::UNSPECIFIED } else { ip4(source, sender.1) };
    let target_ip = if source.chance(1, 6) { sender_ip } else { ip4(source, receiver) };
    let operation = if source.chance(2, 3) { 1 } else { 2 };
    let payload =
        Payload::Arp { operation, sender_mac: sender.0, sender_ip, target_mac: Mac([0; 6]), target_ip };
    (payload, source.chance(1, 2))
}

/// A message of neighbour discovery or listener discovery, and whether it is for everybody.
fn neighbour_discovery(source: &mut Source<'_>, from: IpAddr, to: Ipv6Addr) -> (Payload, bool) {
    let kind = *source.pick(&[131, 132, 133, 134, 135, 135, 135, 135, 136, 136, 136, 137, 143]);
    let group = source.chance(1, 2);
    let solicited =
        Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | to.to_bits() & 0x00ff_ffff);
    let destination = match (group, kind) {
        (true, 135) => solicited,
        (true, _) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        (false, _) => to,
    };
    let from = match from {
        IpAddr::V6(from) if !source.chance(1, 6) => from,
        IpAddr::V4(_) | IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED,
    };
    let rest: Vec<u8> = [0; 4].into_iter().chain(to.octets()).collect();
    let transport = Transport::Icmp { kind, code: 0, rest };
    (Payload::Ip { source: from.into(), destination: destination.into(), transport }, group)
}

/// What the compiled ruleset does with a frame.
fn evaluated(ruleset: &Ruleset, from: Option<u32>, to: u32, bytes: &[u8]) -> (bool, bool) {
    let passes = |hook, input, output| {
        let passage = Passage { hook, input, output, frame: bytes };
        evaluate(ruleset, &mut Flows::default(), &passage) == Decision::Accept
    };
    match from {
        Some(from) => {
            (passes(Hook::Prerouting, Some(from), None), passes(Hook::Forward, Some(from), Some(to)))
        }
        None => (true, passes(Hook::Output, None, Some(to))),
    }
}

/// A random world as its latest objects, without those that would leave a port's owner open.
pub(crate) fn world(source: &mut Source<'_>, config: &Config) -> Vec<Object> {
    let mut latest: BTreeMap<ObjectId, Object> = BTreeMap::new();
    for object in worlds::populated(source).into_iter().flat_map(|(_, objects)| objects) {
        latest.insert(object.id(), object);
    }
    let mut objects: Vec<Object> = latest.into_values().collect();
    objects.retain(|object| object.id().kind() != Kind::Network);
    objects.extend(worlds::all_networks(source).into_iter().map(Object::Network));
    distinct_macs(source, &mut objects);
    for index in 100..108 {
        if let Some(port) = worlds::port_of_a_pod(source, &objects, index) {
            objects.push(Object::Port(port));
        }
    }
    while (Oracle { objects: &objects, config }).is_ambiguous() {
        let last_pod = objects.iter().rposition(|object| object.id().kind() == Kind::Pod).unwrap();
        objects.remove(last_pod);
    }
    objects
}

/// Gives most attachments a MAC of their own: a world full of doubles says little about policies.
fn distinct_macs(source: &mut Source<'_>, objects: &mut [Object]) {
    let mut next = 0;
    for object in objects {
        let Object::Pod(pod) = object else { continue };
        for attachment in &mut pod.attachments {
            next += 1;
            if attachment.mac.is_some() && source.chance(7, 8) {
                attachment.mac = Some(Mac([2, 0, 0, 0, 1, next]));
            }
        }
    }
}

/// Random bytes from a seed (`SplitMix64`: the same everywhere).
pub(crate) fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    std::iter::repeat_with(|| next().to_le_bytes()).flatten().take(count).collect()
}

#[test]
fn the_oracle_and_the_compiled_ruleset_agree_on_every_frame() {
    let worlds: u64 = std::env::var("LAWS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
    let first: u64 = std::env::var("LAWS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut decided: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut frames, mut dropped) = (0_u64, 0_u64);
    for seed in first..first + worlds {
        let bytes = random_bytes(seed, 6000);
        let mut source = Source::new(&bytes);
        let mut config = Config::new(worlds::NODE);
        config.accept_icmp = source.chance(1, 8);
        config.accept_icmp6 = source.chance(1, 8);
        let objects = world(&mut source, &config);
        let mut compiler = Compiler::new(&config);
        for object in &objects {
            compiler.handle_input(Input::Upsert(object.clone()), Time::default());
        }
        let oracle = Oracle { objects: &objects, config: &config };
        let all: Vec<u32> = oracle.ports().map(|port| port.index).chain([99]).collect();
        let owned: Vec<u32> =
            oracle.ports().filter(|port| oracle.is_owned(port)).map(|port| port.index).collect();
        let port = |source: &mut Source<'_>| {
            let any = owned.is_empty() || source.chance(1, 6);
            *source.pick(if any { &all } else { &owned })
        };
        for number in 0..FRAMES {
            let spec = frame(&mut source, &objects);
            let from = source.maybe(7, 8, port);
            let to = port(&mut source);
            let ends = [from.map(|from| oracle.egress(from, &spec)), Some(oracle.ingress(from, to, &spec))];
            let (out, into) = evaluated(compiler.desired(), from, to, &spec.bytes());
            let said = [ends[0].as_ref().is_none_or(|end| end.passes), ends[1].as_ref().unwrap().passes];
            assert_eq!(
                said,
                [out, into],
                "seed {seed}, frame {number}: the oracle says {said:?} (egress, ingress), the ruleset {:?}\n{spec:?}\nfrom \
                 {from:?} to {to}\n{objects:#?}\n{}",
                [out, into],
                compiler.desired()
            );
            frames += 1;
            dropped += u64::from(!(out && into));
            for feature in ends.iter().flatten().flat_map(|end| &end.because) {
                *decided.entry(feature).or_default() += 1;
            }
        }
    }
    println!("{worlds} worlds, {frames} frames, {dropped} dropped; no difference");
    println!("{:>12}  feature that decided a verdict", "verdicts");
    for (feature, count) in &decided {
        println!("{count:>12}  {feature}");
    }
    for feature in FEATURES {
        assert!(decided.contains_key(feature), "no verdict was decided by: {feature}");
    }
}
