//! Reading address prefixes and `ipBlock`s.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::model::Block;

use super::path::quoted;
use super::{Field, IpBlock, Path, Problems};

/// Reads an `ipBlock`; `None` when any part of it is not usable: a block with an exception left out would be
/// wider than what was written.
pub(super) fn block(spec: &IpBlock, at: &Path<'_>, problems: &mut Problems) -> Option<Block> {
    let known = spec.unknown.none(at, problems);
    let cidr = spec.cidr.required().and_then(|text| prefix(text));
    let cidr = cidr.map_err(|reason| problems.add(&at.field("cidr"), reason)).ok();
    let at = at.field("except");
    let except = match &spec.except {
        Field::Absent => Vec::new(),
        Field::Given(list) => exceptions(list, cidr, &at, problems)?,
        Field::Wrong(reason) => {
            problems.add(&at, reason.as_str());
            return None;
        }
    };
    known.then_some(Block::new(cidr?, except))
}

/// Reads the entries of `except`; they must lie inside `cidr` where that is known.
fn exceptions(
    list: &[Field<String>],
    cidr: Option<IpNet>,
    at: &Path<'_>,
    problems: &mut Problems,
) -> Option<Vec<IpNet>> {
    let mut nets = Vec::new();
    let mut whole = true;
    for (index, entry) in list.iter().enumerate() {
        let read = entry.required().and_then(|text| {
            let net = prefix(text)?;
            match cidr {
                Some(cidr) if cidr == net => Err(format!("{}: takes out all of {cidr}", quoted(text))),
                Some(cidr) if !cidr.contains(&net) => Err(format!("{}: not inside {cidr}", quoted(text))),
                _ => Ok(net),
            }
        });
        match read {
            Ok(net) => nets.push(net),
            Err(reason) => {
                problems.add(&at.index(index), reason);
                whole = false;
            }
        }
    }
    whole.then_some(nets)
}

/// Reads `address/length` and masks the host bits off.
///
/// An IPv4-mapped IPv6 address is refused: no packet carries one, and what was meant is an IPv4 prefix.
fn prefix(text: &str) -> Result<IpNet, String> {
    let fail = |why: &str| Err(format!("{}: {why}", quoted(text)));
    let Some((address, length)) = text.split_once('/') else {
        return fail("no prefix length");
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return fail("not an address");
    };
    let longest = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            return fail("an IPv4 address inside IPv6; write it as IPv4");
        }
        IpAddr::V6(_) => 128,
    };
    let digits = !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit());
    if !digits || (length.len() > 1 && length.starts_with('0')) {
        return fail("prefix length is not a number");
    }
    match length.parse::<u8>() {
        Ok(bits) if bits <= longest => match IpNet::new(address, bits) {
            Ok(net) => Ok(net.trunc()),
            Err(_) => fail("not a prefix"),
        },
        _ => fail(&format!("prefix length over {longest}")),
    }
}
