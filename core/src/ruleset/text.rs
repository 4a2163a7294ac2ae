//! The ruleset and its changes in nft's own language: what `nft -f` loads.

use alloc::vec::Vec;
use core::fmt::{self, Display, Formatter, Write as _};

use super::{
    BaseChain, Chain, ChainSpec, ConnectionState, Datum, Elements, Expr, Field, Heading, Hook, Key, KeyType,
    Op, Rule, Ruleset, Set, SetSpec, Verdict,
};
use crate::output::{Scope, Transaction};

/// The name of the project's own table, in the bridge family.
pub const TABLE: &str = "mnp-nft-bridge";

impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table bridge {TABLE} {{")?;
        for (name, Set { spec, elements }) in &self.sets {
            writeln!(f, "\t{} {name} {{\n{}", kind(spec), Lines(spec))?;
            if !elements.is_empty() {
                writeln!(f, "\t\telements = {{\n{}\t\t}}", ElementList(elements, ",\n\t\t\t"))?;
            }
            writeln!(f, "\t}}")?;
        }
        for (name, Chain { spec, rules }) in &self.chains {
            writeln!(f, "\tchain {name} {{\n{}", Lines(spec))?;
            for rule in rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl Display for Transaction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "add table bridge {TABLE}")?;
        if self.scope == Scope::Replace {
            writeln!(f, "delete table bridge {TABLE}\nadd table bridge {TABLE}")?;
        }
        self.ops.iter().try_for_each(|op| write!(f, "{op}"))
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddChain(name, spec) => {
                writeln!(f, "add chain bridge {TABLE} {name} {{\n{}}}", Lines(spec))
            }
            Self::AddSet(name, spec) => {
                writeln!(f, "add {} bridge {TABLE} {name} {{\n{}}}", kind(spec), Lines(spec))
            }
            Self::AddElements(name, elements) => {
                writeln!(f, "add element bridge {TABLE} {name} {{ {} }}", ElementList(elements, ", "))
            }
            Self::DelChain(name) => writeln!(f, "delete chain bridge {TABLE} {name}"),
            Self::DelElements(name, elements) => {
                writeln!(f, "delete element bridge {TABLE} {name} {{ {} }}", ElementList(elements, ", "))
            }
            Self::DelSet(name) => writeln!(f, "delete set bridge {TABLE} {name}"),
            Self::SetRules(name, rules) => {
                writeln!(f, "flush chain bridge {TABLE} {name}")?;
                rules.iter().try_for_each(|rule| writeln!(f, "add rule bridge {TABLE} {name} {rule}"))
            }
        }
    }
}

fn kind(spec: &SetSpec) -> &'static str {
    if spec.verdict_map { "map" } else { "set" }
}

/// The lines of a specification inside its braces.
struct Lines<'a, T>(&'a T);

impl Display for Lines<'_, ChainSpec> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.0.comment.is_empty() {
            writeln!(f, "\t\tcomment \"{}\"", self.0.comment)?;
        }
        if let Some(BaseChain { hook, priority, drop_by_default }) = self.0.base {
            let policy = if drop_by_default { "drop" } else { "accept" };
            writeln!(f, "\t\ttype filter hook {hook} priority {priority}; policy {policy};")?;
        }
        Ok(())
    }
}

impl Display for Lines<'_, SetSpec> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let spec = self.0;
        if let Some(fields) = spec.typeof_fields() {
            write!(f, "\t\ttypeof {}", Joined(&fields, " . "))?;
        } else {
            write!(f, "\t\ttype {}", Joined(&spec.key, " . "))?;
        }
        writeln!(f, "{}", if spec.verdict_map { " : verdict" } else { "" })?;
        if let Some(dynamic) = spec.dynamic {
            writeln!(f, "\t\tsize {}\n\t\tflags dynamic,timeout", dynamic.size)?;
            writeln!(f, "\t\ttimeout {}s", dynamic.timeout.as_secs())?;
        }
        if spec.interval {
            writeln!(f, "\t\tflags interval")?;
        }
        if !spec.comment.is_empty() {
            writeln!(f, "\t\tcomment \"{}\"", spec.comment)?;
        }
        Ok(())
    }
}

impl SetSpec {
    /// For a key with parts that have no nft type name of their own: the fields that stand for its parts, as in
    /// `typeof iif . ip saddr . ip daddr . icmp id`.
    pub fn typeof_fields(&self) -> Option<Vec<Field>> {
        let nameless = self.key.iter().any(|part| {
            matches!(
                part,
                KeyType::FragmentId
                    | KeyType::IcmpId
                    | KeyType::Icmp6Id
                    | KeyType::RawIp4
                    | KeyType::RawIp6
                    | KeyType::RawMac
                    | KeyType::RawShort
            )
        });
        nameless.then(|| self.key.iter().filter_map(|part| part.sample_field()).collect())
    }
}

impl KeyType {
    /// A field with values of this type.
    pub const fn sample_field(self) -> Option<Field> {
        Some(match self {
            Self::ArpOperation => Field::ArpOperation,
            Self::Byte => Field::TcpFlags,
            Self::EtherType => Field::NetworkProtocol,
            Self::FragmentId => Field::Ip6FragmentId,
            Self::IcmpId => Field::IcmpId,
            Self::Icmp6Id => Field::Icmp6Id,
            Self::Index => Field::InputPort,
            Self::InterfaceName => Field::InputBridge,
            Self::Vlan => Field::PortVlan,
            Self::Ip4 => Field::Ip4Source,
            Self::Ip6 => Field::Ip6Source,
            Self::Mac => Field::EtherSource,
            Self::Port => Field::SourcePort,
            Self::Protocol => Field::TransportProtocol,
            Self::RawIp4 => Field::Error4Destination,
            Self::RawIp6 => Field::NeighbourTarget,
            Self::RawMac => Field::NeighbourLinkLayer,
            Self::RawShort => Field::Error4First,
            Self::Unknown(_) => return None,
        })
    }
}

impl Datum {
    /// Whether this is a value of `kind`.
    pub const fn is_a(self, kind: KeyType) -> bool {
        matches!(
            (self, kind),
            (Self::ArpOperation(_), KeyType::ArpOperation)
                | (Self::Byte(_), KeyType::Byte)
                | (Self::EtherType(_), KeyType::EtherType)
                | (Self::FragmentId(_), KeyType::FragmentId)
                | (Self::IcmpId(_), KeyType::IcmpId | KeyType::Icmp6Id)
                | (Self::Index(_), KeyType::Index)
                | (Self::InterfaceName(_), KeyType::InterfaceName)
                | (Self::Vlan(_), KeyType::Vlan)
                | (Self::Ip4(_), KeyType::Ip4)
                | (Self::Ip6(_), KeyType::Ip6)
                | (Self::Mac(_), KeyType::Mac)
                | (Self::Port(_), KeyType::Port)
                | (Self::Protocol(_), KeyType::Protocol)
                | (Self::RawIp4(_), KeyType::RawIp4)
                | (Self::RawIp6(_), KeyType::RawIp6)
                | (Self::RawMac(_), KeyType::RawMac)
                | (Self::RawShort(_), KeyType::RawShort)
        )
    }
}

impl Display for KeyType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ArpOperation => "arp_op",
            Self::Byte
            | Self::FragmentId
            | Self::IcmpId
            | Self::Icmp6Id
            | Self::RawIp4
            | Self::RawIp6
            | Self::RawMac
            | Self::RawShort
            | Self::Vlan => "integer",
            Self::EtherType => "ether_type",
            Self::Index => "iface_index",
            Self::InterfaceName => "ifname",
            Self::Ip4 => "ipv4_addr",
            Self::Ip6 => "ipv6_addr",
            Self::Mac => "ether_addr",
            Self::Port => "inet_service",
            Self::Protocol => "inet_proto",
            Self::Unknown(number) => return write!(f, "unknown-{number}"),
        })
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

/// Elements with `.1` between them.
struct ElementList<'a>(&'a Elements, &'static str);

impl Display for ElementList<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let multiline = self.1.contains('\n');
        for (at, (key, verdict)) in self.0.iter().enumerate() {
            f.write_str(match (at, multiline) {
                (0, true) => "\t\t\t",
                (0, false) => "",
                _ => self.1,
            })?;
            write!(f, "{key}")?;
            if let Some(verdict) = verdict {
                write!(f, " : {verdict}")?;
            }
        }
        if multiline { f.write_char('\n') } else { Ok(()) }
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Concat(parts) => write!(f, "{}", Joined(parts, " . ")),
            Self::One(value) => write!(f, "{value}"),
            Self::Range(low, high) if low == high => write!(f, "{low}"),
            Self::Range(low, high) => write!(f, "{low}-{high}"),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.exprs, " "))?;
        if !self.comment.is_empty() {
            write!(f, " comment \"{}\"", self.comment)?;
        }
        Ok(())
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { field, mask, negated, value } => {
                let operator = match (negated, mask) {
                    (true, _) => "!= ",
                    (false, Some(_)) => "== ",
                    (false, None) => "",
                };
                match (mask, value) {
                    (Some(Field::VLAN_NUMBER_BITS), Datum::RawShort(number))
                        if *field == Field::VlanTag && !negated =>
                    {
                        write!(f, "vlan id {number}")
                    }
                    (Some(Field::IP6_OFFSET_BITS), Datum::RawShort(bytes))
                        if *field == Field::Ip6FragmentOffset =>
                    {
                        let operator = if *negated { "!= " } else { "" };
                        write!(f, "{field} {operator}{}", bytes >> Field::IP6_OFFSET_BITS.trailing_zeros())
                    }
                    (Some(mask), _) => write!(f, "{field} & {mask:#04x} {operator}{value}"),
                    (None, _) => write!(f, "{field} {operator}{value}"),
                }
            }
            Self::Counter => f.write_str("counter"),
            Self::Dispatch { fields, map } => write!(f, "{} vmap @{map}", Joined(fields, " . ")),
            Self::Direction(Heading::Original) => f.write_str("ct direction original"),
            Self::Direction(Heading::Reply) => f.write_str("ct direction reply"),
            Self::Foreign(what) => write!(f, "# not ours: {what}"),
            Self::Limit { rate, burst } => write!(f, "limit rate {rate}/second burst {burst} packets"),
            Self::Log { group, prefix, snaplen } => {
                write!(f, "log prefix \"{prefix}\" group {group} snaplen {snaplen}")
            }
            Self::Lookup { fields, set, negated } => {
                write!(f, "{} {}@{set}", Joined(fields, " . "), if *negated { "!= " } else { "" })
            }
            Self::Range { field, low, high } => write!(f, "{field} {low}-{high}"),
            Self::SetZone(zone) => write!(f, "ct zone set {zone}"),
            Self::State(ConnectionState::Established) => f.write_str("ct state established"),
            Self::State(ConnectionState::Related) => f.write_str("ct state related"),
            Self::Update { fields, set, timeout } => {
                write!(f, "update @{set} {{ {} timeout {}s }}", Joined(fields, " . "), timeout.as_secs())
            }
            Self::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Return => f.write_str("return"),
        }
    }
}

/// Items with `.1` between them.
struct Joined<'a, T>(&'a [T], &'static str);

impl<T: Display> Display for Joined<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if at > 0 { self.1 } else { "" })?;
        }
        Ok(())
    }
}
