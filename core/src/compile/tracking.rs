//! Connection tracking in dynamic sets: what is recorded of allowed flows, and how their replies are known.
//!
//! Tracking without the kernel's conntrack: every flow that an isolated attachment starts, or that is admitted to it,
//! is an element of a dynamic set under (port, local address, remote address, local port, remote port). A reply is a
//! packet whose mirrored key is there. The original direction is always judged by the policies, so a flow that is no
//! longer allowed stops at once; its element only ever opens the reply direction.
//!
//! Where the kernel's conntrack follows what is bridged, the sets are left with the conversations of the node itself and
//! what it routes: those begin or end where conntrack on the bridge does not look.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use super::belongings;
use super::skeleton::{accept, chain, goto, jump, rule};
use crate::config::StateEngine;
use crate::model::{Direction, Protocol};
use crate::ruleset::{
    ChainName, ConnectionState, Datum, Dynamic, Expr, Field, Heading, Rule, Ruleset, Set, SetName, SetSpec,
};

/// The most flows of one kind, protocol and family that are tracked on the node.
pub(crate) const FLOWS_MAX: u32 = 65_536;

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

const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
const TCP_FIN_RST: u8 = 0x05;

/// Adds the sets of flows, and the chains that write to them and look up in them.
pub(crate) fn add(ruleset: &mut Ruleset, state: StateEngine) {
    for origin in [Origin::Admitted, Origin::Started] {
        for flow in Flow::ALL {
            ruleset.sets.insert(flow.set(origin), Set::empty(flow.spec(origin)));
        }
        let (record, replies, unjudged) = match state {
            StateEngine::Conntrack => {
                (origin.recorded_beside(), origin.replies_beside(), origin.unjudged_beside())
            }
            StateEngine::Sets => (origin.recorded(), origin.replies(), origin.unjudged()),
        };
        ruleset.chains.insert(origin.chain(), chain(None, record));
        ruleset.chains.insert(origin.replies_chain(), chain(None, replies));
        ruleset.chains.insert(origin.unjudged_chain(), chain(None, unjudged));
    }
}

/// Who began a flow, seen from the isolated attachment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Origin {
    /// Somebody else: the flow was admitted to the attachment.
    Admitted,
    /// The attachment itself.
    Started,
}

impl Origin {
    /// Whose packets begin a flow that is judged in `direction`.
    pub(crate) const fn of(direction: Direction) -> Self {
        match direction {
            Direction::Egress => Self::Started,
            Direction::Ingress => Self::Admitted,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
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

    /// The rules that record an allowed packet of the original direction, and accept it.
    fn recorded(self) -> Vec<Rule> {
        let flows = Flow::ALL.iter().flat_map(|flow| flow.record(self));
        belongings::record(self).into_iter().chain(flows).chain([accept(Vec::new())]).collect()
    }

    /// The rules that accept replies.
    fn replies(self) -> Vec<Rule> {
        Flow::ALL.iter().map(|flow| flow.reply(self)).collect()
    }

    /// The rules for a direction that no policy judges.
    fn unjudged(self) -> Vec<Rule> {
        vec![jump(self.opposite().replies_chain()), goto(self.chain())]
    }

    /// Beside conntrack: what the node sends is recorded here, what goes up to it where it does.
    fn recorded_beside(self) -> Vec<Rule> {
        match self {
            Self::Admitted => [vec![accept(vec![bridged()])], self.recorded()].concat(),
            Self::Started => vec![accept(Vec::new())],
        }
    }

    /// Beside conntrack: replies among bridged frames are known to it.
    fn replies_beside(self) -> Vec<Rule> {
        let reply = |conditions: Vec<Expr>| {
            let known = [Expr::State(ConnectionState::Established), Expr::Direction(Heading::Reply)];
            let bridged = (self == Self::Started).then(bridged);
            accept(bridged.into_iter().chain(known).chain(conditions).collect())
        };
        let [tcp, not_tcp] = [Expr::is, Expr::is_not].map(|ask| ask(Field::TransportProtocol, Datum::TCP));
        // A SYN begins a connection of its own and must be judged.
        let by_conntrack = [reply(vec![not_tcp]), reply(vec![tcp, not_syn()])];
        by_conntrack.into_iter().chain(self.replies()).collect()
    }

    /// Beside conntrack: bridged frames need nothing but to pass.
    fn unjudged_beside(self) -> Vec<Rule> {
        match self {
            Self::Admitted => [vec![accept(vec![bridged()])], self.unjudged()].concat(),
            Self::Started => vec![accept(Vec::new())],
        }
    }
}

/// The condition that a frame came in by a port: it is not the node's own, nor routed by it.
pub(super) fn bridged() -> Expr {
    Expr::is_not(Field::InputPort, Datum::Index(0))
}

/// The condition that a TCP segment does not begin a connection.
fn not_syn() -> Expr {
    Expr::Compare {
        field: Field::TcpFlags,
        mask: Some((TCP_SYN | TCP_ACK).into()),
        negated: true,
        value: Datum::Byte(TCP_SYN),
    }
}

/// The chain that records what an attachment starts with the node: the replies leave where conntrack on the bridge knows
/// nothing of them.
pub(crate) fn node_chain() -> ChainName {
    ChainName::new("started-with-node")
}

/// Adds that chain.
pub(crate) fn add_node_chain(ruleset: &mut Ruleset) {
    let mut rules = vec![jump(Origin::Admitted.replies_chain())];
    rules.extend(Origin::Started.recorded());
    ruleset.chains.insert(node_chain(), chain(None, rules));
}

/// The rules that tell of a packet which begins a flow, and let all pass on to be recorded. Which flows were told of is kept
/// beside what is tracked: that forgets a flow which ends, and conntrack forgets one that nobody answers.
///
/// A packet that belongs to no flow of these kinds begins none. Where the set is full, none is told of.
pub(crate) fn begun(origin: Origin, told: &[Expr; 2]) -> Vec<Rule> {
    let is_tcp = Expr::is(Field::TransportProtocol, Datum::TCP);
    let pass = |mut conditions: Vec<Expr>| {
        conditions.extend(goto(origin.chain()).exprs);
        rule(conditions)
    };
    let mut rules = vec![pass(vec![is_tcp, not_syn()])];
    for flow in Flow::ALL {
        let (fields, set) = (flow.fields(origin, true), flow.told_set(origin));
        let known = Expr::within(fields.clone(), set.clone());
        let noted = Expr::Update { fields, set, timeout: flow.timeout() };
        rules.push(pass([flow.guards(true), vec![known, noted.clone()]].concat()));
        rules.push(rule([flow.guards(true), vec![noted], told.to_vec()].concat()));
    }
    rules.push(pass(Vec::new()));
    rules
}

/// What is tracked in one pair of sets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Flow {
    Echo { ip6: bool },
    Ports { ip6: bool, protocol: Protocol },
}

impl Flow {
    /// Every kind, the most frequent first: replies are looked for in this order.
    pub(crate) const ALL: [Self; 8] = [
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

    /// The set of those that were told of.
    pub(crate) fn told_set(self, origin: Origin) -> SetName {
        SetName::new(format!("logged-{}", self.set(origin)))
    }

    pub(crate) fn spec(self, origin: Origin) -> SetSpec {
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
        let flags = |mask: u8, negated, value| Expr::Compare {
            field: Field::TcpFlags,
            mask: Some(mask.into()),
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
            exprs.push(not_syn());
        }
        exprs.push(Expr::within(self.fields(origin, false), self.set(origin)));
        accept(exprs)
    }
}
