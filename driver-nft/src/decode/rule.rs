//! Rules from the kernel's bytecode.
//!
//! The kernel lists loads into registers and what consumes them; this module puts them together again. Whatever does
//! not fit one of the patterns that `encode` writes becomes [`Expr::Foreign`] with the kernel's names for it.

use alloc::collections::BTreeMap;

use core::time::Duration;

use policy_core::ruleset::{
    ChainName, ConnectionState, Datum, Expr, Field, Heading, KeyType, Location, Rule, Set, SetName, Verdict,
};

use super::set::read_verdict;
use crate::layout;
use crate::uapi::{
    IP_CT_DIR_ORIGINAL, IP_CT_DIR_REPLY, NF_CT_STATE_ESTABLISHED, NF_CT_STATE_RELATED, NFT_BITWISE_MASK_XOR,
    NFT_CMP_EQ, NFT_CMP_GTE, NFT_CMP_LTE, NFT_CMP_NEQ, NFT_CT_DIRECTION, NFT_CT_STATE, NFT_CT_ZONE,
    NFT_DYNSET_OP_UPDATE, NFT_EXTHDR_OP_IPV6, NFT_LIMIT_PKTS, NFT_LOOKUP_F_INV, NFT_REG_VERDICT,
    NFTA_BITWISE_DREG, NFTA_BITWISE_LEN, NFTA_BITWISE_MASK, NFTA_BITWISE_OP, NFTA_BITWISE_SREG,
    NFTA_BITWISE_XOR, NFTA_CMP_DATA, NFTA_CMP_OP, NFTA_CMP_SREG, NFTA_CT_DIRECTION, NFTA_CT_DREG,
    NFTA_CT_KEY, NFTA_CT_SREG, NFTA_DATA_VALUE, NFTA_DYNSET_EXPR, NFTA_DYNSET_EXPRESSIONS, NFTA_DYNSET_FLAGS,
    NFTA_DYNSET_OP, NFTA_DYNSET_SET_NAME, NFTA_DYNSET_SREG_DATA, NFTA_DYNSET_SREG_KEY, NFTA_DYNSET_TIMEOUT,
    NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_EXTHDR_DREG, NFTA_EXTHDR_FLAGS, NFTA_EXTHDR_LEN, NFTA_EXTHDR_OFFSET,
    NFTA_EXTHDR_OP, NFTA_EXTHDR_TYPE, NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_LIMIT_BURST,
    NFTA_LIMIT_FLAGS, NFTA_LIMIT_RATE, NFTA_LIMIT_TYPE, NFTA_LIMIT_UNIT, NFTA_LOG_FLAGS, NFTA_LOG_GROUP,
    NFTA_LOG_LEVEL, NFTA_LOG_PREFIX, NFTA_LOG_QTHRESHOLD, NFTA_LOG_SNAPLEN, NFTA_LOOKUP_DREG,
    NFTA_LOOKUP_FLAGS, NFTA_LOOKUP_SET, NFTA_LOOKUP_SREG, NFTA_META_DREG, NFTA_META_KEY, NFTA_PAYLOAD_BASE,
    NFTA_PAYLOAD_DREG, NFTA_PAYLOAD_LEN, NFTA_PAYLOAD_OFFSET, NFTA_RULE_EXPRESSIONS, NFTA_RULE_USERDATA,
};
use crate::userdata;
use crate::wire::{Attributes, WireError, attributes};

/// One expression of the kernel.
#[derive(Debug)]
enum Raw<'a> {
    Bitwise {
        mask: &'a [u8],
    },
    Cmp {
        operator: u32,
        value: &'a [u8],
    },
    Counter,
    /// A number in the first register, which no other expression has loaded.
    Constant(u16),
    Dynset {
        set: String,
        timeout: Duration,
    },
    Limit {
        rate: u32,
        burst: u32,
    },
    Load {
        word: u32,
        location: Place,
    },
    Log {
        group: u16,
        prefix: String,
        snaplen: u32,
    },
    Lookup {
        set: String,
        dispatch: bool,
        negated: bool,
    },
    Other,
    /// Puts the packet into the zone that is in the first register.
    SetZone,
    Verdict(Verdict),
}

/// A location by the kernel's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Connection { key: u32 },
    Extension { header: u8, offset: u32, bytes: u32 },
    Meta { key: u32 },
    Payload { base: u32, offset: u32, bytes: u32 },
}

/// A rule of the dump.
pub(super) fn read(rule: &Attributes<'_>, sets: &BTreeMap<SetName, Set>) -> Result<Rule, WireError> {
    let mut reader =
        Reader { sets, exprs: Vec::new(), pending: Pending::default(), protocol: None, network: None };
    for expression in attributes(rule.bytes(NFTA_RULE_EXPRESSIONS).unwrap_or_default()) {
        let (_, expression) = expression?;
        let expression = Attributes::read(expression)?;
        let name = expression.text(NFTA_EXPR_NAME).unwrap_or_default();
        let data = expression.nested(NFTA_EXPR_DATA)?;
        let raw = raw(&name, &data)?.unwrap_or(Raw::Other);
        reader.take(&name, raw);
    }
    reader.give_up_pending();
    Ok(Rule { exprs: reader.exprs, comment: userdata::read_comment(rule.bytes(NFTA_RULE_USERDATA)) })
}

/// One expression; `None` when it is none that this program writes.
fn raw<'a>(name: &str, data: &Attributes<'a>) -> Result<Option<Raw<'a>>, WireError> {
    Ok(match name {
        "bitwise" => bitwise(data)?,
        "cmp" => cmp(data)?,
        "counter" => Some(Raw::Counter),
        "ct" => connection(data),
        "dynset" => dynset(data),
        "exthdr" => extension(data),
        "immediate" if data.number(NFTA_IMMEDIATE_DREG) == Some(NFT_REG_VERDICT) => {
            let verdict = read_verdict(&data.nested(NFTA_IMMEDIATE_DATA)?)?;
            verdict.filter(|verdict| !verdict.target().is_some_and(bound_to_rule)).map(Raw::Verdict)
        }
        "immediate" if starts_key(data.number(NFTA_IMMEDIATE_DREG)) => {
            let value = data.nested(NFTA_IMMEDIATE_DATA)?.bytes(NFTA_DATA_VALUE);
            value.and_then(|value| value.try_into().ok()).map(u16::from_ne_bytes).map(Raw::Constant)
        }
        "limit" => limit(data),
        "log" => log(data),
        "lookup" => lookup(data),
        "meta" => meta(data),
        "payload" => payload(data),
        _ => None,
    })
}

/// Whether a chain is one that the kernel named for a rule with a block of its own.
fn bound_to_rule(chain: &ChainName) -> bool {
    chain.as_str().starts_with("__chain")
}

/// Whether a register is the first: the only one that a key starts at.
fn starts_key(register: Option<u32>) -> bool {
    register.and_then(layout::register_word) == Some(0)
}

fn bitwise<'a>(data: &Attributes<'a>) -> Result<Option<Raw<'a>>, WireError> {
    let mask = data.nested(NFTA_BITWISE_MASK)?.bytes(NFTA_DATA_VALUE);
    let xor = data.nested(NFTA_BITWISE_XOR)?.bytes(NFTA_DATA_VALUE);
    let ours = starts_key(data.number(NFTA_BITWISE_SREG))
        && starts_key(data.number(NFTA_BITWISE_DREG))
        && data.number(NFTA_BITWISE_LEN) == mask.and_then(|mask| u32::try_from(mask.len()).ok())
        && data.number(NFTA_BITWISE_OP).unwrap_or(NFT_BITWISE_MASK_XOR) == NFT_BITWISE_MASK_XOR
        && xor.is_some_and(|xor| xor.iter().all(|byte| *byte == 0));
    Ok(mask.filter(|_| ours).map(|mask| Raw::Bitwise { mask }))
}

fn cmp<'a>(data: &Attributes<'a>) -> Result<Option<Raw<'a>>, WireError> {
    let value = data.nested(NFTA_CMP_DATA)?.bytes(NFTA_DATA_VALUE);
    Ok(match (data.number(NFTA_CMP_OP), value) {
        (Some(operator), Some(value)) if starts_key(data.number(NFTA_CMP_SREG)) => {
            Some(Raw::Cmp { operator, value })
        }
        _ => None,
    })
}

/// What is known about the packet's connection, or its zone.
fn connection<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let key = data.number(NFTA_CT_KEY)?;
    let plain = data.bytes(NFTA_CT_DIRECTION).is_none();
    match (data.number(NFTA_CT_DREG), data.number(NFTA_CT_SREG)) {
        (Some(register), None) if plain => {
            let word = layout::register_word(register)?;
            Some(Raw::Load { word, location: Place::Connection { key } })
        }
        (None, Some(register)) => {
            (plain && key == NFT_CT_ZONE && starts_key(Some(register))).then_some(Raw::SetZone)
        }
        _ => None,
    }
}

fn dynset<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let plain = starts_key(data.number(NFTA_DYNSET_SREG_KEY))
        && data.number(NFTA_DYNSET_OP) == Some(NFT_DYNSET_OP_UPDATE)
        && data.bytes(NFTA_DYNSET_SREG_DATA).is_none()
        && data.bytes(NFTA_DYNSET_EXPR).is_none()
        && data.bytes(NFTA_DYNSET_EXPRESSIONS).is_none()
        && data.number(NFTA_DYNSET_FLAGS).unwrap_or(0) == 0;
    let timeout = Duration::from_millis(data.long(NFTA_DYNSET_TIMEOUT)?);
    let set = data.text(NFTA_DYNSET_SET_NAME)?;
    plain.then_some(Raw::Dynset { set, timeout })
}

fn extension<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let word = layout::register_word(data.number(NFTA_EXTHDR_DREG)?)?;
    let [header] = *data.bytes(NFTA_EXTHDR_TYPE)? else { return None };
    let offset = data.number(NFTA_EXTHDR_OFFSET)?;
    let bytes = data.number(NFTA_EXTHDR_LEN)?;
    // With the flag it would ask whether there is such a header.
    let plain = data.number(NFTA_EXTHDR_FLAGS).unwrap_or(0) == 0
        && data.number(NFTA_EXTHDR_OP).unwrap_or(NFT_EXTHDR_OP_IPV6) == NFT_EXTHDR_OP_IPV6;
    plain.then_some(Raw::Load { word, location: Place::Extension { header, offset, bytes } })
}

/// A limit of packets per second. In other units, or turned round, it is another program's.
fn limit<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let plain = data.long(NFTA_LIMIT_UNIT) == Some(1)
        && data.number(NFTA_LIMIT_TYPE).unwrap_or(NFT_LIMIT_PKTS) == NFT_LIMIT_PKTS
        && data.number(NFTA_LIMIT_FLAGS).unwrap_or(0) == 0;
    let rate = u32::try_from(data.long(NFTA_LIMIT_RATE)?).ok()?;
    let burst = data.number(NFTA_LIMIT_BURST)?;
    plain.then_some(Raw::Limit { rate, burst })
}

/// A log to a group of listeners. One without a group goes to the kernel's own log, and is another program's.
fn log<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let plain = data.bytes(NFTA_LOG_LEVEL).is_none()
        && data.bytes(NFTA_LOG_FLAGS).is_none()
        && data.bytes(NFTA_LOG_QTHRESHOLD).is_none_or(|threshold| threshold == [0, 0]);
    let group = u16::from_be_bytes(data.bytes(NFTA_LOG_GROUP)?.try_into().ok()?);
    let prefix = data.text(NFTA_LOG_PREFIX)?;
    let snaplen = data.number(NFTA_LOG_SNAPLEN)?;
    plain.then_some(Raw::Log { group, prefix, snaplen })
}

fn lookup<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let set = data.text(NFTA_LOOKUP_SET)?;
    let flags = data.number(NFTA_LOOKUP_FLAGS).unwrap_or(0);
    let dispatch = match data.number(NFTA_LOOKUP_DREG) {
        None => false,
        Some(NFT_REG_VERDICT) => true,
        Some(_) => return None,
    };
    let negated = flags == NFT_LOOKUP_F_INV;
    // A set that the kernel named for a rule of its own is not one of ours.
    let ours = starts_key(data.number(NFTA_LOOKUP_SREG))
        && (flags == 0 || (negated && !dispatch))
        && !set.starts_with("__set")
        && !set.starts_with("__map");
    ours.then_some(Raw::Lookup { set, dispatch, negated })
}

fn meta<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let word = layout::register_word(data.number(NFTA_META_DREG)?)?;
    Some(Raw::Load { word, location: Place::Meta { key: data.number(NFTA_META_KEY)? } })
}

fn payload<'a>(data: &Attributes<'a>) -> Option<Raw<'a>> {
    let word = layout::register_word(data.number(NFTA_PAYLOAD_DREG)?)?;
    let base = data.number(NFTA_PAYLOAD_BASE)?;
    let offset = data.number(NFTA_PAYLOAD_OFFSET)?;
    let bytes = data.number(NFTA_PAYLOAD_LEN)?;
    Some(Raw::Load { word, location: Place::Payload { base, offset, bytes } })
}

/// What is loaded and not yet used.
#[derive(Default, Debug)]
struct Pending {
    /// Names of the expressions, for the text of a foreign one.
    names: Vec<String>,
    places: Vec<Place>,
    /// The first word behind the last load.
    next_word: u32,
    mask: Option<Vec<u8>>,
    constant: Option<u16>,
    /// The lower end of a range.
    low: Option<Datum>,
}

struct Reader<'a> {
    sets: &'a BTreeMap<SetName, Set>,
    exprs: Vec<Expr>,
    pending: Pending,
    /// The transport protocol that the rule has asked for: ICMP and `ICMPv6` have their fields at the same places.
    protocol: Option<Datum>,
    /// The Ethernet type that the rule has asked for: IPv4 and ARP have fields at the same place.
    network: Option<Datum>,
}

impl Reader<'_> {
    fn take(&mut self, name: &str, raw: Raw<'_>) {
        self.pending.names.push(name.to_owned());
        let expr = match raw {
            Raw::Load { word, location } => return self.load(name, word, location),
            Raw::Bitwise { mask } if self.pending.places.len() == 1 && self.pending.mask.is_none() => {
                self.pending.mask = Some(mask.to_vec());
                return;
            }
            Raw::Cmp { operator: NFT_CMP_GTE, value } if self.pending.low.is_none() => {
                match self.value(value) {
                    Some((_, low)) if self.pending.mask.is_none() => {
                        self.pending.low = Some(low);
                        return;
                    }
                    _ => None,
                }
            }
            Raw::Cmp { operator, value } => self.comparison(operator, value),
            Raw::Constant(value) if self.alone() => {
                self.pending.constant = Some(value);
                return;
            }
            Raw::SetZone if self.pending.places.is_empty() => self.pending.constant.map(Expr::SetZone),
            Raw::Counter => self.alone().then_some(Expr::Counter),
            Raw::Limit { rate, burst } => self.alone().then_some(Expr::Limit { rate, burst }),
            Raw::Log { group, prefix, snaplen } => {
                self.alone().then_some(Expr::Log { group, prefix, snaplen })
            }
            Raw::Verdict(verdict) => self.alone().then_some(Expr::Verdict(verdict)),
            Raw::Dynset { set, timeout } => {
                let set = SetName::new(set);
                self.key(&set).map(|fields| Expr::Update { fields, set, timeout })
            }
            Raw::Lookup { set, dispatch, negated } => {
                let set = SetName::new(set);
                self.key(&set).map(|fields| {
                    if dispatch {
                        Expr::Dispatch { fields, map: set }
                    } else {
                        Expr::Lookup { fields, set, negated }
                    }
                })
            }
            Raw::Bitwise { .. } | Raw::Constant(_) | Raw::Other | Raw::SetZone => None,
        };
        match expr {
            Some(expr) => self.push(expr),
            None => self.give_up_pending(),
        }
    }

    fn push(&mut self, expr: Expr) {
        if let Expr::Compare { field: Field::TransportProtocol, mask: None, negated: false, value } = expr {
            self.protocol = Some(value);
        }
        if let Expr::Compare { field: Field::NetworkProtocol, mask: None, negated: false, value } = expr {
            self.network = Some(value);
        }
        self.exprs.push(expr);
        self.pending = Pending::default();
    }

    /// What has come in since the last whole expression is foreign.
    fn give_up_pending(&mut self) {
        let pending = core::mem::take(&mut self.pending);
        if !pending.names.is_empty() {
            self.exprs.push(Expr::Foreign(pending.names.join(" ")));
        }
    }

    /// Whether nothing was loaded: for expressions that use no register.
    fn alone(&self) -> bool {
        self.pending.names.len() == 1
    }

    fn load(&mut self, name: &str, word: u32, place: Place) {
        let pending = &self.pending;
        let used = pending.mask.is_some() || pending.low.is_some() || pending.constant.is_some();
        if word != pending.next_word || used {
            // A load that does not continue the key: what was loaded before is used in a way that is not ours.
            self.pending.names.pop();
            self.give_up_pending();
            self.pending.names.push(name.to_owned());
            if word != 0 {
                return self.give_up_pending();
            }
        }
        let words = match place {
            Place::Connection { .. } => Some(1),
            Place::Extension { .. } | Place::Meta { .. } | Place::Payload { .. } => {
                candidates(place).next().map(layout::words)
            }
        };
        let Some(words) = words else {
            return self.give_up_pending();
        };
        self.pending.places.push(place);
        self.pending.next_word += words;
    }

    /// The one loaded field, and these bytes as its value.
    fn value(&self, bytes: &[u8]) -> Option<(Field, Datum)> {
        let [place] = *self.pending.places else { return None };
        let field = self.field(place, None)?;
        Some((field, layout::datum(field.key_type(), bytes)?))
    }

    fn comparison(&self, operator: u32, bytes: &[u8]) -> Option<Expr> {
        if let [Place::Connection { key }] = *self.pending.places {
            return connection_expr(key, self.pending.mask.as_deref(), operator, bytes);
        }
        let (field, value) = self.value(bytes)?;
        let mask = match self.pending.mask.as_deref() {
            None => None,
            Some(&[mask]) if layout::length(field.key_type()) == 1 => Some(mask.into()),
            Some(&[high, low]) if layout::length(field.key_type()) == 2 => {
                Some(u16::from_be_bytes([high, low]))
            }
            Some(_) => return None,
        };
        if mask.is_some() && !layout::is_ordered(field.key_type()) {
            return None;
        }
        match (operator, self.pending.low) {
            (NFT_CMP_EQ, None) => Some(Expr::Compare { field, mask, negated: false, value }),
            (NFT_CMP_NEQ, None) => Some(Expr::Compare { field, mask, negated: true, value }),
            (NFT_CMP_LTE, Some(low)) if mask.is_none() && layout::is_ordered(field.key_type()) => {
                Some(Expr::Range { field, low, high: value })
            }
            _ => None,
        }
    }

    /// The loaded fields as the key of `set`.
    fn key(&self, set: &SetName) -> Option<Vec<Field>> {
        let pending = &self.pending;
        if pending.places.is_empty() || pending.mask.is_some() || pending.low.is_some() {
            return None;
        }
        let key = self.sets.get(set).map(|set| &*set.spec.key).unwrap_or_default();
        pending
            .places
            .iter()
            .enumerate()
            .map(|(at, place)| self.field(*place, key.get(at).copied()))
            .collect()
    }

    /// The field at a place. Where ICMP and `ICMPv6` share it, the rule's own comparison decides, then the set's type.
    fn field(&self, place: Place, wanted: Option<KeyType>) -> Option<Field> {
        let version6 = match self.protocol {
            Some(protocol) => protocol == Datum::ICMP6,
            None => wanted == Some(KeyType::Icmp6Id),
        };
        let version4 = [Field::IcmpId, Field::IcmpType];
        let other_version = if version6 { version4 } else { [Field::Icmp6Id, Field::Icmp6Type] };
        let of_ip4 = self.network == Some(Datum::IP4);
        let possible = || {
            candidates(place)
                .filter(|field| !(other_version.contains(field) || of_ip4 && *field == Field::ArpOperation))
        };
        // A place may have a name and be read as a number, too: the set's type tells which.
        possible().find(|field| Some(field.key_type()) == wanted).or_else(|| possible().next())
    }
}

/// The expression that compares what is known about the packet's connection.
fn connection_expr(key: u32, mask: Option<&[u8]>, operator: u32, bytes: &[u8]) -> Option<Expr> {
    match (key, mask, operator, bytes) {
        (NFT_CT_DIRECTION, None, NFT_CMP_EQ, &[IP_CT_DIR_ORIGINAL]) => {
            Some(Expr::Direction(Heading::Original))
        }
        (NFT_CT_DIRECTION, None, NFT_CMP_EQ, &[IP_CT_DIR_REPLY]) => Some(Expr::Direction(Heading::Reply)),
        (NFT_CT_STATE, Some(mask), NFT_CMP_NEQ, &[0, 0, 0, 0]) => {
            let bit = u32::from_ne_bytes(mask.try_into().ok()?);
            match bit {
                NF_CT_STATE_ESTABLISHED => Some(Expr::State(ConnectionState::Established)),
                NF_CT_STATE_RELATED => Some(Expr::State(ConnectionState::Related)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The fields that lie at a place.
fn candidates(place: Place) -> impl Iterator<Item = Field> {
    Field::ALL.into_iter().filter(move |field| place_of(*field) == place)
}

const fn place_of(field: Field) -> Place {
    match field.location() {
        Location::Extension { header, offset, bytes } => {
            Place::Extension { header: layout::extension_number(header), offset, bytes }
        }
        Location::Meta(key) => Place::Meta { key: layout::meta_number(key) },
        Location::Payload { base, offset, bytes } => {
            Place::Payload { base: layout::base_number(base), offset, bytes }
        }
    }
}
