//! The compiled ruleset against the policy text: random worlds, random frames, two independent answers.
//!
//! `LAWS_CASES` sets the number of worlds; each is asked about [`FRAMES`] frames. At the end a table says how often each
//! feature of the language decided a verdict; one that never did fails the test.

use std::collections::BTreeMap;

use crate::frames::{evaluated, frame};
use crate::oracle::Oracle;
use crate::source::{Source, random_bytes};
use crate::worlds;
use policy_core::model::{Kind, Mac, Object, ObjectId};
use policy_core::{Compiler, Config, Input, Time};

/// Frames tried on each world.
const FRAMES: usize = 200;

/// Every feature of the language that must decide some verdict.
const FEATURES: [&str; 51] = [
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
    "guard: mac",
    "guard: address",
    "guard: arp sender",
    "guard: nd",
    "guard: router advertisement",
    "quarantine",
];

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

/// Whether the port belongs to an attachment with this MAC.
fn is_own(oracle: &Oracle<'_>, port: u32, mac: Mac) -> bool {
    let owners = oracle.port(port).map(|port| oracle.owners(port)).unwrap_or_default();
    owners.first().is_some_and(|(_, attachment)| attachment.mac == Some(mac))
}

#[test]
fn the_oracle_and_the_compiled_ruleset_agree_on_every_frame() {
    let worlds: u64 = std::env::var("LAWS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2500);
    let first: u64 = std::env::var("LAWS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut decided: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut frames, mut dropped) = (0_u64, 0_u64);
    for seed in first..first + worlds {
        let bytes = random_bytes(seed, 6000);
        let mut source = Source::new(&bytes);
        let mut config = crate::config(&mut source);
        // What passes nothing says nothing about policies.
        config.quarantine &= source.chance(1, 3);
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
            let own = all.iter().copied().find(|port| is_own(&oracle, *port, spec.source));
            let from = match own {
                Some(own) if source.chance(3, 4) => Some(own),
                Some(_) | None => source.maybe(7, 8, port),
            };
            let to = port(&mut source);
            let ends = [from.map(|from| oracle.egress(from, &spec)), Some(oracle.ingress(from, to, &spec))];
            let (out, into) = evaluated(&oracle, compiler.desired(), from, to, &spec.bytes());
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
