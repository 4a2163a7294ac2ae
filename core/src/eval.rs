//! What the kernel would do with a frame: the ruleset's meaning, for tests and for people who ask why.

mod connections;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use self::connections::{Connections, Fragment, PRIORITY, Standing};
use crate::frame::{Headers, fragment_header, read_u16};
use crate::model::Mac;
use crate::ruleset::{
    BaseChain, ChainName, ConnectionState, Datum, Expr, ExtensionHeader, Field, Hook, InterfaceName, Key,
    KeyType, Location, MetaKey, PayloadBase, Rule, Ruleset, SetName, Verdict,
};

/// A frame at a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passage<'a> {
    /// The hook.
    pub hook: Hook,
    /// Index of the port it came in by, where the hook knows it.
    pub input: Option<u32>,
    /// Index of the port it is about to leave by, where the hook knows it.
    pub output: Option<u32>,
    /// What its ports belong to, as far as that is known.
    pub bridge: Option<PortBridge<'a>>,
    /// The frame, from its Ethernet destination on.
    pub frame: &'a [u8],
}

/// What a port belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortBridge<'a> {
    /// The name of its bridge.
    pub name: &'a str,
    /// The VLAN of what comes in untagged.
    pub vlan: u16,
}

/// What becomes of a frame at a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It goes on.
    Accept,
    /// It is gone.
    Drop,
}

/// What packets have left behind: elements of the dynamic sets, and connections. Here nothing expires.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Flows {
    sets: BTreeMap<SetName, BTreeSet<Key>>,
    connections: Connections,
}

impl Flows {
    /// Whether no packet has left anything behind.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.connections.is_empty()
    }
}

/// Judges one frame at one hook; rules that track flows write to `flows`.
///
/// Connections are followed where a chain runs before conntrack does, as every ruleset that asks about them has one. A
/// frame's zone is found anew at each hook, from that chain: the kernel remembers it with the frame.
pub fn evaluate(ruleset: &Ruleset, flows: &mut Flows, passage: &Passage<'_>) -> Decision {
    let Some(headers) = Headers::find(passage.frame) else { return Decision::Accept };
    let mut judge = Judge { ruleset, flows, passage: *passage, headers, zone: None, standing: None };
    let before = judge.bases(Hook::Prerouting, |base| base.priority < PRIORITY);
    // The node's own frames are followed by the IP layer, in its own way.
    let followed = !before.is_empty() && passage.input.is_some() && passage.hook != Hook::Output;
    let fragment = Fragment::find(passage.frame, headers).filter(|_| followed);
    if let Some((fragment, false)) = fragment {
        return judge.flows.connections.of_first(passage, fragment);
    }
    if followed {
        judge.passage = Passage { hook: Hook::Prerouting, output: None, ..*passage };
        if judge.run(&before) == Decision::Drop {
            return Decision::Drop;
        }
        judge.passage = *passage;
        judge.standing = judge.flows.connections.standing(judge.zone(), passage.frame, headers);
    }
    let behind = judge.bases(passage.hook, |base| base.hook != Hook::Prerouting || base.priority >= PRIORITY);
    let decision = judge.run(&behind);
    let (zone, standing) = (judge.zone(), judge.standing);
    if let Some(standing) = standing
        && decision == Decision::Accept
        && matches!(passage.hook, Hook::Forward | Hook::Input)
    {
        judge.flows.connections.confirm(zone, standing);
    }
    if let Some((fragment, _)) = fragment {
        judge.flows.connections.remember(passage, fragment, decision);
    }
    decision
}

/// Jumps deeper than this are refused by the kernel (`NFT_JUMP_STACK_SIZE`, `include/net/netfilter/nf_tables.h`).
const JUMPS_MAX: usize = 16;

/// How a chain ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Accepted,
    Dropped,
    Returned,
}

struct Judge<'a> {
    ruleset: &'a Ruleset,
    flows: &'a mut Flows,
    passage: Passage<'a>,
    headers: Headers,
    /// The zone that a chain has put the frame into.
    zone: Option<u16>,
    /// What conntrack says about the frame.
    standing: Option<Standing>,
}

impl<'a> Judge<'a> {
    /// The base chains of a hook that are meant, in their order.
    fn bases(&self, hook: Hook, meant: impl Fn(&BaseChain) -> bool) -> Vec<(&'a ChainName, BaseChain)> {
        let ruleset: &'a Ruleset = self.ruleset;
        let bases = ruleset.chains.iter().filter_map(|(name, chain)| Some((name, chain.spec.base?)));
        let mut bases: Vec<_> = bases.filter(|(_, base)| base.hook == hook && meant(base)).collect();
        bases.sort_by_key(|(name, base)| (base.priority, *name));
        bases
    }

    /// What base chains decide together.
    fn run(&mut self, bases: &[(&ChainName, BaseChain)]) -> Decision {
        for (name, base) in bases {
            let dropped = match self.chain(name, 0) {
                End::Accepted => false,
                End::Dropped => true,
                End::Returned => base.drop_by_default,
            };
            if dropped {
                return Decision::Drop;
            }
        }
        Decision::Accept
    }

    fn zone(&self) -> u16 {
        self.zone.unwrap_or(0)
    }

    fn chain(&mut self, name: &ChainName, depth: usize) -> End {
        let ruleset: &'a Ruleset = self.ruleset;
        let Some(chain) = ruleset.chains.get(name) else { return End::Returned };
        if depth > JUMPS_MAX {
            return End::Dropped;
        }
        for rule in &chain.rules {
            let Some(verdict) = self.rule(rule) else { continue };
            let end = match verdict {
                Verdict::Accept => End::Accepted,
                Verdict::Drop => End::Dropped,
                Verdict::Goto(chain) => self.chain(&chain, depth + 1),
                Verdict::Jump(chain) => match self.chain(&chain, depth + 1) {
                    End::Returned => continue,
                    end @ (End::Accepted | End::Dropped) => end,
                },
                Verdict::Return => End::Returned,
            };
            return end;
        }
        End::Returned
    }

    /// The verdict of a rule that holds to its end or finds one in a map.
    fn rule(&mut self, rule: &Rule) -> Option<Verdict> {
        for expr in &rule.exprs {
            match expr {
                Expr::Compare { field, mask, negated, value } => {
                    let read = self.read(*field)?;
                    let read = match (read, mask) {
                        (read, Some(mask)) => masked(read, *mask),
                        (read, None) => read,
                    };
                    if (read == *value) == *negated {
                        return None;
                    }
                }
                // What is logged makes no difference to the frame; whether the limit is reached is not known here, and the
                // compiler lets nothing else follow from it.
                Expr::Counter | Expr::Limit { .. } | Expr::Log { .. } => {}
                // A frame that has a zone already keeps it (`nft_ct_set_zone_eval`, net/netfilter/nft_ct.c).
                Expr::SetZone(zone) => self.zone = self.zone.or(Some(*zone)),
                Expr::Dispatch { fields, map } => {
                    let values = self.read_all(fields)?;
                    let verdict = self.ruleset.sets.get(map).and_then(|map| map.find(&values));
                    if let Some((_, Some(verdict))) = verdict {
                        return Some(verdict.clone());
                    }
                    return None;
                }
                Expr::Direction(heading) => {
                    if self.standing?.heading != *heading {
                        return None;
                    }
                }
                Expr::Foreign(_) => return None,
                Expr::State(state) => {
                    let standing = self.standing?;
                    let is = match state {
                        ConnectionState::Established => standing.established,
                        ConnectionState::Related => standing.related,
                    };
                    if !is {
                        return None;
                    }
                }
                Expr::Lookup { fields, set, negated } => {
                    let values = self.read_all(fields)?;
                    if self.has(set, &values) == *negated {
                        return None;
                    }
                }
                Expr::Range { field, low, high } => {
                    let read = self.read(*field)?;
                    if read < *low || read > *high {
                        return None;
                    }
                }
                Expr::Update { fields, set, .. } => {
                    let key = Key::of(&self.read_all(fields)?);
                    self.flows.sets.entry(set.clone()).or_default().insert(key);
                }
                Expr::Verdict(verdict) => return Some(verdict.clone()),
            }
        }
        None
    }

    fn has(&self, name: &SetName, values: &[Datum]) -> bool {
        let fixed = self.ruleset.sets.get(name).is_some_and(|set| set.find(values).is_some());
        fixed || self.flows.sets.get(name).is_some_and(|keys| keys.contains(&Key::of(values)))
    }

    fn read_all(&self, fields: &[Field]) -> Option<Vec<Datum>> {
        fields.iter().map(|field| self.read(*field)).collect()
    }

    /// A field's value; `None` where the kernel would break off the rule.
    fn read(&self, field: Field) -> Option<Datum> {
        match field.location() {
            Location::Meta(MetaKey::BridgeName) => {
                self.passage.bridge.map(|bridge| Datum::InterfaceName(InterfaceName::new(bridge.name)))
            }
            // There is none where no port has been chosen yet (`nft_meta_bri_get_eval`, net/bridge/netfilter/nft_meta_bridge.c).
            Location::Meta(MetaKey::OutputBridgeName) => {
                let bridge = self.passage.output.and(self.passage.bridge);
                bridge.map(|bridge| Datum::InterfaceName(InterfaceName::new(bridge.name)))
            }
            Location::Meta(MetaKey::BridgeVlan) => self.passage.bridge.map(|bridge| Datum::Vlan(bridge.vlan)),
            // Zero where there is none (`nft_meta_store_ifindex`, net/netfilter/nft_meta.c).
            Location::Meta(MetaKey::Iif) => Some(Datum::Index(self.passage.input.unwrap_or(0))),
            Location::Meta(MetaKey::Oif) => Some(Datum::Index(self.passage.output.unwrap_or(0))),
            Location::Meta(MetaKey::Protocol) => Some(Datum::EtherType(self.headers.ether_type)),
            Location::Meta(MetaKey::L4Proto) => {
                self.headers.transport.map(|(protocol, _)| Datum::Protocol(protocol))
            }
            Location::Payload { base, offset, bytes } => {
                let start = match base {
                    PayloadBase::Link => 0,
                    PayloadBase::Network => self.headers.network,
                    PayloadBase::Transport => self.headers.transport?.1?,
                };
                self.read_at(field, start, offset, bytes)
            }
            Location::Extension { header: ExtensionHeader::Fragment, offset, bytes } => {
                // `nft_exthdr_ipv6_eval`, net/netfilter/nft_exthdr.c: no other packet has such headers.
                let ip6 = self.headers.ether_type == 0x86dd;
                let start = ip6.then(|| fragment_header(self.passage.frame, self.headers.network))??;
                self.read_at(field, start, offset, bytes)
            }
        }
    }

    /// The value of a field that lies `offset` bytes behind `start`.
    fn read_at(&self, field: Field, start: usize, offset: u32, bytes: u32) -> Option<Datum> {
        let start = start.checked_add(usize::try_from(offset).ok()?)?;
        let end = start.checked_add(usize::try_from(bytes).ok()?)?;
        datum(field.key_type(), self.passage.frame.get(start..end)?)
    }
}

/// The bits of a value that count, where the kernel could mask it.
fn masked(value: Datum, mask: u16) -> Datum {
    let [_, low] = mask.to_be_bytes();
    match value {
        Datum::ArpOperation(value) => Datum::ArpOperation(value & mask),
        Datum::Byte(value) => Datum::Byte(value & low),
        Datum::EtherType(value) => Datum::EtherType(value & mask),
        Datum::IcmpId(value) => Datum::IcmpId(value & mask),
        Datum::Port(value) => Datum::Port(value & mask),
        Datum::Protocol(value) => Datum::Protocol(value & low),
        Datum::RawShort(value) => Datum::RawShort(value & mask),
        Datum::Vlan(value) => Datum::Vlan(value & mask),
        Datum::FragmentId(_)
        | Datum::Index(_)
        | Datum::InterfaceName(_)
        | Datum::Ip4(_)
        | Datum::Ip6(_)
        | Datum::Mac(_)
        | Datum::RawIp4(_)
        | Datum::RawIp6(_)
        | Datum::RawMac(_) => value,
    }
}

/// A value of the given type from its bytes in network order.
fn datum(kind: KeyType, bytes: &[u8]) -> Option<Datum> {
    Some(match kind {
        KeyType::ArpOperation => Datum::ArpOperation(read_u16(bytes, 0)?),
        KeyType::Byte => Datum::Byte(*bytes.first()?),
        KeyType::EtherType => Datum::EtherType(read_u16(bytes, 0)?),
        KeyType::FragmentId => Datum::FragmentId(u32::from_be_bytes(bytes.try_into().ok()?)),
        KeyType::IcmpId | KeyType::Icmp6Id => Datum::IcmpId(read_u16(bytes, 0)?),
        KeyType::Index => Datum::Index(u32::from_ne_bytes(bytes.try_into().ok()?)),
        KeyType::InterfaceName => Datum::InterfaceName(InterfaceName(bytes.try_into().ok()?)),
        KeyType::Vlan => Datum::Vlan(u16::from_ne_bytes(bytes.try_into().ok()?)),
        KeyType::Ip4 => Datum::Ip4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        KeyType::Ip6 => Datum::Ip6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        KeyType::Mac => Datum::Mac(Mac(bytes.try_into().ok()?)),
        KeyType::Port => Datum::Port(read_u16(bytes, 0)?),
        KeyType::Protocol => Datum::Protocol(*bytes.first()?),
        KeyType::RawIp4 => Datum::RawIp4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        KeyType::RawIp6 => Datum::RawIp6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        KeyType::RawMac => Datum::RawMac(Mac(bytes.try_into().ok()?)),
        KeyType::RawShort => Datum::RawShort(read_u16(bytes, 0)?),
        KeyType::Unknown(_) => return None,
    })
}
