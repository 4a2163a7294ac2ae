//! The guard: a managed port sends only what its attachment may send with, its own MAC and addresses.
//!
//! The rules are fixed; what belongs to a port are elements of a few sets under (port, value), so a guarded pod costs
//! elements and no rules, and a frame of a guarded port a constant number of look-ups. The guard stands before the
//! policies of the attachment, and also where there are none: the port's verdict is then a chain that ends in accept.
//!
//! Only ports with an owner are guarded. A frame that is led here by its MAC alone, because the port of its attachment is
//! not known yet, passes on to the policies.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::skeleton::{
    ICMP6_ADVERTISEMENT, ICMP6_LISTENER, ICMP6_ROUTER_ADVERTISEMENT, ICMP6_ROUTER_SOLICITATION,
    ICMP6_SOLICITATION, accept, arp_request, chain, goto, icmp6, jump, managed_ports, rule,
};
use super::tracking::Origin;
use crate::config::Config;
use crate::model::{Attachment, BridgeNetwork, Guard};
use crate::ruleset::{
    ChainName, Datum, Expr, Field, Key, KeyType, Rule, Ruleset, Set, SetName, SetSpec, Verdict,
};

/// RFC 4861 section 4.6.1: the link-layer address of a message's sender.
const SOURCE_LINK_LAYER: u8 = 1;
/// RFC 4861 section 4.6.1: the link-layer address of a message's target.
const TARGET_LINK_LAYER: u8 = 2;

/// What may be sent with, each kind in a set of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Own {
    Ip4,
    Ip6,
    /// The MAC again, as it is read from an option of neighbour discovery.
    LinkLayer,
    Mac,
    /// The IPv6 addresses again, as they are read from an advertisement's target.
    Target,
}

impl Own {
    const ALL: [Self; 5] = [Self::Ip4, Self::Ip6, Self::LinkLayer, Self::Mac, Self::Target];

    fn set(self) -> SetName {
        SetName::new(match self {
            Self::Ip4 => "guard-ip4",
            Self::Ip6 => "guard-ip6",
            Self::LinkLayer => "guard-link-layer",
            Self::Mac => "guard-mac",
            Self::Target => "guard-target",
        })
    }

    const fn key_type(self) -> KeyType {
        match self {
            Self::Ip4 => KeyType::Ip4,
            Self::Ip6 => KeyType::Ip6,
            Self::LinkLayer => KeyType::RawMac,
            Self::Mac => KeyType::Mac,
            Self::Target => KeyType::RawIp6,
        }
    }

    /// The condition that a field is the port's own.
    fn holds(self, field: Field) -> Expr {
        Expr::within(vec![Field::InputPort, field], self.set())
    }

    /// The condition that it is not.
    fn fails(self, field: Field) -> Expr {
        Expr::Lookup { fields: vec![Field::InputPort, field], set: self.set(), negated: true }
    }
}

/// An element of a port: which set, and the value beside the port.
pub(crate) type OwnValue = (SetName, Datum);

/// The guard of an attachment: what its network asks for, or else the agent's settings. Of an attachment without known addresses
/// none can be called foreign, so only its MAC is guarded.
pub(crate) fn guard_of(attachment: &Attachment, bridge: &BridgeNetwork, config: &Config) -> Option<Guard> {
    match bridge.guard.or(config.guard) {
        Some(Guard::MacIp) if attachment.addresses.is_empty() => Some(Guard::Mac),
        asked => asked,
    }
}

/// What the port of an attachment may send with.
pub(crate) fn own_values(attachment: &Attachment, guard: Option<Guard>) -> BTreeSet<OwnValue> {
    let (Some(guard), Some(mac)) = (guard, attachment.mac) else { return BTreeSet::new() };
    let mut own =
        BTreeSet::from([(Own::Mac.set(), Datum::Mac(mac)), (Own::LinkLayer.set(), Datum::RawMac(mac))]);
    if guard == Guard::MacIp {
        let link_local = IpAddr::V6(mac.link_local());
        for address in attachment.addresses.iter().copied().chain([link_local]) {
            match address {
                IpAddr::V4(address) => {
                    own.insert((Own::Ip4.set(), Datum::Ip4(address)));
                }
                IpAddr::V6(address) => {
                    own.insert((Own::Ip6.set(), Datum::Ip6(address)));
                    own.insert((Own::Target.set(), Datum::RawIp6(address)));
                }
            }
        }
    }
    own
}

/// The element for a value of a port.
pub(crate) fn own_key(port: u32, value: Datum) -> Key {
    Key::of(&[Datum::Index(port), value])
}

/// The rule that has a guarded attachment's own chain begin with the guard.
pub(crate) fn guarded(guard: Guard) -> Rule {
    jump(check_chain(guard))
}

/// What the dispatch map says for a guarded port instead of `verdict`, which is that of the policies. A chain of the
/// attachment begins with the guard itself.
pub(crate) fn guarded_verdict(guard: Guard, verdict: &Verdict) -> Verdict {
    let unjudged = Origin::Started.unjudged_chain();
    match verdict {
        Verdict::Accept => Verdict::Goto(free_chain(guard)),
        Verdict::Goto(chain) if *chain == unjudged => Verdict::Goto(unjudged_chain(guard)),
        Verdict::Drop | Verdict::Goto(_) | Verdict::Jump(_) | Verdict::Return => verdict.clone(),
    }
}

/// Adds the fixed chains and the empty sets.
pub(crate) fn add_guard(ruleset: &mut Ruleset) {
    for own in Own::ALL {
        let spec = SetSpec { key: vec![KeyType::Index, own.key_type()], ..SetSpec::default() };
        ruleset.sets.insert(own.set(), Set::empty(spec));
    }
    let mut add = |name, rules| ruleset.chains.insert(name, chain(None, rules));
    let managed = Expr::within(vec![Field::InputPort], managed_ports());
    add(violation(), vec![rule(vec![managed, Expr::Counter, Expr::Verdict(Verdict::Drop)])]);
    add(check_chain(Guard::Mac), mac_rules());
    add(check_chain(Guard::MacIp), mac_ip_rules());
    for guard in [Guard::Mac, Guard::MacIp] {
        add(free_chain(guard), vec![guarded(guard), accept(Vec::new())]);
        add(unjudged_chain(guard), vec![guarded(guard), goto(Origin::Started.unjudged_chain())]);
    }
}

const fn word(guard: Guard) -> &'static str {
    match guard {
        Guard::Mac => "mac",
        Guard::MacIp => "mac-ip",
    }
}

/// The chain that drops what a guarded port may not send, and returns for everything else.
fn check_chain(guard: Guard) -> ChainName {
    ChainName::new(format!("guard-{}", word(guard)))
}

/// The chain for the frames of a guarded port that no policy isolates.
fn free_chain(guard: Guard) -> ChainName {
    ChainName::new(format!("guarded-{}", word(guard)))
}

/// The chain for the frames of a guarded port that is isolated in the other direction only.
fn unjudged_chain(guard: Guard) -> ChainName {
    ChainName::new(format!("guarded-{}-unjudged-egress", word(guard)))
}

/// Where what a guarded port may not send ends.
fn violation() -> ChainName {
    ChainName::new("guard-violation")
}

fn refused(mut conditions: Vec<Expr>) -> Rule {
    conditions.extend(goto(violation()).exprs);
    rule(conditions)
}

fn fine(mut conditions: Vec<Expr>) -> Rule {
    conditions.push(Expr::Verdict(Verdict::Return));
    rule(conditions)
}

/// The conditions for an option of neighbour discovery with another MAC. Only the first option is seen: nft looks at fixed
/// places. What hides behind another option is about the sender's own address all the same.
fn foreign_option(message: u8, option: u8) -> Vec<Expr> {
    let mut exprs = icmp6(message);
    exprs.push(Expr::is(Field::NeighbourOption, Datum::Byte(option)));
    exprs.push(Own::LinkLayer.fails(Field::NeighbourLinkLayer));
    exprs
}

fn mac_rules() -> Vec<Rule> {
    let arp = Expr::is(Field::NetworkProtocol, Datum::ARP);
    vec![
        refused(vec![Own::Mac.fails(Field::EtherSource)]),
        fine(vec![Expr::is(Field::NetworkProtocol, Datum::IP4)]),
        refused(vec![arp, Own::Mac.fails(Field::ArpSenderMac)]),
        refused(icmp6(ICMP6_ROUTER_ADVERTISEMENT)),
        refused(foreign_option(ICMP6_SOLICITATION, SOURCE_LINK_LAYER)),
        refused(foreign_option(ICMP6_ADVERTISEMENT, TARGET_LINK_LAYER)),
    ]
}

fn mac_ip_rules() -> Vec<Rule> {
    let network = |protocol| Expr::is(Field::NetworkProtocol, protocol);
    let no_ip4 = |field| Expr::is(field, Datum::Ip4(Ipv4Addr::UNSPECIFIED));
    let mut rules = vec![
        guarded(Guard::Mac),
        fine(vec![network(Datum::IP4), Own::Ip4.holds(Field::Ip4Source)]),
        // A DHCP client without an address: RFC 2131 section 4.1.
        fine(vec![
            network(Datum::IP4),
            no_ip4(Field::Ip4Source),
            Expr::is(Field::TransportProtocol, Datum::UDP),
            Expr::is(Field::SourcePort, Datum::Port(68)),
            Expr::is(Field::DestinationPort, Datum::Port(67)),
        ]),
        refused(vec![network(Datum::IP4)]),
        fine(vec![network(Datum::ARP), Own::Ip4.holds(Field::ArpSenderIp)]),
        // An ARP probe: RFC 5227 section 2.1.1.
        fine([arp_request(), vec![no_ip4(Field::ArpSenderIp)]].concat()),
        refused(vec![network(Datum::ARP)]),
        refused([icmp6(ICMP6_ADVERTISEMENT), vec![Own::Target.fails(Field::NeighbourTarget)]].concat()),
        fine(vec![network(Datum::IP6), Own::Ip6.holds(Field::Ip6Source)]),
    ];
    // What a host sends before it has an address: RFC 4862 section 5.4.2, RFC 4861 section 4.1, RFC 3590.
    for kind in [ICMP6_SOLICITATION, ICMP6_ROUTER_SOLICITATION].into_iter().chain(ICMP6_LISTENER) {
        let unspecified = Expr::is(Field::Ip6Source, Datum::Ip6(Ipv6Addr::UNSPECIFIED));
        rules.push(fine([icmp6(kind), vec![unspecified]].concat()));
    }
    rules.push(refused(vec![network(Datum::IP6)]));
    rules
}
