//! What the counters of the rules have counted.

use alloc::collections::BTreeMap;

use policy_core::ruleset::ChainName;

use super::{At, DecodeError, Sorted};
use crate::uapi::{
    NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_RULE_CHAIN,
    NFTA_RULE_EXPRESSIONS,
};
use crate::wire::{Attributes, WireError, attributes};

/// What went past counters.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counted {
    /// How many packets.
    pub packets: u64,
    /// How many bytes they had.
    pub bytes: u64,
}

/// What the counters in each chain of our table have counted since its rules were written, from a listing of rules.
///
/// # Errors
/// It is not what the kernel writes.
pub fn counted(dump: &[u8]) -> Result<BTreeMap<ChainName, Counted>, DecodeError> {
    let mut chains: BTreeMap<ChainName, Counted> = BTreeMap::new();
    for (index, rule) in Sorted::read(dump)?.rules {
        let at = At { index, message: "rule" };
        let Some(more) = of_rule(&rule).map_err(|source| at.damaged(source))? else { continue };
        let name = at.require(rule.text(NFTA_RULE_CHAIN), "chain name")?;
        let counted = chains.entry(ChainName::new(name)).or_default();
        counted.packets = counted.packets.saturating_add(more.packets);
        counted.bytes = counted.bytes.saturating_add(more.bytes);
    }
    Ok(chains)
}

/// What the rule's counter says, if it has one.
fn of_rule(rule: &Attributes<'_>) -> Result<Option<Counted>, WireError> {
    for expression in attributes(rule.bytes(NFTA_RULE_EXPRESSIONS).unwrap_or_default()) {
        let (_, expression) = expression?;
        let expression = Attributes::read(expression)?;
        if expression.text(NFTA_EXPR_NAME).as_deref() == Some("counter") {
            let data = expression.nested(NFTA_EXPR_DATA)?;
            // Both are big-endian: nft_counter_do_dump.
            let number = |kind| {
                let bytes = data.bytes(kind).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u64::from_be_bytes)
            };
            let counted =
                Counted { packets: number(NFTA_COUNTER_PACKETS), bytes: number(NFTA_COUNTER_BYTES) };
            return Ok(Some(counted));
        }
    }
    Ok(None)
}
