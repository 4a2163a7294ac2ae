//! Sets, maps and their elements.

use policy_core::ruleset::{Datum, Elements, Key, SetName, SetSpec, TABLE, Verdict};

use super::{Encoder, Unencodable, check_comment, expr, set_name};
use crate::layout;
use crate::uapi::{
    NFT_DATA_VERDICT, NFT_MSG_DELSET, NFT_MSG_DELSETELEM, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM,
    NFT_SET_ELEM_INTERVAL_END, NFT_SET_EVAL, NFT_SET_INTERVAL, NFT_SET_MAP, NFT_SET_TIMEOUT,
    NFT_USERDATA_MAXLEN, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE,
    NFTA_SET_DESC, NFTA_SET_DESC_SIZE, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_USERDATA,
    NFTA_SET_FLAGS, NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TABLE,
    NFTA_SET_TIMEOUT, NFTA_SET_USERDATA, NLM_F_CREATE, NLM_F_EXCL,
};
use crate::userdata;
use crate::wire::Writer;

/// How many bytes of elements go into one message: well below the 65535 of an attribute, because the element that
/// passes the mark is still written, and so is the end of its range.
const ELEMENT_BYTES_MAX: usize = 60_000;

/// Creates a set.
pub(super) fn add(encoder: &mut Encoder, name: &SetName, spec: &SetSpec) -> Result<(), Unencodable> {
    check_key(spec)?;
    check_comment(&spec.comment)?;
    let mut types = Vec::new();
    for kind in &spec.key {
        types.push(layout::type_number(*kind).map_err(Unencodable::UnknownKey)?);
    }
    let description = userdata::set(spec);
    if description.len() > NFT_USERDATA_MAXLEN {
        return Err(Unencodable::Description(description.len()));
    }
    encoder.sets += 1;
    let id = encoder.sets;
    encoder.message(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, |w| {
        w.text(NFTA_SET_TABLE, TABLE);
        w.text(NFTA_SET_NAME, set_name(name)?);
        w.number(NFTA_SET_FLAGS, flags(spec));
        w.number(NFTA_SET_KEY_TYPE, layout::concatenated(types));
        w.number(NFTA_SET_KEY_LEN, u32::try_from(layout::key_length(&spec.key)).unwrap_or(u32::MAX));
        if spec.verdict_map {
            w.number(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
            w.number(NFTA_SET_DATA_LEN, 0);
        }
        w.number(NFTA_SET_ID, id);
        if let Some(dynamic) = spec.dynamic {
            w.group(NFTA_SET_DESC, |w| w.number(NFTA_SET_DESC_SIZE, dynamic.size));
            let timeout_ms = dynamic.timeout.as_secs().saturating_mul(1000);
            w.attribute(NFTA_SET_TIMEOUT, &timeout_ms.to_be_bytes());
        }
        w.attribute(NFTA_SET_USERDATA, &description);
        Ok(())
    })
}

fn check_key(spec: &SetSpec) -> Result<(), Unencodable> {
    let count = spec.key.len();
    if count == 0 || count > layout::KEY_PARTS_MAX || (spec.interval && count > 1) {
        return Err(Unencodable::KeyParts(count));
    }
    if let [kind] = *spec.key
        && spec.interval
        && !layout::is_ordered(kind)
    {
        return Err(Unencodable::Unordered(kind.to_string()));
    }
    Ok(())
}

fn flags(spec: &SetSpec) -> u32 {
    let mut flags = 0;
    if spec.interval {
        flags |= NFT_SET_INTERVAL;
    }
    if spec.verdict_map {
        flags |= NFT_SET_MAP;
    }
    if spec.dynamic.is_some() {
        flags |= NFT_SET_TIMEOUT | NFT_SET_EVAL;
    }
    flags
}

/// Deletes a set with its elements.
pub(super) fn delete(encoder: &mut Encoder, name: &SetName) -> Result<(), Unencodable> {
    encoder.message(NFT_MSG_DELSET, 0, |w| {
        w.text(NFTA_SET_TABLE, TABLE);
        w.text(NFTA_SET_NAME, set_name(name)?);
        Ok(())
    })
}

/// Adds elements that are not there.
pub(super) fn add_elements(
    encoder: &mut Encoder,
    name: &SetName,
    elements: &Elements,
) -> Result<(), Unencodable> {
    write_elements(encoder, name, elements, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes elements that are there.
pub(super) fn delete_elements(
    encoder: &mut Encoder,
    name: &SetName,
    elements: &Elements,
) -> Result<(), Unencodable> {
    write_elements(encoder, name, elements, NFT_MSG_DELSETELEM, 0)
}

/// An attribute is at most 65535 bytes long, so many elements take several messages. No elements take one too: the
/// kernel then still says whether there is such a set.
fn write_elements(
    encoder: &mut Encoder,
    name: &SetName,
    elements: &Elements,
    kind: u16,
    flags: u16,
) -> Result<(), Unencodable> {
    let mut rest = elements.iter().peekable();
    loop {
        encoder.message(kind, flags, |w| {
            w.text(NFTA_SET_ELEM_LIST_TABLE, TABLE);
            w.text(NFTA_SET_ELEM_LIST_SET, set_name(name)?);
            w.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |w| {
                let start = w.position();
                while w.position() - start < ELEMENT_BYTES_MAX {
                    let Some((key, verdict)) = rest.next() else { break };
                    element(w, key, verdict.as_ref())?;
                }
                Ok(())
            })
        })?;
        if rest.peek().is_none() {
            return Ok(());
        }
    }
}

/// The text of the element that holds the kernel's element with this index, in the order of `write_elements`.
pub(super) fn element_text(elements: &Elements, index: usize) -> Option<String> {
    let mut behind = 0;
    let (key, verdict) = elements.iter().find(|(key, _)| {
        behind += match key {
            Key::Concat(_) | Key::One(_) => 1,
            Key::Range(_, high) => 1 + usize::from(successor(&layout::bytes(*high)).is_some()),
        };
        index < behind
    })?;
    Some(verdict.as_ref().map_or_else(|| key.to_string(), |verdict| format!("{key} : {verdict}")))
}

fn element(w: &mut Writer, key: &Key, verdict: Option<&Verdict>) -> Result<(), Unencodable> {
    match key {
        Key::Concat(parts) => single(w, &layout::padded_bytes(parts), verdict, &[]),
        Key::One(value) => single(w, &layout::bytes(*value), verdict, &[]),
        Key::Range(low, high) => interval(w, key, *low, *high, verdict),
    }
}

/// A range is two elements: where it starts, and the first value behind it. A range that reaches to the last value
/// has no end; a mark for nft says that this is meant.
fn interval(
    w: &mut Writer,
    key: &Key,
    low: Datum,
    high: Datum,
    verdict: Option<&Verdict>,
) -> Result<(), Unencodable> {
    let (start, last) = (layout::bytes(low), layout::bytes(high));
    if start.len() != last.len()
        || start > last
        || matches!(low, Datum::Index(_) | Datum::InterfaceName(_) | Datum::Vlan(_))
    {
        return Err(Unencodable::Element(key.to_string()));
    }
    let Some(behind) = successor(&last) else {
        return single(w, &start, verdict, &userdata::open_interval());
    };
    single(w, &start, verdict, &[])?;
    w.group(NFTA_LIST_ELEM, |w| {
        w.number(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        w.group(NFTA_SET_ELEM_KEY, |w| w.attribute(NFTA_DATA_VALUE, &behind));
    });
    Ok(())
}

/// The next number of as many bytes, most significant first; `None` behind the last.
fn successor(number: &[u8]) -> Option<Vec<u8>> {
    let mut next = number.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}

fn single(w: &mut Writer, key: &[u8], verdict: Option<&Verdict>, userdata: &[u8]) -> Result<(), Unencodable> {
    w.nested(NFTA_LIST_ELEM, |w| {
        w.group(NFTA_SET_ELEM_KEY, |w| w.attribute(NFTA_DATA_VALUE, key));
        if let Some(verdict) = verdict {
            w.nested(NFTA_SET_ELEM_DATA, |w| expr::write_verdict(w, verdict))?;
        }
        if !userdata.is_empty() {
            w.attribute(NFTA_SET_ELEM_USERDATA, userdata);
        }
        Ok(())
    })
}
