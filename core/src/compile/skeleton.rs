//! The table's fixed parts: base chains, dispatch maps, what always passes. They are there whatever the world is.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::guard::add_guard;
use super::quarantine::{add_quarantine, quarantine_chain};
use super::{belongings, conntrack, tracking};
use crate::config::{Config, StateEngine};
use crate::model::Direction;
use crate::ruleset::{
    BaseChain, Chain, ChainName, ChainSpec, Datum, Dynamic, Expr, Field, Hook, KeyType, Rule, Ruleset, Set,
    SetName, SetSpec, Verdict,
};

/// Behind `filter` in the bridge family (`NF_BR_PRI_FILTER_BRIDGED`, `uapi/linux/netfilter_bridge.h`), which is also
/// where conntrack sees a frame: it must have.
pub(crate) const PRIORITY: i32 = -150;

/// How long an ARP claim is remembered: the shortest time that nft can write down.
const CLAIM: Duration = Duration::from_secs(1);

/// The map from a port to what judges the frames that it sends.
fn egress_port() -> SetName {
    SetName::new("egress-port")
}

/// The map from a port to what judges the frames that leave by it.
fn ingress_port() -> SetName {
    SetName::new("ingress-port")
}

/// The map from a source MAC to what judges its frames, for attachments whose port is not known yet.
fn egress_mac() -> SetName {
    SetName::new("egress-mac")
}

/// The map from a destination MAC, likewise.
fn ingress_mac() -> SetName {
    SetName::new("ingress-mac")
}

/// The maps that lead to what is enforced for an attachment: by port, and while that is not known by MAC. Each in the
/// order of the verdicts of an `Enforcement`.
#[derive(Clone, Debug)]
pub(crate) struct Maps {
    pub(crate) ports: Vec<SetName>,
    pub(crate) macs: Vec<SetName>,
}

impl Maps {
    /// Those that a table with this engine has.
    pub(crate) fn of(state: StateEngine) -> Self {
        let mut maps =
            Self { ports: vec![egress_port(), ingress_port()], macs: vec![egress_mac(), ingress_mac()] };
        if state == StateEngine::Conntrack {
            maps.ports.push(conntrack::node_port());
            maps.macs.push(conntrack::node_mac());
        }
        maps
    }
}

/// The set of the ports of all managed pods.
pub(crate) fn managed_ports() -> SetName {
    SetName::new("managed-ports")
}

/// The chain that passes what always passes in `direction`.
pub(crate) fn always(direction: Direction) -> ChainName {
    ChainName::new(format!("always-{direction}"))
}

/// The chain that passes what a DHCP client sends or gets.
pub(crate) fn dhcp_client(direction: Direction) -> ChainName {
    ChainName::new(format!("dhcp-client-{direction}"))
}

/// A ruleset of the fixed parts alone.
pub(crate) fn skeleton(config: &Config) -> Ruleset {
    let mut ruleset = Ruleset::default();
    ruleset.mark_layout();
    for (name, key) in [
        (egress_port(), KeyType::Index),
        (ingress_port(), KeyType::Index),
        (egress_mac(), KeyType::Mac),
        (ingress_mac(), KeyType::Mac),
    ] {
        let spec = SetSpec { key: vec![key], verdict_map: true, ..SetSpec::default() };
        ruleset.sets.insert(name, Set::empty(spec));
    }
    let ports = SetSpec { key: vec![KeyType::Index], ..SetSpec::default() };
    ruleset.sets.insert(managed_ports(), Set::empty(ports));
    ruleset.sets.insert(claimed(), Set::empty(claimed_spec()));
    base_chains(&mut ruleset, config);
    for direction in Direction::ALL {
        ruleset.chains.insert(always(direction), chain(None, always_rules(direction, config)));
        ruleset.chains.insert(dhcp_client(direction), chain(None, dhcp_rules(direction)));
    }
    tracking::add(&mut ruleset, config.state);
    belongings::add(&mut ruleset, config.state);
    if config.state == StateEngine::Conntrack {
        conntrack::add(&mut ruleset);
    }
    add_guard(&mut ruleset);
    add_quarantine(&mut ruleset, config);
    ruleset
}

fn base_chains(ruleset: &mut Ruleset, config: &Config) {
    let mut egress =
        vec![dispatch(Field::InputPort, egress_port()), dispatch(Field::EtherSource, egress_mac())];
    let mut ingress =
        vec![dispatch(Field::OutputPort, ingress_port()), dispatch(Field::EtherDestination, ingress_mac())];
    if config.quarantine {
        // Behind the ports with an owner, before a MAC can speak for a port without one.
        egress.insert(1, jump(quarantine_chain(Direction::Egress)));
        ingress.insert(1, jump(quarantine_chain(Direction::Ingress)));
    }
    for (hook, rules) in
        [(Hook::Prerouting, egress), (Hook::Forward, ingress.clone()), (Hook::Output, ingress)]
    {
        ruleset.chains.insert(ChainName::new(format!("{hook}")), chain(Some(base(hook, PRIORITY)), rules));
    }
}

/// A base chain that passes whatever it does not decide about.
pub(crate) const fn base(hook: Hook, priority: i32) -> BaseChain {
    BaseChain { hook, priority, drop_by_default: false }
}

/// A rule that does what a map says about a field.
pub(crate) fn dispatch(field: Field, map: SetName) -> Rule {
    rule(vec![Expr::Dispatch { fields: vec![field], map }])
}

// ICMPv6 types: RFC 4861 section 4, RFC 2710 section 3, RFC 3810 section 5.2.
/// A router solicitation.
pub(crate) const ICMP6_ROUTER_SOLICITATION: u8 = 133;
/// A router advertisement.
pub(crate) const ICMP6_ROUTER_ADVERTISEMENT: u8 = 134;
/// A neighbour solicitation.
pub(crate) const ICMP6_SOLICITATION: u8 = 135;
/// A neighbour advertisement.
pub(crate) const ICMP6_ADVERTISEMENT: u8 = 136;
/// Reports and leave messages of multicast listeners, both versions.
pub(crate) const ICMP6_LISTENER: [u8; 3] = [131, 132, 143];

/// What passes an isolated attachment in `direction`, whatever its policies say.
fn always_rules(direction: Direction, config: &Config) -> Vec<Rule> {
    let mut rules = match direction {
        Direction::Egress => vec![
            // An ARP probe, and duplicate address detection: RFC 5227 section 2.1.1, RFC 4862 section 5.4.2.
            accept(
                [arp_request(), vec![Expr::is(Field::ArpSenderIp, Datum::Ip4(Ipv4Addr::UNSPECIFIED))]]
                    .concat(),
            ),
            accept(
                [
                    icmp6(ICMP6_SOLICITATION),
                    vec![Expr::is(Field::Ip6Source, Datum::Ip6(Ipv6Addr::UNSPECIFIED))],
                ]
                .concat(),
            ),
            accept(icmp6(ICMP6_ROUTER_SOLICITATION)),
            accept(icmp6(ICMP6_LISTENER[0])),
            accept(icmp6(ICMP6_LISTENER[1])),
            accept(icmp6(ICMP6_LISTENER[2])),
        ],
        Direction::Ingress => {
            let from_a_pod = Expr::within(vec![Field::InputPort], managed_ports());
            let dropped = [from_a_pod, Expr::Counter, Expr::Verdict(Verdict::Drop)];
            vec![
                rule(icmp6(ICMP6_ROUTER_ADVERTISEMENT).into_iter().chain(dropped).collect()),
                accept(icmp6(ICMP6_ROUTER_ADVERTISEMENT)),
            ]
        }
    };
    rules.extend(belongings::rules(direction, config.state));
    if config.accept_icmp {
        let icmp = Expr::is(Field::TransportProtocol, Datum::ICMP);
        rules.push(accept(vec![Expr::is(Field::NetworkProtocol, Datum::IP4), icmp]));
    }
    if config.accept_icmp6 {
        rules.extend(accept_icmp6());
    }
    rules
}

/// All ICMPv6 but neighbour solicitations and advertisements, whose rules stand.
fn accept_icmp6() -> Vec<Rule> {
    [(0, 134), (137, 255)].map(|(low, high)| accept(icmp6_between(low, high))).into()
}

/// What a DHCP client sends (egress) and gets (ingress): RFC 2131 section 4.1, RFC 8415 section 7.2.
fn dhcp_rules(direction: Direction) -> Vec<Rule> {
    let ports = |ip6, client, server| {
        let (source, destination) = match direction {
            Direction::Egress => (client, server),
            Direction::Ingress => (server, client),
        };
        accept(vec![
            Expr::is(Field::NetworkProtocol, if ip6 { Datum::IP6 } else { Datum::IP4 }),
            Expr::is(Field::TransportProtocol, Datum::UDP),
            Expr::is(Field::SourcePort, Datum::Port(source)),
            Expr::is(Field::DestinationPort, Datum::Port(destination)),
        ])
    };
    vec![ports(false, 68, 67), ports(true, 546, 547)]
}

/// The addresses that a port has lately claimed by ARP.
fn claimed() -> SetName {
    SetName::new("claimed-ip4")
}

fn claimed_spec() -> SetSpec {
    let dynamic = Some(Dynamic { size: tracking::FLOWS_MAX, timeout: CLAIM });
    SetSpec { key: vec![KeyType::Index, KeyType::Ip4], dynamic, ..SetSpec::default() }
}

/// Rules that pass an announcement of an attachment whose addresses nobody knows: it asks for the address that it sends
/// from. Two fields of a frame cannot be compared, but the second can be looked up where the first has just been put.
pub(crate) fn claims() -> Vec<Rule> {
    let port_and = |address| vec![Field::InputPort, address];
    let claim = Expr::Update { fields: port_and(Field::ArpSenderIp), set: claimed(), timeout: CLAIM };
    let arp = || Expr::is(Field::NetworkProtocol, Datum::ARP);
    vec![rule(vec![arp(), claim]), accept(vec![arp(), Expr::within(port_and(Field::ArpTargetIp), claimed())])]
}

/// The condition that a frame carries IPv4, or IPv6.
pub(crate) fn network(ip6: bool) -> Expr {
    Expr::is(Field::NetworkProtocol, if ip6 { Datum::IP6 } else { Datum::IP4 })
}

/// The conditions for an ICMPv6 message of this type.
pub(crate) fn icmp6(kind: u8) -> Vec<Expr> {
    of_icmp6(Expr::is(Field::Icmp6Type, Datum::Byte(kind)))
}

/// The conditions for an ICMPv6 message of a type between these.
pub(crate) fn icmp6_between(low: u8, high: u8) -> Vec<Expr> {
    of_icmp6(Expr::Range { field: Field::Icmp6Type, low: Datum::Byte(low), high: Datum::Byte(high) })
}

fn of_icmp6(kind: Expr) -> Vec<Expr> {
    vec![network(true), Expr::is(Field::TransportProtocol, Datum::ICMP6), kind]
}

/// The conditions for an ARP request.
pub(crate) fn arp_request() -> Vec<Expr> {
    vec![Expr::is(Field::NetworkProtocol, Datum::ARP), Expr::is(Field::ArpOperation, Datum::ArpOperation(1))]
}

/// The condition that a frame is for more than one station.
pub(crate) fn multicast() -> Expr {
    group_bit(1)
}

/// The condition that a frame is for one station.
pub(crate) fn unicast() -> Expr {
    group_bit(0)
}

fn group_bit(value: u8) -> Expr {
    let field = Field::EtherDestinationFirst;
    Expr::Compare { field, mask: Some(1), negated: false, value: Datum::Byte(value) }
}

/// A chain without a comment.
pub(crate) fn chain(base: Option<BaseChain>, rules: Vec<Rule>) -> Chain {
    Chain { spec: ChainSpec { base, comment: String::new() }, rules }
}

/// A rule without a comment.
pub(crate) fn rule(exprs: Vec<Expr>) -> Rule {
    Rule { exprs, comment: String::new() }
}

/// A rule that accepts what meets the conditions.
pub(crate) fn accept(mut exprs: Vec<Expr>) -> Rule {
    exprs.push(Expr::Verdict(Verdict::Accept));
    rule(exprs)
}

/// A rule that jumps.
pub(crate) fn jump(chain: ChainName) -> Rule {
    rule(vec![Expr::Verdict(Verdict::Jump(chain))])
}

/// A rule that leaves the rest to another chain.
pub(crate) fn goto(chain: ChainName) -> Rule {
    rule(vec![Expr::Verdict(Verdict::Goto(chain))])
}
