//! What belongs to a flow without being a packet of it: ICMP errors about its packets, and the later fragments of its
//! datagrams.
//!
//! An error is known by the packet that it carries: whoever lets a packet through in its original direction records its
//! addresses and the two bytes behind its header, which with most transports are its source port (nft can list no more
//! numbers in one key). An error passes when that packet, or one that answers it, is what it carries, and when it goes to
//! whoever sent it.
//!
//! Only the first fragment of a datagram says where it belongs. Once it has passed every rule, its identification is
//! recorded, and the later fragments are let through by that. With conntrack, the bridge puts datagrams together before
//! any rule sees them, so only what the node sends comes in fragments.

use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use super::skeleton::{PRIORITY, accept, base, chain, icmp6_between, jump, network, rule};
use super::tracking::{FLOWS_MAX, Origin, bridged};
use crate::config::StateEngine;
use crate::model::Direction;
use crate::ruleset::{
    ChainName, ConnectionState, Datum, Dynamic, Expr, Field, Hook, KeyType, Rule, Ruleset, Set, SetName,
    SetSpec,
};

/// How long after a packet an error about it is expected.
const ERROR: Duration = Duration::from_mins(2);
/// How long the fragments of a datagram may take (`IP_FRAG_TIME`, `include/net/ip.h`).
const FRAGMENTS: Duration = Duration::from_secs(30);
/// Behind the rules that judge, so that only what has passed is seen.
const LATE: i32 = PRIORITY + 10;
/// Destination unreachable, time exceeded, parameter problem: RFC 792.
const ICMP_ERRORS: [u8; 3] = [3, 11, 12];
/// Destination unreachable, packet too big, time exceeded, parameter problem: RFC 4443 section 2.1.
const ICMP6_ERRORS: (u8, u8) = (1, 4);
/// More fragments follow, and the offset: RFC 791 section 3.1.
const MORE_AND_OFFSET: u16 = 0x3fff;
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// The port that is the attachment's.
const fn own_port(direction: Direction) -> Field {
    match direction {
        Direction::Egress => Field::InputPort,
        Direction::Ingress => Field::OutputPort,
    }
}

fn lately(origin: Origin, ip6: bool) -> SetName {
    SetName::new(format!("lately-{}-{}", origin.word(), if ip6 { "ip6" } else { "ip4" }))
}

fn fragments(direction: Direction, ip6: bool) -> SetName {
    SetName::new(format!("fragments-{}-{direction}", if ip6 { "ip6" } else { "ip4" }))
}

fn errors(direction: Direction, ip6: bool) -> ChainName {
    ChainName::new(format!("errors-{}-{direction}", if ip6 { "ip6" } else { "ip4" }))
}

/// Adds the sets and chains.
pub(crate) fn add(ruleset: &mut Ruleset, state: StateEngine) {
    let mut set = |name, key: &[KeyType], timeout| {
        let dynamic = Some(Dynamic { size: FLOWS_MAX, timeout });
        let spec = SetSpec { key: key.into(), dynamic, ..SetSpec::default() };
        ruleset.sets.insert(name, Set::empty(spec));
    };
    for ip6 in [false, true] {
        let address = if ip6 { KeyType::RawIp6 } else { KeyType::RawIp4 };
        let key = [KeyType::Index, address, address, KeyType::RawShort];
        for origin in [Origin::Admitted, Origin::Started] {
            set(lately(origin, ip6), &key, ERROR);
        }
    }
    for direction in Direction::ALL {
        let ip4 = [KeyType::Index, KeyType::Ip4, KeyType::Ip4, KeyType::RawShort];
        let ip6 = [KeyType::Index, KeyType::Ip6, KeyType::Ip6, KeyType::FragmentId];
        set(fragments(direction, false), &ip4, FRAGMENTS);
        set(fragments(direction, true), &ip6, FRAGMENTS);
        for ip6 in [false, true] {
            ruleset.chains.insert(errors(direction, ip6), chain(None, error_rules(direction, ip6)));
        }
    }
    let hooks: &[(Hook, Direction)] = match state {
        StateEngine::Conntrack => &[(Hook::Output, Direction::Ingress)],
        StateEngine::Sets => &[
            (Hook::Prerouting, Direction::Egress),
            (Hook::Forward, Direction::Ingress),
            (Hook::Output, Direction::Ingress),
        ],
    };
    for (hook, direction) in hooks {
        let rules = [false, true].map(|ip6| first_fragment(*direction, ip6)).into();
        ruleset
            .chains
            .insert(ChainName::new(format!("fragments-{hook}")), chain(Some(base(*hook, LATE)), rules));
    }
}

/// The rules that record a packet that is let through in its original direction, for errors about it. They decide
/// nothing, also where a set is full.
pub(crate) fn record(origin: Origin) -> [Rule; 2] {
    [false, true].map(|ip6| {
        let own = match origin {
            Origin::Admitted => Field::OutputPort,
            Origin::Started => Field::InputPort,
        };
        let fields = if ip6 {
            vec![own, Field::RawIp6Source, Field::RawIp6Destination, Field::Ip6First]
        } else {
            vec![own, Field::RawIp4Source, Field::RawIp4Destination, Field::Ip4First]
        };
        rule(vec![network(ip6), Expr::Update { fields, set: lately(origin, ip6), timeout: ERROR }])
    })
}

/// The rules that pass what belongs to a flow, in `direction`.
pub(crate) fn rules(direction: Direction, state: StateEngine) -> Vec<Rule> {
    let mut rules = Vec::new();
    if state == StateEngine::Conntrack {
        for protocol in [Datum::ICMP, Datum::ICMP6] {
            let related = Expr::State(ConnectionState::Related);
            rules.push(accept(vec![bridged(), Expr::is(Field::TransportProtocol, protocol), related]));
        }
    }
    for kind in ICMP_ERRORS {
        let conditions = vec![
            network(false),
            Expr::is(Field::TransportProtocol, Datum::ICMP),
            Expr::is(Field::IcmpType, Datum::Byte(kind)),
        ];
        rules.push(to_errors(conditions, direction, false));
    }
    let (low, high) = ICMP6_ERRORS;
    rules.push(to_errors(icmp6_between(low, high), direction, true));
    rules.extend([false, true].map(|ip6| later_fragment(direction, ip6)));
    rules
}

fn to_errors(mut conditions: Vec<Expr>, direction: Direction, ip6: bool) -> Rule {
    conditions.extend(jump(errors(direction, ip6)).exprs);
    rule(conditions)
}

/// What the fragments of a datagram have in common, at a port.
fn datagram(direction: Direction, ip6: bool) -> Vec<Field> {
    let own = own_port(direction);
    if ip6 {
        vec![own, Field::Ip6Source, Field::Ip6Destination, Field::Ip6FragmentId]
    } else {
        vec![own, Field::Ip4Source, Field::Ip4Destination, Field::Ip4Id]
    }
}

/// The rule that records the first fragment of a datagram. Only a packet with a fragment header has an offset in IPv6; one
/// that is whole in spite of its header (RFC 6946) is recorded as well, which opens nothing: its later fragments would
/// belong to it.
fn first_fragment(direction: Direction, ip6: bool) -> Rule {
    let first = if ip6 {
        offset(Field::Ip6FragmentOffset, Field::IP6_OFFSET_BITS, false, 0)
    } else {
        offset(Field::Ip4Fragment, MORE_AND_OFFSET, false, MORE)
    };
    let (fields, set) = (datagram(direction, ip6), fragments(direction, ip6));
    rule(vec![network(ip6), first, Expr::Update { fields, set, timeout: FRAGMENTS }])
}

/// The rule that passes the fragments behind the first one.
fn later_fragment(direction: Direction, ip6: bool) -> Rule {
    let later = if ip6 {
        offset(Field::Ip6FragmentOffset, Field::IP6_OFFSET_BITS, true, 0)
    } else {
        offset(Field::Ip4Fragment, OFFSET, true, 0)
    };
    let known = Expr::within(datagram(direction, ip6), fragments(direction, ip6));
    accept(vec![network(ip6), later, known])
}

fn offset(field: Field, mask: u16, negated: bool, value: u16) -> Expr {
    Expr::Compare { field, mask: Some(mask), negated, value: Datum::RawShort(value) }
}

/// An error goes to who sent the packet that it carries, so its own destination is that packet's source.
fn error_rules(direction: Direction, ip6: bool) -> Vec<Rule> {
    let (source, destination, first, second) = if ip6 {
        (Field::RawIp6Destination, Field::Error6Destination, Field::Error6First, Field::Error6Second)
    } else {
        (Field::RawIp4Destination, Field::Error4Destination, Field::Error4First, Field::Error4Second)
    };
    let own = own_port(direction);
    // An error that leaves the attachment is about a packet that came to it, one that arrives about a packet that it sent.
    let (of_original, of_answer) = match direction {
        Direction::Egress => (Origin::Admitted, Origin::Started),
        Direction::Ingress => (Origin::Started, Origin::Admitted),
    };
    vec![
        accept(vec![Expr::within(vec![own, source, destination, first], lately(of_original, ip6))]),
        accept(vec![Expr::within(vec![own, destination, source, second], lately(of_answer, ip6))]),
    ]
}
