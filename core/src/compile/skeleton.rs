//! The table's fixed parts: base chains, dispatch maps, connection tracking. They are there whatever the world is.
//!
//! Tracking without the kernel's conntrack: every flow that an isolated attachment starts, or that is admitted to it,
//! is an element of a dynamic set under (port, local address, remote address, local port, remote port). A reply is a
//! packet whose mirrored key is there. The original direction is always judged by the policies, so a flow that is no
//! longer allowed stops at once; its element only ever opens the reply direction.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::config::Config;
use crate::model::{Direction, Protocol};
use crate::ruleset::{
    BaseChain, Chain, ChainName, ChainSpec, Datum, Dynamic, Elements, Expr, Field, Hook, KeyType, Rule,
    Ruleset, Set, SetName, SetSpec, Verdict,
};

/// `filter` in the bridge family (`NF_BR_PRI_FILTER_BRIDGED`, `uapi/linux/netfilter_bridge.h`).
const PRIORITY: i32 = -200;

/// The most flows of one kind, protocol and family that are tracked on the node.
const FLOWS_MAX: u32 = 65_536;

/// A TCP flow that has not got beyond its first packet, or is closing (`TCP_CONNTRACK_SYN_SENT`,
/// `net/netfilter/nf_conntrack_proto_tcp.c`).
const TCP_OPENING: Duration = Duration::from_mins(2);
/// An established TCP flow (`TCP_CONNTRACK_ESTABLISHED`, the same file).
const TCP_ESTABLISHED: Duration = Duration::from_hours(5 * 24);
/// UDP in both directions (`UDP_CT_REPLIED`, `net/netfilter/nf_conntrack_proto_udp.c`).
const UDP: Duration = Duration::from_mins(2);
/// An SCTP association (`SCTP_CONNTRACK_ESTABLISHED`, `net/netfilter/nf_conntrack_proto_sctp.c`).
const SCTP: Duration = Duration::from_secs(210);
/// An echo request that waits for its reply (`nf_ct_icmp_timeout`, `net/netfilter/nf_conntrack_proto_icmp.c`).
const ECHO: Duration = Duration::from_secs(30);

/// How long an ARP claim is remembered: the shortest time that nft can write down.
const CLAIM: Duration = Duration::from_secs(1);

const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
const TCP_FIN_RST: u8 = 0x05;

/// The map from a port to what judges the frames that it sends.
pub(crate) fn egress_port() -> SetName {
    SetName::new("egress-port")
}

/// The map from a port to what judges the frames that leave by it.
pub(crate) fn ingress_port() -> SetName {
    SetName::new("ingress-port")
}

/// The map from a source MAC to what judges its frames, for attachments whose port is not known yet.
pub(crate) fn egress_mac() -> SetName {
    SetName::new("egress-mac")
}

/// The map from a destination MAC, likewise.
pub(crate) fn ingress_mac() -> SetName {
    SetName::new("ingress-mac")
}

/// Who began a flow, seen from the isolated attachment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody else: the flow was admitted to the attachment.
    Admitted,
    /// The attachment itself.
    Started,
}

impl Origin {
    const fn word(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Started => "started",
        }
    }

    /// The chain that a packet allowed in its original direction ends in: it records the flow and accepts.
    pub(crate) fn chain(self) -> ChainName {
        ChainName::new(self.word())
    }

    /// The chain that accepts replies of such flows and returns for everything else.
    pub(crate) fn replies_chain(self) -> ChainName {
        ChainName::new(format!("replies-to-{}", self.word()))
    }

    /// The chain for a direction that no policy judges, of an attachment that is isolated in the other one: flows of
    /// this origin are recorded, replies to the opposite kind are not mistaken for new flows.
    pub(crate) fn unjudged_chain(self) -> ChainName {
        ChainName::new(match self {
            Self::Admitted => "unjudged-ingress",
            Self::Started => "unjudged-egress",
        })
    }

    const fn opposite(self) -> Self {
        match self {
            Self::Admitted => Self::Started,
            Self::Started => Self::Admitted,
        }
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
    for (name, key) in [
        (egress_port(), KeyType::Index),
        (ingress_port(), KeyType::Index),
        (egress_mac(), KeyType::Mac),
        (ingress_mac(), KeyType::Mac),
    ] {
        let spec = SetSpec { key: vec![key], verdict_map: true, ..SetSpec::default() };
        ruleset.sets.insert(name, Set { spec, elements: Elements::new() });
    }
    let ports = SetSpec { key: vec![KeyType::Index], ..SetSpec::default() };
    ruleset.sets.insert(managed_ports(), Set { spec: ports, elements: Elements::new() });
    ruleset.sets.insert(claimed(), Set { spec: claimed_spec(), elements: Elements::new() });
    base_chains(&mut ruleset);
    for direction in Direction::ALL {
        ruleset.chains.insert(always(direction), chain(None, always_rules(direction, config)));
        ruleset.chains.insert(dhcp_client(direction), chain(None, dhcp_rules(direction)));
    }
    for origin in [Origin::Admitted, Origin::Started] {
        for flow in Flow::ALL {
            ruleset.sets.insert(flow.set(origin), Set { spec: flow.spec(origin), elements: Elements::new() });
        }
        let record =
            Flow::ALL.iter().flat_map(|flow| flow.record(origin)).chain([accept(Vec::new())]).collect();
        ruleset.chains.insert(origin.chain(), chain(None, record));
        let replies = Flow::ALL.iter().map(|flow| flow.reply(origin)).collect();
        ruleset.chains.insert(origin.replies_chain(), chain(None, replies));
        let unjudged = vec![jump(origin.opposite().replies_chain()), goto(origin.chain())];
        ruleset.chains.insert(origin.unjudged_chain(), chain(None, unjudged));
    }
    ruleset
}

fn base_chains(ruleset: &mut Ruleset) {
    let dispatch = |field: Field, map: SetName| rule(vec![Expr::Dispatch { fields: vec![field], map }]);
    let egress = vec![dispatch(Field::InputPort, egress_port()), dispatch(Field::EtherSource, egress_mac())];
    let ingress =
        vec![dispatch(Field::OutputPort, ingress_port()), dispatch(Field::EtherDestination, ingress_mac())];
    for (hook, rules) in
        [(Hook::Prerouting, egress), (Hook::Forward, ingress.clone()), (Hook::Output, ingress)]
    {
        let base = BaseChain { hook, priority: PRIORITY, drop_by_default: false };
        ruleset.chains.insert(ChainName::new(format!("{hook}")), chain(Some(base), rules));
    }
}

/// ICMPv6 types: RFC 4861 section 4, RFC 2710 section 3, RFC 3810 section 5.2.
const ICMP6_ROUTER_SOLICITATION: u8 = 133;
const ICMP6_ROUTER_ADVERTISEMENT: u8 = 134;
/// A neighbour solicitation.
pub(crate) const ICMP6_SOLICITATION: u8 = 135;
/// A neighbour advertisement.
pub(crate) const ICMP6_ADVERTISEMENT: u8 = 136;
/// Reports and leave messages of multicast listeners, both versions.
const ICMP6_LISTENER: [u8; 3] = [131, 132, 143];

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
    let kinds = |low, high| {
        let range = Expr::Range { field: Field::Icmp6Type, low: Datum::Byte(low), high: Datum::Byte(high) };
        let mut exprs = icmp6(0);
        exprs.pop();
        exprs.push(range);
        accept(exprs)
    };
    vec![kinds(0, 134), kinds(137, 255)]
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
    let dynamic = Some(Dynamic { size: FLOWS_MAX, timeout: CLAIM });
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

/// The conditions for an ICMPv6 message of this type.
pub(crate) fn icmp6(kind: u8) -> Vec<Expr> {
    vec![
        Expr::is(Field::NetworkProtocol, Datum::IP6),
        Expr::is(Field::TransportProtocol, Datum::ICMP6),
        Expr::is(Field::Icmp6Type, Datum::Byte(kind)),
    ]
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

/// What is tracked in one pair of sets.
#[derive(Clone, Copy)]
enum Flow {
    Echo { ip6: bool },
    Ports { ip6: bool, protocol: Protocol },
}

impl Flow {
    /// Every kind, the most frequent first: replies are looked for in this order.
    const ALL: [Self; 8] = [
        Self::Ports { ip6: false, protocol: Protocol::Tcp },
        Self::Ports { ip6: true, protocol: Protocol::Tcp },
        Self::Ports { ip6: false, protocol: Protocol::Udp },
        Self::Ports { ip6: true, protocol: Protocol::Udp },
        Self::Echo { ip6: false },
        Self::Echo { ip6: true },
        Self::Ports { ip6: false, protocol: Protocol::Sctp },
        Self::Ports { ip6: true, protocol: Protocol::Sctp },
    ];

    const fn ip6(self) -> bool {
        match self {
            Self::Echo { ip6 } | Self::Ports { ip6, .. } => ip6,
        }
    }

    fn set(self, origin: Origin) -> SetName {
        let family = if self.ip6() { "ip6" } else { "ip4" };
        let what: String = match self {
            Self::Echo { .. } => "echo".into(),
            Self::Ports { protocol, .. } => format!("{protocol}"),
        };
        SetName::new(format!("{}-{what}-{family}", origin.word()))
    }

    fn spec(self, origin: Origin) -> SetSpec {
        let key = self.fields(origin, true).into_iter().map(Field::key_type).collect();
        let dynamic = Some(Dynamic { size: FLOWS_MAX, timeout: self.timeout() });
        SetSpec { key, dynamic, ..SetSpec::default() }
    }

    const fn timeout(self) -> Duration {
        match self {
            Self::Echo { .. } => ECHO,
            Self::Ports { protocol: Protocol::Sctp, .. } => SCTP,
            Self::Ports { protocol: Protocol::Tcp, .. } => TCP_OPENING,
            Self::Ports { protocol: Protocol::Udp, .. } => UDP,
        }
    }

    /// The key (port, local, remote) as read from a packet of the original direction, or from a reply.
    fn fields(self, origin: Origin, original: bool) -> Vec<Field> {
        let (source, destination) = if self.ip6() {
            (Field::Ip6Source, Field::Ip6Destination)
        } else {
            (Field::Ip4Source, Field::Ip4Destination)
        };
        // The attachment sends the original packets of flows that it started, and the replies of the others.
        let sends = original == (origin == Origin::Started);
        let mut fields = if sends {
            vec![Field::InputPort, source, destination]
        } else {
            vec![Field::OutputPort, destination, source]
        };
        match self {
            Self::Echo { ip6: false } => fields.push(Field::IcmpId),
            Self::Echo { ip6: true } => fields.push(Field::Icmp6Id),
            Self::Ports { .. } if sends => fields.extend([Field::SourcePort, Field::DestinationPort]),
            Self::Ports { .. } => fields.extend([Field::DestinationPort, Field::SourcePort]),
        }
        fields
    }

    /// The conditions for a packet of this kind; of an echo, the request or the reply.
    fn guards(self, request: bool) -> Vec<Expr> {
        let network = if self.ip6() { Datum::IP6 } else { Datum::IP4 };
        let mut guards = vec![Expr::is(Field::NetworkProtocol, network)];
        guards.extend(match self {
            Self::Echo { ip6: false } => vec![
                Expr::is(Field::TransportProtocol, Datum::ICMP),
                Expr::is(Field::IcmpType, Datum::Byte(if request { 8 } else { 0 })),
            ],
            Self::Echo { ip6: true } => vec![
                Expr::is(Field::TransportProtocol, Datum::ICMP6),
                Expr::is(Field::Icmp6Type, Datum::Byte(if request { 128 } else { 129 })),
            ],
            Self::Ports { protocol, .. } => {
                vec![Expr::is(Field::TransportProtocol, Datum::Protocol(protocol.number()))]
            }
        });
        guards
    }

    /// Rules that record an allowed packet of the original direction and accept it. Where the set is full, the packet
    /// goes on to the accepting rule at the chain's end: its replies may be lost, it is not.
    fn record(self, origin: Origin) -> Vec<Rule> {
        let fields = self.fields(origin, true);
        let update = |timeout| Expr::Update { fields: fields.clone(), set: self.set(origin), timeout };
        let with = |conditions: Vec<Expr>, timeout| {
            let mut exprs = self.guards(true);
            exprs.extend(conditions);
            exprs.push(update(timeout));
            accept(exprs)
        };
        let Self::Ports { protocol: Protocol::Tcp, .. } = self else {
            return vec![with(Vec::new(), self.timeout())];
        };
        // Only a SYN begins a TCP flow; later packets renew it when it is there. A reply can thus never be taken for
        // the beginning of a flow the other way round.
        let known = || Expr::within(fields.clone(), self.set(origin));
        let flags = |mask, negated, value| Expr::Compare {
            field: Field::TcpFlags,
            mask: Some(mask),
            negated,
            value: Datum::Byte(value),
        };
        vec![
            with(vec![flags(TCP_SYN | TCP_ACK, false, TCP_SYN)], TCP_OPENING),
            with(vec![flags(TCP_FIN_RST, true, 0), known()], TCP_OPENING),
            with(vec![known()], TCP_ESTABLISHED),
        ]
    }

    /// The rule that accepts replies.
    fn reply(self, origin: Origin) -> Rule {
        let mut exprs = self.guards(false);
        if let Self::Ports { protocol: Protocol::Tcp, .. } = self {
            // A SYN begins a flow of its own and must be judged.
            exprs.push(Expr::Compare {
                field: Field::TcpFlags,
                mask: Some(TCP_SYN | TCP_ACK),
                negated: true,
                value: Datum::Byte(TCP_SYN),
            });
        }
        exprs.push(Expr::within(self.fields(origin, false), self.set(origin)));
        accept(exprs)
    }
}

fn chain(base: Option<BaseChain>, rules: Vec<Rule>) -> Chain {
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
