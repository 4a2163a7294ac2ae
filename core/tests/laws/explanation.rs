//! An explanation never contradicts the datapath: whatever a trace says about a frame at an attachment, the ruleset of the
//! attachment's node decides the same.
//!
//! `LAWS_CASES` sets the number of worlds. At the end a table says how often each reason was given; one that never was
//! fails the test.

use std::collections::BTreeMap;

use crate::agreement::world;
use crate::frames::frame;
use crate::source::{Source, random_bytes};
use policy_core::explain::{
    Bench, Breach, End, Exempt, Identity, NotMeant, PassedOver, PeerFit, PortFit, Standing, Trace,
    Unenforced, trace,
};
use policy_core::model::{Direction, Mac, Object};
use policy_core::{Compiler, Input, Time};

/// Frames tried on each world.
const FRAMES: usize = 200;

/// Every reason that must come up.
const REASONS: [&str; 55] = [
    "accepted icmp",
    "accepted icmpv6",
    "allowed by a policy",
    "allowed by the other direction",
    "another network",
    "any port",
    "arp announcement",
    "arp probe",
    "denied",
    "dhcp client",
    "duplicate address detection",
    "everyone",
    "excepted",
    "free",
    "free in the other direction",
    "guard: address",
    "guard: arp address",
    "guard: arp mac",
    "guard: mac",
    "guard: neighbour's address",
    "guard: neighbour's mac",
    "guard: router advertisement",
    "in block",
    "isolated",
    "listener report",
    "name stands for no port",
    "name stands for other ports",
    "namespace labels",
    "neighbour check for a block",
    "no address",
    "no mac",
    "nobody",
    "not in namespace",
    "other number",
    "other protocol",
    "outside block",
    "passed over: labels",
    "passed over: network",
    "passed over: other direction",
    "plugin is no bridge",
    "pod labels",
    "port fits",
    "ports do not matter",
    "quarantined",
    "router advertisement",
    "router solicitation",
    "selected by address",
    "selected by link-local address",
    "selected by mac",
    "selected by solicited-node address",
    "selected without addresses",
    "sought in block",
    "unknown namespace",
    "unreadable network",
    "unsolicited advertisement",
];

fn standing(trace: &Trace) -> &'static str {
    match &trace.standing {
        Standing::Free => "free",
        Standing::Guarded(breach) => match breach {
            Breach::Address(_) => "guard: address",
            Breach::ArpAddress(_) => "guard: arp address",
            Breach::ArpMac(_) => "guard: arp mac",
            Breach::Mac(_) => "guard: mac",
            Breach::NeighbourMac => "guard: neighbour's mac",
            Breach::NeighbourTarget(_) => "guard: neighbour's address",
            Breach::RouterAdvertisement => "guard: router advertisement",
        },
        Standing::Quarantined => "quarantined",
        Standing::Isolated { exempt: None, .. } => "isolated",
        Standing::Isolated { exempt: Some(exempt), .. } => match exempt {
            Exempt::AcceptedIcmp => "accepted icmp",
            Exempt::AcceptedIcmp6 => "accepted icmpv6",
            Exempt::ArpAnnouncement => "arp announcement",
            Exempt::ArpProbe => "arp probe",
            Exempt::DhcpClient => "dhcp client",
            Exempt::DuplicateAddressDetection => "duplicate address detection",
            Exempt::FreeOtherDirection => "free in the other direction",
            Exempt::ListenerReport => "listener report",
            Exempt::RouterAdvertisement => "router advertisement",
            Exempt::RouterSolicitation => "router solicitation",
            Exempt::UnsolicitedAdvertisement => "unsolicited advertisement",
        },
        Standing::Unenforced(Unenforced::NoMac) => "no mac",
        Standing::Unenforced(Unenforced::NoNetwork) => "no network",
        Standing::Unenforced(Unenforced::OtherPlugin(_)) => "plugin is no bridge",
        Standing::Unenforced(Unenforced::Unreadable(_)) => "unreadable network",
    }
}

fn peer(fit: &PeerFit) -> Vec<&'static str> {
    vec![match fit {
        PeerFit::Everyone => "everyone",
        PeerFit::Excepted(..) => "excepted",
        PeerFit::InBlock(_) => "in block",
        PeerFit::NeighbourCheck => "neighbour check for a block",
        PeerFit::NoAddress => "no address",
        PeerFit::Nobody => "nobody",
        PeerFit::NotMeant(reasons) => return reasons.iter().map(|(_, reason)| not_meant(reason)).collect(),
        PeerFit::OutsideBlock(_) => "outside block",
        PeerFit::Selected(_, Identity::Address) => "selected by address",
        PeerFit::Selected(_, Identity::LinkLocal) => "selected by link-local address",
        PeerFit::Selected(_, Identity::Mac) => "selected by mac",
        PeerFit::Selected(_, Identity::Sought) => "selected by solicited-node address",
        PeerFit::Selected(_, Identity::Unlisted) => "selected without addresses",
        PeerFit::SoughtInBlock(_) => "sought in block",
    }]
}

fn not_meant(reason: &NotMeant) -> &'static str {
    match reason {
        NotMeant::NamespaceLabels(_) => "namespace labels",
        NotMeant::Network(_) => "another network",
        NotMeant::NotInNamespace => "not in namespace",
        NotMeant::PodLabels(_) => "pod labels",
        NotMeant::UnknownNamespace => "unknown namespace",
    }
}

fn port(fit: &PortFit) -> &'static str {
    match fit {
        PortFit::Any => "any port",
        PortFit::Fits => "port fits",
        PortFit::NamedOtherwise(ports) if ports.is_empty() => "name stands for no port",
        PortFit::NamedOtherwise(_) => "name stands for other ports",
        PortFit::OtherNumber => "other number",
        PortFit::OtherProtocol => "other protocol",
        PortFit::Unasked => "ports do not matter",
    }
}

/// Every reason that a trace gives.
fn reasons(trace: &Trace) -> Vec<&'static str> {
    let mut reasons = vec![standing(trace)];
    reasons.extend(trace.passed_over.iter().map(|(_, reason)| match reason {
        PassedOver::Labels(_) => "passed over: labels",
        PassedOver::Network => "passed over: network",
        PassedOver::OtherDirection => "passed over: other direction",
    }));
    let Standing::Isolated { exempt, policies } = &trace.standing else { return reasons };
    if exempt.is_none() {
        reasons.push(if trace.passes() { "allowed by a policy" } else { "denied" });
    }
    if policies.iter().any(|policy| policy.direction != trace.direction && policy.allows()) {
        reasons.push("allowed by the other direction");
    }
    for rule in policies.iter().flat_map(|policy| &policy.rules) {
        for entry in &rule.peers {
            reasons.extend(peer(&entry.fit));
            reasons.extend(entry.ports.iter().map(|entry| port(&entry.fit)));
        }
    }
    reasons
}

/// The MAC of an attachment.
fn mac_of(objects: &[Object], end: &End) -> Option<Mac> {
    let pod = objects.iter().find_map(|object| match object {
        Object::Pod(pod) if pod.id == end.pod => Some(pod),
        Object::Namespace(_) | Object::Network(_) | Object::Pod(_) | Object::Policy(_) | Object::Port(_) => {
            None
        }
    })?;
    pod.attachments.get(end.attachment)?.mac
}

/// Every attachment of the world.
fn ends(objects: &[Object]) -> Vec<End> {
    let pods =
        objects.iter().filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None });
    let ends = |pod: &policy_core::model::Pod| {
        let pod_id = pod.id.clone();
        (0..pod.attachments.len()).map(move |attachment| End { pod: pod_id.clone(), attachment })
    };
    pods.flat_map(ends).collect()
}

#[test]
fn every_explanation_agrees_with_the_compiled_ruleset() {
    let worlds: u64 = std::env::var("LAWS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let first: u64 = std::env::var("LAWS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut given: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut frames, mut shadowed) = (0_u64, 0_u64);
    for seed in first..first + worlds {
        let bytes = random_bytes(seed, 6000);
        let mut source = Source::new(&bytes);
        let config = crate::config(&mut source);
        let objects = world(&mut source, &config);
        let ends = ends(&objects);
        if ends.is_empty() {
            continue;
        }
        let mut compiler = Compiler::new(&config);
        for object in &objects {
            compiler.handle_input(Input::Upsert(object.clone()), Time::default());
        }
        let mut bench = Bench::new(compiler.world(), &config);
        for number in 0..FRAMES {
            let spec = frame(&mut source, &objects);
            let sends = |end: &&End| mac_of(&objects, end) == Some(spec.source);
            let sender = ends.iter().find(sends).filter(|_| source.chance(1, 2));
            let end = sender.unwrap_or_else(|| source.pick(&ends));
            let direction = *source.pick(&Direction::ALL);
            // Whose policies judge there is the node's to choose, and `Bench::is_shadowed` says so.
            if bench.is_shadowed(end) {
                shadowed += 1;
                continue;
            }
            let said = trace(compiler.world(), &config, end, direction, &spec).unwrap();
            assert_eq!(
                said.passes(),
                bench.passes(end, direction, &spec),
                "seed {seed}, frame {number}: the explanation is first, the ruleset second\n{spec:?}\nat {end:?}\n\
                 {said:#?}\n{objects:#?}"
            );
            frames += 1;
            for reason in reasons(&said) {
                *given.entry(reason).or_default() += 1;
            }
        }
    }
    println!("{worlds} worlds, {frames} frames, {shadowed} at shadowed attachments left out; no difference");
    for (reason, count) in &given {
        println!("{count:>12}  {reason}");
    }
    assert!(shadowed < frames, "most attachments are shadowed: the worlds are too small");
    for reason in REASONS {
        assert!(given.contains_key(reason), "this reason was never given: {reason}");
    }
}
