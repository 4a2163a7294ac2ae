//! Expressions as the kernel's bytecode.
//!
//! Registers are taken as nft takes them: every expression loads its fields from the first register on, each field at
//! the next free 4-byte word.

use policy_core::ruleset::{
    ConnectionState, Datum, Expr, Field, Heading, LOG_PREFIX_BYTES_MAX, Location, SetName, Verdict,
};

use super::{Unencodable, chain_name, set_name};
use crate::layout;
use crate::uapi::{
    IP_CT_DIR_ORIGINAL, IP_CT_DIR_REPLY, NF_ACCEPT, NF_CT_STATE_ESTABLISHED, NF_CT_STATE_RELATED, NF_DROP,
    NFT_BITWISE_MASK_XOR, NFT_CMP_EQ, NFT_CMP_GTE, NFT_CMP_LTE, NFT_CMP_NEQ, NFT_CT_DIRECTION, NFT_CT_STATE,
    NFT_CT_ZONE, NFT_DYNSET_OP_UPDATE, NFT_GOTO, NFT_JUMP, NFT_LIMIT_PKTS, NFT_LOOKUP_F_INV, NFT_REG_1,
    NFT_REG_VERDICT, NFT_RETURN, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN, NFTA_BITWISE_MASK, NFTA_BITWISE_OP,
    NFTA_BITWISE_SREG, NFTA_BITWISE_XOR, NFTA_CMP_DATA, NFTA_CMP_OP, NFTA_CMP_SREG, NFTA_CT_DREG,
    NFTA_CT_KEY, NFTA_CT_SREG, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_DYNSET_OP, NFTA_DYNSET_SET_NAME,
    NFTA_DYNSET_SREG_KEY, NFTA_DYNSET_TIMEOUT, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_EXTHDR_DREG,
    NFTA_EXTHDR_LEN, NFTA_EXTHDR_OFFSET, NFTA_EXTHDR_TYPE, NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG,
    NFTA_LIMIT_BURST, NFTA_LIMIT_FLAGS, NFTA_LIMIT_RATE, NFTA_LIMIT_TYPE, NFTA_LIMIT_UNIT, NFTA_LIST_ELEM,
    NFTA_LOG_GROUP, NFTA_LOG_PREFIX, NFTA_LOG_SNAPLEN, NFTA_LOOKUP_DREG, NFTA_LOOKUP_FLAGS, NFTA_LOOKUP_SET,
    NFTA_LOOKUP_SREG, NFTA_META_DREG, NFTA_META_KEY, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_DREG, NFTA_PAYLOAD_LEN,
    NFTA_PAYLOAD_OFFSET, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
};
use crate::wire::Writer;

/// Writes one expression.
pub(super) fn write(w: &mut Writer, expr: &Expr) -> Result<(), Unencodable> {
    match expr {
        Expr::Compare { field, mask, negated, value } => compare(w, *field, *mask, *negated, *value),
        Expr::Counter => {
            // Without numbers, the kernel counts from zero.
            expression(w, "counter", |_| {});
            Ok(())
        }
        Expr::Direction(direction) => {
            heading(w, *direction);
            Ok(())
        }
        Expr::Dispatch { fields, map } => {
            load(w, fields)?;
            lookup(w, set_name(map)?, Some(NFT_REG_VERDICT), false);
            Ok(())
        }
        Expr::Foreign(text) => Err(Unencodable::Foreign(text.clone())),
        Expr::Limit { rate, burst } => limit(w, *rate, *burst),
        Expr::Log { group, prefix, snaplen } => log(w, *group, prefix, *snaplen),
        Expr::Lookup { fields, set, negated } => {
            load(w, fields)?;
            lookup(w, set_name(set)?, None, *negated);
            Ok(())
        }
        Expr::Range { field, low, high } => range(w, *field, *low, *high),
        Expr::SetZone(zone) => {
            set_zone(w, *zone);
            Ok(())
        }
        Expr::State(state) => {
            connection_state(w, *state);
            Ok(())
        }
        Expr::Update { fields, set, timeout } => {
            load(w, fields)?;
            update(w, set, timeout.as_secs())
        }
        Expr::Verdict(verdict) => immediate(w, verdict),
    }
}

/// An expression of the kernel with its attributes.
fn expression(w: &mut Writer, name: &str, attributes: impl FnOnce(&mut Writer)) {
    w.group(NFTA_LIST_ELEM, |w| {
        w.text(NFTA_EXPR_NAME, name);
        w.group(NFTA_EXPR_DATA, attributes);
    });
}

/// Loads the fields into registers, from the first one on.
fn load(w: &mut Writer, fields: &[Field]) -> Result<(), Unencodable> {
    if fields.is_empty() || fields.len() > layout::KEY_PARTS_MAX {
        return Err(Unencodable::KeyParts(fields.len()));
    }
    let mut word = 0;
    for field in fields {
        let register = layout::register(word).ok_or(Unencodable::Registers)?;
        word += layout::words(*field);
        // The last word must exist as well.
        layout::register(word - 1).ok_or(Unencodable::Registers)?;
        load_one(w, *field, register);
    }
    Ok(())
}

fn load_one(w: &mut Writer, field: Field, register: u32) {
    match field.location() {
        Location::Meta(key) => expression(w, "meta", |w| {
            w.number(NFTA_META_KEY, layout::meta_number(key));
            w.number(NFTA_META_DREG, register);
        }),
        Location::Extension { header, offset, bytes } => expression(w, "exthdr", |w| {
            w.number(NFTA_EXTHDR_DREG, register);
            w.attribute(NFTA_EXTHDR_TYPE, &[layout::extension_number(header)]);
            w.number(NFTA_EXTHDR_OFFSET, offset);
            w.number(NFTA_EXTHDR_LEN, bytes);
        }),
        Location::Payload { base, offset, bytes } => expression(w, "payload", |w| {
            w.number(NFTA_PAYLOAD_DREG, register);
            w.number(NFTA_PAYLOAD_BASE, layout::base_number(base));
            w.number(NFTA_PAYLOAD_OFFSET, offset);
            w.number(NFTA_PAYLOAD_LEN, bytes);
        }),
    }
}

fn check_value(field: Field, value: Datum) -> Result<(), Unencodable> {
    if value.is_a(field.key_type()) {
        return Ok(());
    }
    Err(Unencodable::Value { field: field.name(), value: value.to_string() })
}

fn compare(
    w: &mut Writer,
    field: Field,
    mask: Option<u16>,
    negated: bool,
    value: Datum,
) -> Result<(), Unencodable> {
    check_value(field, value)?;
    load(w, &[field])?;
    if let Some(mask) = mask {
        let [high, low] = mask.to_be_bytes();
        match (layout::length(field.key_type()), high) {
            _ if !layout::is_ordered(field.key_type()) => return Err(Unencodable::Mask(field.name())),
            (1, 0) => bitwise(w, &[low]),
            (2, _) => bitwise(w, &[high, low]),
            _ => return Err(Unencodable::Mask(field.name())),
        }
    }
    cmp(w, if negated { NFT_CMP_NEQ } else { NFT_CMP_EQ }, value);
    Ok(())
}

/// Keeps the bits of `mask` in the first register.
fn bitwise(w: &mut Writer, mask: &[u8]) {
    let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    expression(w, "bitwise", |w| {
        w.number(NFTA_BITWISE_SREG, NFT_REG_1);
        w.number(NFTA_BITWISE_DREG, NFT_REG_1);
        w.number(NFTA_BITWISE_OP, NFT_BITWISE_MASK_XOR);
        w.number(NFTA_BITWISE_LEN, length);
        w.group(NFTA_BITWISE_MASK, |w| w.attribute(NFTA_DATA_VALUE, mask));
        w.group(NFTA_BITWISE_XOR, |w| w.attribute(NFTA_DATA_VALUE, &vec![0; mask.len()]));
    });
}

/// Loads what connection tracking knows about the packet into the first register.
fn load_connection(w: &mut Writer, key: u32) {
    expression(w, "ct", |w| {
        w.number(NFTA_CT_KEY, key);
        w.number(NFTA_CT_DREG, NFT_REG_1);
    });
}

/// The states are bits of a number in the machine's byte order.
fn connection_state(w: &mut Writer, state: ConnectionState) {
    let bit = match state {
        ConnectionState::Established => NF_CT_STATE_ESTABLISHED,
        ConnectionState::Related => NF_CT_STATE_RELATED,
    };
    load_connection(w, NFT_CT_STATE);
    bitwise(w, &bit.to_ne_bytes());
    cmp_bytes(w, NFT_CMP_NEQ, &[0; 4]);
}

fn heading(w: &mut Writer, heading: Heading) {
    let direction = match heading {
        Heading::Original => IP_CT_DIR_ORIGINAL,
        Heading::Reply => IP_CT_DIR_REPLY,
    };
    load_connection(w, NFT_CT_DIRECTION);
    cmp_bytes(w, NFT_CMP_EQ, &[direction]);
}

/// The zone goes through a register, in the machine's byte order.
fn set_zone(w: &mut Writer, zone: u16) {
    expression(w, "immediate", |w| {
        w.number(NFTA_IMMEDIATE_DREG, NFT_REG_1);
        w.group(NFTA_IMMEDIATE_DATA, |w| w.attribute(NFTA_DATA_VALUE, &zone.to_ne_bytes()));
    });
    expression(w, "ct", |w| {
        w.number(NFTA_CT_KEY, NFT_CT_ZONE);
        w.number(NFTA_CT_SREG, NFT_REG_1);
    });
}

fn range(w: &mut Writer, field: Field, low: Datum, high: Datum) -> Result<(), Unencodable> {
    check_value(field, low)?;
    check_value(field, high)?;
    if !layout::is_ordered(field.key_type()) {
        return Err(Unencodable::Unordered(field.name().to_owned()));
    }
    load(w, &[field])?;
    cmp(w, NFT_CMP_GTE, low);
    cmp(w, NFT_CMP_LTE, high);
    Ok(())
}

fn cmp(w: &mut Writer, operator: u32, value: Datum) {
    cmp_bytes(w, operator, &layout::bytes(value));
}

/// Compares the first register.
fn cmp_bytes(w: &mut Writer, operator: u32, bytes: &[u8]) {
    expression(w, "cmp", |w| {
        w.number(NFTA_CMP_SREG, NFT_REG_1);
        w.number(NFTA_CMP_OP, operator);
        w.group(NFTA_CMP_DATA, |w| w.attribute(NFTA_DATA_VALUE, bytes));
    });
}

fn lookup(w: &mut Writer, set: &str, destination: Option<u32>, negated: bool) {
    expression(w, "lookup", |w| {
        w.number(NFTA_LOOKUP_SREG, NFT_REG_1);
        if let Some(register) = destination {
            w.number(NFTA_LOOKUP_DREG, register);
        }
        w.text(NFTA_LOOKUP_SET, set);
        if negated {
            w.number(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
        }
    });
}

fn update(w: &mut Writer, set: &SetName, timeout_s: u64) -> Result<(), Unencodable> {
    let set = set_name(set)?;
    expression(w, "dynset", |w| {
        w.number(NFTA_DYNSET_SREG_KEY, NFT_REG_1);
        w.number(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
        w.attribute(NFTA_DYNSET_TIMEOUT, &timeout_s.saturating_mul(1000).to_be_bytes());
        w.text(NFTA_DYNSET_SET_NAME, set);
    });
    Ok(())
}

/// Packets per second; the kernel takes 0 at once for five, and 0 in the long run for a mistake (`nft_limit_init`).
fn limit(w: &mut Writer, rate: u32, burst: u32) -> Result<(), Unencodable> {
    if rate == 0 || burst == 0 {
        return Err(Unencodable::Limit { rate, burst });
    }
    expression(w, "limit", |w| {
        w.attribute(NFTA_LIMIT_RATE, &u64::from(rate).to_be_bytes());
        w.attribute(NFTA_LIMIT_UNIT, &1_u64.to_be_bytes());
        w.number(NFTA_LIMIT_BURST, burst);
        w.number(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
        w.number(NFTA_LIMIT_FLAGS, 0);
    });
    Ok(())
}

fn log(w: &mut Writer, group: u16, prefix: &str, snaplen: u32) -> Result<(), Unencodable> {
    // An empty prefix and a length of 0 are the same to the kernel as none, and are not listed.
    if prefix.is_empty() || prefix.len() > LOG_PREFIX_BYTES_MAX || prefix.contains('\0') || snaplen == 0 {
        return Err(Unencodable::Log { prefix: prefix.to_owned(), snaplen });
    }
    expression(w, "log", |w| {
        w.attribute(NFTA_LOG_GROUP, &group.to_be_bytes());
        w.text(NFTA_LOG_PREFIX, prefix);
        w.number(NFTA_LOG_SNAPLEN, snaplen);
    });
    Ok(())
}

fn immediate(w: &mut Writer, verdict: &Verdict) -> Result<(), Unencodable> {
    w.nested(NFTA_LIST_ELEM, |w| {
        w.text(NFTA_EXPR_NAME, "immediate");
        w.nested(NFTA_EXPR_DATA, |w| {
            w.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
            w.nested(NFTA_IMMEDIATE_DATA, |w| write_verdict(w, verdict))
        })
    })
}

/// A verdict as data: of an immediate expression or of a map's element.
pub(super) fn write_verdict(w: &mut Writer, verdict: &Verdict) -> Result<(), Unencodable> {
    let code = match verdict {
        Verdict::Accept => NF_ACCEPT,
        Verdict::Drop => NF_DROP,
        Verdict::Goto(_) => NFT_GOTO,
        Verdict::Jump(_) => NFT_JUMP,
        Verdict::Return => NFT_RETURN,
    };
    w.nested(NFTA_DATA_VERDICT, |w| {
        w.number(NFTA_VERDICT_CODE, code);
        if let Some(chain) = verdict.target() {
            w.text(NFTA_VERDICT_CHAIN, chain_name(chain)?);
        }
        Ok(())
    })
}
