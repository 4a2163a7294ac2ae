//! What the kernel would do with a frame: the ruleset's meaning, for tests and for people who ask why.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::frame::{Headers, read_u16};
use crate::model::Mac;
use crate::ruleset::{
    ChainName, Datum, Expr, Field, Hook, Key, KeyType, Location, MetaKey, PayloadBase, Rule, Ruleset,
    SetName, Verdict,
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
    /// The frame, from its Ethernet destination on.
    pub frame: &'a [u8],
}

/// What becomes of a frame at a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It goes on.
    Accept,
    /// It is gone.
    Drop,
}

/// What packets have put into the dynamic sets. Here nothing expires.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Flows(BTreeMap<SetName, BTreeSet<Key>>);

impl Flows {
    /// Whether no packet has put anything into a set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Judges one frame at one hook; rules that track flows write to `flows`.
pub fn evaluate(ruleset: &Ruleset, flows: &mut Flows, passage: &Passage<'_>) -> Decision {
    let Some(headers) = Headers::find(passage.frame) else { return Decision::Accept };
    let mut judge = Judge { ruleset, flows, passage, headers };
    let mut bases: Vec<_> = ruleset
        .chains
        .iter()
        .filter_map(|(name, chain)| chain.spec.base.map(|base| (base.priority, name, base)))
        .filter(|(_, _, base)| base.hook == passage.hook)
        .collect();
    bases.sort_by_key(|(priority, name, _)| (*priority, *name));
    for (_, name, base) in bases {
        let dropped = match judge.chain(name, 0) {
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
    passage: &'a Passage<'a>,
    headers: Headers,
}

impl<'a> Judge<'a> {
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
                        (Datum::Byte(byte), Some(mask)) => Datum::Byte(byte & mask),
                        (read, _) => read,
                    };
                    if (read == *value) == *negated {
                        return None;
                    }
                }
                Expr::Counter => {}
                Expr::Dispatch { fields, map } => {
                    let values = self.read_all(fields)?;
                    let verdict = self.ruleset.sets.get(map).and_then(|map| map.find(&values));
                    if let Some((_, Some(verdict))) = verdict {
                        return Some(verdict.clone());
                    }
                    return None;
                }
                Expr::Foreign(_) => return None,
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
                    self.flows.0.entry(set.clone()).or_default().insert(key);
                }
                Expr::Verdict(verdict) => return Some(verdict.clone()),
            }
        }
        None
    }

    fn has(&self, name: &SetName, values: &[Datum]) -> bool {
        let fixed = self.ruleset.sets.get(name).is_some_and(|set| set.find(values).is_some());
        fixed || self.flows.0.get(name).is_some_and(|keys| keys.contains(&Key::of(values)))
    }

    fn read_all(&self, fields: &[Field]) -> Option<Vec<Datum>> {
        fields.iter().map(|field| self.read(*field)).collect()
    }

    /// A field's value; `None` where the kernel would break off the rule.
    fn read(&self, field: Field) -> Option<Datum> {
        match field.location() {
            Location::Meta(MetaKey::Iif) => self.passage.input.map(Datum::Index),
            Location::Meta(MetaKey::Oif) => self.passage.output.map(Datum::Index),
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
                let start = start.checked_add(usize::try_from(offset).ok()?)?;
                let end = start.checked_add(usize::try_from(bytes).ok()?)?;
                datum(field.key_type(), self.passage.frame.get(start..end)?)
            }
        }
    }
}

/// A value of the given type from its bytes in network order.
fn datum(kind: KeyType, bytes: &[u8]) -> Option<Datum> {
    Some(match kind {
        KeyType::ArpOperation => Datum::ArpOperation(read_u16(bytes, 0)?),
        KeyType::Byte => Datum::Byte(*bytes.first()?),
        KeyType::EtherType => Datum::EtherType(read_u16(bytes, 0)?),
        KeyType::IcmpId | KeyType::Icmp6Id => Datum::IcmpId(read_u16(bytes, 0)?),
        KeyType::Index => Datum::Index(u32::from_ne_bytes(bytes.try_into().ok()?)),
        KeyType::Ip4 => Datum::Ip4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        KeyType::Ip6 => Datum::Ip6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        KeyType::Mac => Datum::Mac(Mac(bytes.try_into().ok()?)),
        KeyType::Port => Datum::Port(read_u16(bytes, 0)?),
        KeyType::Protocol => Datum::Protocol(*bytes.first()?),
        KeyType::Unknown(_) => return None,
    })
}
