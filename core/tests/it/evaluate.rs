//! What the evaluator says about single rules, chains and hooks, and about frames that are cut short or lie about
//! themselves. The agreement of whole rulesets with the kernel is tested with packets, in the scenarios.

use std::time::Duration;

use policy_core::eval::{Decision, Flows, Passage, evaluate};
use policy_core::frame::Transport;
use policy_core::ruleset::{
    Chain, ChainName, Datum, Dynamic, Elements, Expr, Field, Hook, Key, KeyType, Ruleset, SetSpec, Verdict,
};
use test_case::test_case;

use crate::build::{
    accept, base, chain, chain_name, drop, element, goto, interval, ip4, ip6, jump, keys, lookup, mac, one,
    plain, rule, ruleset, set, set_name, verdict_map,
};
use crate::frames::packet;

const TCP: Transport = Transport::Tcp { source_port: 40_000, destination_port: 80, flags: 2 };

fn judge(table: &Ruleset, flows: &mut Flows, frame: &[u8]) -> Decision {
    let passage = Passage { hook: Hook::Forward, input: Some(3), output: Some(4), bridge: None, frame };
    evaluate(table, flows, &passage)
}

/// Whether a rule of these expressions holds to its end for the frame.
fn holds(exprs: &[Expr], frame: &[u8]) -> bool {
    holds_in(&[], exprs, frame)
}

fn holds_in(sets: &[(&str, SetSpec, Elements)], exprs: &[Expr], frame: &[u8]) -> bool {
    let exprs: Vec<Expr> = exprs.iter().cloned().chain([drop()]).collect();
    let sets = sets.iter().map(|(name, spec, elements)| set(name, spec.clone(), elements.clone()));
    let table = ruleset([base("forward", Hook::Forward, 0, false, [rule(exprs)])], sets);
    judge(&table, &mut Flows::default(), frame) == Decision::Drop
}

fn is(field: Field, value: Datum) -> bool {
    let frames = [packet(false, TCP), packet(true, TCP), packet(false, PING), packet(true, PING)];
    let held: Vec<bool> = frames.iter().map(|frame| holds(&[Expr::is(field, value)], frame)).collect();
    let opposite: Vec<bool> =
        frames.iter().map(|frame| holds(&[Expr::is_not(field, value)], frame)).collect();
    assert!(held.iter().zip(&opposite).all(|(held, opposite)| !(held & opposite)), "{field} both ways");
    held.contains(&true)
}

const PING: Transport = Transport::Echo { request: true, id: 0xbeef };

#[test_case(Field::EtherSource, Datum::Mac(mac(1)), Datum::Mac(mac(2)))]
#[test_case(Field::EtherDestination, Datum::Mac(mac(2)), Datum::Mac(mac(1)))]
#[test_case(Field::NetworkProtocol, Datum::IP6, Datum::ARP)]
#[test_case(Field::Ip4Source, ip4("10.0.0.1"), ip4("10.0.0.2"))]
#[test_case(Field::Ip4Destination, ip4("10.0.0.2"), ip4("10.0.0.1"))]
#[test_case(Field::Ip6Source, ip6("fd00::1"), ip6("fd00::2"))]
#[test_case(Field::Ip6Destination, ip6("fd00::2"), ip6("fd00::1"))]
#[test_case(Field::TransportProtocol, Datum::ICMP6, Datum::UDP)]
#[test_case(Field::SourcePort, Datum::Port(40_000), Datum::Port(40_001))]
#[test_case(Field::DestinationPort, Datum::Port(80), Datum::Port(81))]
#[test_case(Field::TcpFlags, Datum::Byte(2), Datum::Byte(18))]
#[test_case(Field::IcmpType, Datum::Byte(8), Datum::Byte(9))]
#[test_case(Field::Icmp6Type, Datum::Byte(128), Datum::Byte(130))]
#[test_case(Field::IcmpId, Datum::IcmpId(0xbeef), Datum::IcmpId(1))]
#[test_case(Field::Icmp6Id, Datum::IcmpId(0xbeef), Datum::IcmpId(1))]
#[test_case(Field::InputPort, Datum::Index(3), Datum::Index(4))]
#[test_case(Field::OutputPort, Datum::Index(4), Datum::Index(3))]
fn field_is_read_from_its_place(field: Field, value: Datum, other: Datum) {
    assert!(is(field, value), "{field} {value}");
    assert!(!is(field, other), "{field} {other}");
}

#[test_case(Field::ArpOperation, Datum::ArpOperation(2))]
#[test_case(Field::ArpSenderMac, Datum::Mac(mac(1)))]
#[test_case(Field::ArpSenderIp, ip4("10.0.0.1"))]
#[test_case(Field::ArpTargetIp, ip4("10.0.0.2"))]
fn field_of_arp_is_read_from_its_place(field: Field, value: Datum) {
    let frame = arp();
    assert!(holds(&[Expr::is(field, value)], &frame));
    assert!(!holds(&[Expr::is(field, value)], &frame[..20]), "the frame ends before the field");
}

fn arp() -> Vec<u8> {
    [
        &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2][..],
        &[2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2],
    ]
    .concat()
}

const PORT_80: Expr = Expr::is(Field::DestinationPort, Datum::Port(80));

fn masked(mask: u16, negated: bool, value: u8) -> Expr {
    Expr::Compare { field: Field::TcpFlags, mask: Some(mask), negated, value: Datum::Byte(value) }
}

fn ports(low: u16, high: u16) -> Expr {
    Expr::Range { field: Field::DestinationPort, low: Datum::Port(low), high: Datum::Port(high) }
}

#[test_case(&[], true; "no expression")]
#[test_case(&[Expr::Counter], true; "a counter")]
#[test_case(&[Expr::Limit { rate: 1, burst: 1 }, Expr::Log { group: 7, prefix: "a".into(), snaplen: 1 }], true; "a limit and a log")]
#[test_case(&[Expr::Foreign("quota".into())], false; "what nobody here understands")]
#[test_case(&[PORT_80, Expr::is(Field::Ip4Source, ip4("10.0.0.9"))], false; "a later expression that fails")]
#[test_case(&[masked(3, false, 2)], true; "some bits are equal")]
#[test_case(&[masked(1, false, 0)], true; "a bit is not set")]
#[test_case(&[masked(2, true, 2)], false; "some bits differ")]
#[test_case(&[ports(80, 81)], true; "first of a range")]
#[test_case(&[ports(79, 80)], true; "last of a range")]
#[test_case(&[ports(81, 90)], false; "below a range")]
#[test_case(&[ports(1, 79)], false; "above a range")]
fn expressions_hold_one_after_the_other(exprs: &[Expr], wanted: bool) {
    assert_eq!(holds(exprs, &packet(false, TCP)), wanted);
}

fn not_within(field: Field, set: &str) -> Expr {
    Expr::Lookup { fields: vec![field], set: set_name(set), negated: true }
}

#[test]
fn a_lookup_finds_values_ranges_and_concatenations() {
    let frame = packet(false, TCP);
    let concatenation = Key::of(&[ip4("10.0.0.1"), Datum::Port(80)]);
    let sets = [
        ("value", plain([KeyType::Ip4]), keys([one(ip4("10.0.0.1"))])),
        ("range", interval(KeyType::Ip4), keys([Key::Range(ip4("10.0.0.0"), ip4("10.0.0.1"))])),
        ("above", interval(KeyType::Ip4), keys([Key::Range(ip4("10.0.0.2"), ip4("10.0.0.9"))])),
        ("below", interval(KeyType::Ip4), keys([Key::Range(ip4("9.0.0.0"), ip4("10.0.0.0"))])),
        ("pair", plain([KeyType::Ip4, KeyType::Port]), keys([concatenation])),
        ("empty", plain([KeyType::Ip4]), Elements::new()),
    ];
    for (name, found) in
        [("value", true), ("range", true), ("above", false), ("below", false), ("empty", false)]
    {
        assert_eq!(holds_in(&sets, &[lookup(Field::Ip4Source, name)], &frame), found, "{name}");
        assert_eq!(holds_in(&sets, &[not_within(Field::Ip4Source, name)], &frame), !found, "not {name}");
    }
    let pair = |first, second| Expr::within([first, second], set_name("pair"));
    assert!(holds_in(&sets, &[pair(Field::Ip4Source, Field::DestinationPort)], &frame));
    assert!(!holds_in(&sets, &[pair(Field::Ip4Destination, Field::DestinationPort)], &frame));
    assert!(!holds_in(&sets, &[lookup(Field::Ip4Source, "none")], &frame), "no set, no element");
}

/// The kernel leaves a rule at a field that the frame does not have: neither a comparison nor its opposite holds.
#[test]
fn nothing_holds_about_a_field_that_is_not_there() {
    let sets = [
        ("ports", plain([KeyType::Port]), keys([one(Datum::Port(80))])),
        ("owners", verdict_map(KeyType::Port), element(one(Datum::Port(80)), Some(Verdict::Drop))),
        ("flows", flows_spec(), Elements::new()),
    ];
    let dispatch = Expr::Dispatch { fields: vec![Field::DestinationPort], map: set_name("owners") };
    for expr in [
        PORT_80,
        Expr::is_not(Field::DestinationPort, Datum::Port(80)),
        lookup(Field::DestinationPort, "ports"),
        not_within(Field::DestinationPort, "ports"),
        ports(0, 65535),
        dispatch,
        update("flows"),
    ] {
        let exprs = [expr];
        assert!(!holds_in(&sets, &exprs, &arp()), "{}", exprs[0]);
    }
}

fn flows_spec() -> SetSpec {
    let dynamic = Dynamic { size: 10, timeout: Duration::from_secs(9) };
    SetSpec { dynamic: Some(dynamic), ..plain([KeyType::Port]) }
}

fn update(set: &str) -> Expr {
    let timeout = Duration::from_secs(9);
    Expr::Update { fields: vec![Field::DestinationPort], set: set_name(set), timeout }
}

#[test]
fn what_a_rule_has_put_into_a_set_is_found_there() {
    let known = rule([lookup(Field::SourcePort, "flows"), accept()]);
    let track = rule([PORT_80, update("flows"), drop()]);
    let table = ruleset(
        [base("forward", Hook::Forward, 0, true, [known, track])],
        [set("flows", flows_spec(), Elements::new())],
    );
    let reply = packet(false, Transport::Tcp { source_port: 80, destination_port: 40_000, flags: 18 });
    let mut flows = Flows::default();
    assert_eq!(judge(&table, &mut flows, &reply), Decision::Drop);
    assert!(flows.is_empty());
    assert_eq!(judge(&table, &mut flows, &packet(false, TCP)), Decision::Drop, "the verdict stands");
    assert!(!flows.is_empty());
    assert_eq!(judge(&table, &mut flows, &reply), Decision::Accept);
}

/// A frame with a tag of this type before its own Ethernet type.
fn tagged(frame: &[u8], tag: u16) -> Vec<u8> {
    [&frame[..12], &tag.to_be_bytes(), &[0, 7], &frame[12..]].concat()
}

#[test_case(0x8100; "customer tag")]
#[test_case(0x88a8; "service tag")]
fn a_vlan_tag_hides_nothing(tag: u16) {
    let frame = tagged(&packet(false, TCP), tag);
    assert!(holds(&[Expr::is(Field::NetworkProtocol, Datum::IP4)], &frame));
    assert!(holds(&[Expr::is(Field::Ip4Source, ip4("10.0.0.1"))], &frame));
    assert!(holds(&[PORT_80], &frame));
    assert!(!holds(&[], &frame[..17]), "without the inner type there is no frame to judge");
}

#[test]
fn bytes_that_are_no_frame_are_not_judged() {
    for length in 0..14 {
        assert!(!holds(&[], &packet(false, TCP)[..length]), "{length} bytes");
    }
}

/// A version 6 packet with extension headers before its TCP header.
fn extended(first: u8, headers: &[u8]) -> Vec<u8> {
    let mut frame = packet(true, TCP);
    frame[20] = first;
    let length = u16::try_from(20 + headers.len()).unwrap();
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame.splice(54..54, headers.iter().copied());
    frame
}

#[test_case(0, &[6, 0, 0, 0, 0, 0, 0, 0]; "hop by hop")]
#[test_case(43, &[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; "routing, of sixteen bytes")]
#[test_case(60, &[6, 0, 0, 0, 0, 0, 0, 0]; "destination")]
#[test_case(51, &[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; "authentication, counted in four bytes")]
#[test_case(44, &[6, 0, 0, 1, 0, 0, 0, 0]; "first fragment")]
#[test_case(0, &[60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0]; "three of them")]
fn transport_is_found_behind_extension_headers(first: u8, headers: &[u8]) {
    let frame = extended(first, headers);
    assert!(holds(&[Expr::is(Field::TransportProtocol, Datum::TCP), PORT_80], &frame));
}

#[test]
fn later_fragments_have_a_protocol_and_no_ports() {
    let mut ip4 = packet(false, TCP);
    ip4[21] = 2;
    let ip6 = extended(44, &[6, 0, 0, 16, 0, 0, 0, 0]);
    for frame in [ip4, ip6] {
        assert!(holds(&[Expr::is(Field::TransportProtocol, Datum::TCP)], &frame));
        assert!(!holds(&[PORT_80], &frame));
    }
}

/// Changes one byte of a packet.
fn with(ip6: bool, at: usize, byte: u8) -> Vec<u8> {
    let mut frame = packet(ip6, TCP);
    frame[at] = byte;
    frame
}

#[test_case(&with(false, 14, 0x65); "version 6 in a version 4 packet")]
#[test_case(&with(false, 14, 0x44); "a header shorter than the shortest")]
#[test_case(&with(false, 14, 0x4f); "a header longer than the packet")]
#[test_case(&with(false, 17, 41); "a packet longer than the frame")]
#[test_case(&with(false, 17, 19); "a packet shorter than its header")]
#[test_case(&packet(false, TCP)[..33]; "half a version 4 header")]
#[test_case(&packet(false, TCP)[..14]; "no version 4 header")]
#[test_case(&with(true, 14, 0x40); "version 4 in a version 6 packet")]
#[test_case(&with(true, 19, 21); "a version 6 packet longer than the frame")]
#[test_case(&packet(true, TCP)[..53]; "half a version 6 header")]
#[test_case(&packet(true, TCP)[..14]; "no version 6 header")]
#[test_case(&extended(0, &[60, 0, 0, 0, 0, 0, 0, 0, 6, 200, 0, 0, 0, 0, 0, 0])[..55]; "an extension header cut off")]
fn a_packet_that_lies_about_itself_has_no_transport(frame: &[u8]) {
    assert!(!holds(&[Expr::is(Field::TransportProtocol, Datum::TCP)], frame));
    assert!(!holds(&[Expr::is_not(Field::TransportProtocol, Datum::TCP)], frame));
    assert!(!holds(&[PORT_80], frame));
}

#[test]
fn ports_beyond_the_end_of_the_frame_are_not_there() {
    let mut frame = packet(false, TCP);
    frame.truncate(36);
    frame[17] = 22;
    assert!(holds(&[Expr::is(Field::SourcePort, Datum::Port(40_000))], &frame));
    assert!(!holds(&[PORT_80], &frame));
}

fn returning() -> Expr {
    Expr::Verdict(Verdict::Return)
}

fn map(verdict: Verdict) -> Ruleset {
    let dispatch = Expr::Dispatch { fields: vec![Field::InputPort], map: set_name("owners") };
    ruleset(
        [
            base("forward", Hook::Forward, 0, false, [rule([dispatch]), rule([drop()])]),
            chain("leaf", [rule([accept()])]),
            chain("empty", []),
        ],
        [set("owners", verdict_map(KeyType::Index), element(one(Datum::Index(3)), Some(verdict)))],
    )
}

#[test_case(&map(Verdict::Accept), Decision::Accept; "accept")]
#[test_case(&map(Verdict::Jump(chain_name("leaf"))), Decision::Accept; "jump")]
#[test_case(&map(Verdict::Jump(chain_name("empty"))), Decision::Drop; "jump and come back")]
#[test_case(&map(Verdict::Goto(chain_name("empty"))), Decision::Accept; "goto and not come back")]
#[test_case(&map(Verdict::Return), Decision::Accept; "return")]
fn a_map_decides_like_a_rule(table: &Ruleset, wanted: Decision) {
    assert_eq!(judge(table, &mut Flows::default(), &arp()), wanted);
}

#[test]
fn a_frame_that_no_element_covers_goes_on() {
    let mut table = map(Verdict::Accept);
    table.sets.clear();
    assert_eq!(judge(&table, &mut Flows::default(), &arp()), Decision::Drop, "the next rule decides");
}

/// The base chain `forward` with these rules, and two chains to lead to.
fn led(exprs: &[&[Expr]], drop_by_default: bool) -> Ruleset {
    let rules: Vec<_> = exprs.iter().map(|exprs| rule(*exprs)).collect();
    let returns_first = chain("returns", [rule([returning()]), rule([drop()])]);
    ruleset(
        [
            base("forward", Hook::Forward, 0, drop_by_default, rules),
            chain("empty", []),
            chain("drops", [rule([drop()])]),
            chain("within", [rule([jump("returns")]), rule([accept()])]),
            returns_first,
        ],
        [],
    )
}

#[test_case(&[], false, Decision::Accept; "nothing decides, default accept")]
#[test_case(&[], true, Decision::Drop; "nothing decides, default drop")]
#[test_case(&[&[jump("empty")], &[drop()]], false, Decision::Drop; "after a jump the next rule decides")]
#[test_case(&[&[goto("empty")], &[drop()]], false, Decision::Accept; "after a goto the default decides")]
#[test_case(&[&[goto("empty")], &[accept()]], true, Decision::Drop; "after a goto the default drops")]
#[test_case(&[&[jump("drops")], &[accept()]], false, Decision::Drop; "a chain drops")]
#[test_case(&[&[jump("returns")], &[drop()]], false, Decision::Drop; "a return leads behind the jump")]
#[test_case(&[&[returning()], &[drop()]], false, Decision::Accept; "a return of the base chain is its end")]
#[test_case(&[&[jump("within")], &[drop()]], true, Decision::Accept; "a return leads behind the inner jump only")]
#[test_case(&[&[jump("gone")], &[drop()]], false, Decision::Drop; "a chain that is not there decides nothing")]
#[test_case(&[&[accept(), drop()]], true, Decision::Accept; "the first verdict of a rule counts")]
fn chains_lead_to_each_other(exprs: &[&[Expr]], drop_by_default: bool, wanted: Decision) {
    assert_eq!(judge(&led(exprs, drop_by_default), &mut Flows::default(), &arp()), wanted);
}

/// A chain that jumps `depth` times before it accepts.
fn ladder(depth: usize) -> Vec<(ChainName, Chain)> {
    let step = |at: usize| {
        let next = if at == depth { accept() } else { jump(&format!("step-{}", at + 1)) };
        chain(&format!("step-{at}"), [rule([next])])
    };
    let first = base("forward", Hook::Forward, 0, true, [rule([jump("step-1")])]);
    (1..=depth).map(step).chain([first]).collect()
}

/// `NFT_JUMP_STACK_SIZE`, `include/net/netfilter/nf_tables.h`.
#[test_case(16, Decision::Accept; "as deep as the kernel goes")]
#[test_case(17, Decision::Drop; "deeper")]
fn jumps_end_at_the_kernels_depth(depth: usize, wanted: Decision) {
    assert_eq!(judge(&ruleset(ladder(depth), []), &mut Flows::default(), &arp()), wanted);
}

#[test]
fn base_chains_run_by_priority_until_one_drops() {
    let track = |name: &str, set: &str, priority, last: Expr| {
        let exprs = [
            Expr::Update { fields: vec![Field::EtherSource], set: set_name(set), timeout: Duration::ZERO },
            last,
        ];
        base(name, Hook::Forward, priority, false, [rule(exprs)])
    };
    let seen = |chains: Vec<(ChainName, Chain)>| {
        let mut flows = Flows::default();
        let decision = judge(&ruleset(chains, []), &mut flows, &arp());
        (decision, format!("{flows:?}"))
    };
    let (decision, reached) =
        seen(vec![track("a", "late", 10, accept()), track("b", "early", -10, accept())]);
    assert_eq!(decision, Decision::Accept);
    assert!(reached.contains("late") && reached.contains("early"), "accept ends one chain only: {reached}");
    let (decision, reached) = seen(vec![track("a", "late", 10, accept()), track("b", "early", -10, drop())]);
    assert_eq!(decision, Decision::Drop);
    assert!(!reached.contains("late"), "a dropped frame is gone: {reached}");
    let (decision, reached) = seen(vec![track("b", "late", 0, accept()), track("a", "early", 0, drop())]);
    assert_eq!(decision, Decision::Drop);
    assert!(!reached.contains("late"), "of equal priority, the first name comes first: {reached}");
}

#[test]
fn a_hook_asks_only_its_own_chains() {
    let table = ruleset([base("in", Hook::Prerouting, 0, true, []), chain("forward", [rule([drop()])])], []);
    let frame = arp();
    let at = |hook| {
        let passage = Passage { hook, input: Some(3), output: None, bridge: None, frame: &frame };
        evaluate(&table, &mut Flows::default(), &passage)
    };
    assert_eq!(at(Hook::Prerouting), Decision::Drop);
    for hook in [Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting] {
        assert_eq!(at(hook), Decision::Accept, "{hook}");
    }
}

#[test_case(Field::InputPort; "input port of the node's own frame")]
#[test_case(Field::OutputPort; "output port before the frame is routed")]
fn a_port_that_the_hook_does_not_know_has_the_number_zero(field: Field) {
    for expr in [Expr::is(field, Datum::Index(0)), Expr::is_not(field, Datum::Index(7))] {
        let table = ruleset([base("forward", Hook::Forward, 0, false, [rule([expr, drop()])])], []);
        let frame = arp();
        let passage = Passage { hook: Hook::Forward, input: None, output: None, bridge: None, frame: &frame };
        assert_eq!(evaluate(&table, &mut Flows::default(), &passage), Decision::Drop);
    }
}
