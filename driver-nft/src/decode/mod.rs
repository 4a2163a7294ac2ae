//! Dumps of the kernel as a ruleset: pure, no socket, and never a panic whatever the bytes.
//!
//! The same messages serve for writing and for listing, so a batch that this crate wrote reads back as the ruleset it
//! makes. What this program never writes is kept visible: foreign expressions become [`Expr::Foreign`], sets of a
//! foreign nature get [`KeyType::Unknown`] for a key, so that whoever compares sees a difference.
//!
//! [`Expr::Foreign`]: policy_core::ruleset::Expr::Foreign
//! [`KeyType::Unknown`]: policy_core::ruleset::KeyType::Unknown

mod counted;
mod rule;
mod set;

pub use counted::{Counted, counted};

use alloc::collections::BTreeMap;

use policy_core::ruleset::{BaseChain, Chain, ChainName, ChainSpec, Hook, Ruleset, SetName, TABLE, Touched};

use crate::touch::Touch;
use crate::uapi::{
    NF_ACCEPT, NF_BR_FORWARD, NF_BR_LOCAL_IN, NF_BR_LOCAL_OUT, NF_BR_POST_ROUTING, NF_BR_PRE_ROUTING,
    NFPROTO_BRIDGE, NFT_CHAIN_BINDING, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM,
    NFT_MSG_NEWTABLE, NFT_TABLE_F_DORMANT, NFTA_CHAIN_FLAGS, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY, NFTA_CHAIN_USERDATA, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_RULE_CHAIN,
    NFTA_SET_ELEM_LIST_SET, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME,
};
use crate::userdata;
use crate::wire::{Attributes, WireError, messages};

/// A dump that is not what the kernel writes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A message lacks an attribute that the kernel always sends.
    #[error("netlink message {index} of the dump ({message}) lacks its {attribute}")]
    Missing {
        /// Index of the message within the dump.
        index: usize,
        /// What the message describes.
        message: &'static str,
        /// What it lacks.
        attribute: &'static str,
    },
    /// Framing that does not hold.
    #[error("netlink message {index} of the dump is damaged: {source}")]
    Wire {
        /// Index of the message within the dump.
        index: usize,
        /// What is wrong with it.
        source: WireError,
    },
}

/// The set names of a dump, whether or not their elements are of interest: what to ask the kernel for next.
pub fn set_names(dump: &[u8]) -> Result<Vec<SetName>, DecodeError> {
    let sorted = Sorted::read(dump)?;
    Ok(sorted.sets.into_iter().filter(|(_, set)| set.has_elements()).map(|(name, _)| name).collect())
}

/// Reads messages (tables, chains, sets, elements, rules; in any order, others are passed over) as the contents of our
/// table; what belongs to other tables is left out, and so are elements of dynamic sets.
pub fn ruleset(dump: &[u8]) -> Result<Ruleset, DecodeError> {
    let mut sorted = Sorted::read(dump)?;
    for (index, attributes) in sorted.elements {
        let at = At { index, message: "element list" };
        let name = at.require(attributes.text(NFTA_SET_ELEM_LIST_SET), "set name")?;
        if let Some(set) = sorted.sets.get_mut(&SetName::new(name)) {
            set.collect(&attributes).map_err(|source| at.damaged(source))?;
        }
    }
    let sets: BTreeMap<_, _> = sorted.sets.into_iter().map(|(name, set)| (name, set.finish())).collect();
    let mut chains = sorted.chains;
    for (index, attributes) in sorted.rules {
        let at = At { index, message: "rule" };
        let name = at.require(attributes.text(NFTA_RULE_CHAIN), "chain name")?;
        let rule = rule::read(&attributes, &sets).map_err(|source| at.damaged(source))?;
        if let Some(chain) = chains.get_mut(&ChainName::new(name)) {
            chain.rules.push(rule);
        }
    }
    if sorted.dormant {
        // The kernel calls none of a sleeping table's chains: they are not base chains now.
        for chain in chains.values_mut() {
            chain.spec.base = None;
        }
    }
    Ok(Ruleset { chains, sets })
}

/// Reads messages as [`ruleset`] does, and takes what `touch` names from them; what is not among them is gone.
pub fn touched(dump: &[u8], touch: &Touch) -> Result<Touched, DecodeError> {
    let Ruleset { mut chains, mut sets } = ruleset(dump)?;
    Ok(Touched {
        chains: touch.chains.iter().map(|name| (name.clone(), chains.remove(name))).collect(),
        sets: touch.sets.iter().map(|name| (name.clone(), sets.remove(name))).collect(),
    })
}

/// Where in a dump something is.
#[derive(Clone, Copy)]
struct At {
    index: usize,
    message: &'static str,
}

impl At {
    fn require<T>(self, value: Option<T>, attribute: &'static str) -> Result<T, DecodeError> {
        value.ok_or(DecodeError::Missing { index: self.index, message: self.message, attribute })
    }

    const fn damaged(self, source: WireError) -> DecodeError {
        DecodeError::Wire { index: self.index, source }
    }
}

/// A dump's messages about our table, by what they describe.
#[derive(Default)]
struct Sorted<'a> {
    dormant: bool,
    chains: BTreeMap<ChainName, Chain>,
    sets: BTreeMap<SetName, set::Draft>,
    rules: Vec<(usize, Attributes<'a>)>,
    elements: Vec<(usize, Attributes<'a>)>,
}

impl<'a> Sorted<'a> {
    fn read(dump: &'a [u8]) -> Result<Self, DecodeError> {
        let mut sorted = Self::default();
        for (index, message) in messages(dump).enumerate() {
            let message = message.map_err(|source| DecodeError::Wire { index, source })?;
            let kind = match message.kind {
                NFT_MSG_NEWTABLE => "table",
                NFT_MSG_NEWCHAIN => "chain",
                NFT_MSG_NEWSET => "set",
                NFT_MSG_NEWRULE => "rule",
                NFT_MSG_NEWSETELEM => "element list",
                _ => continue,
            };
            let at = At { index, message: kind };
            let (family, attributes) = message.body().map_err(|source| at.damaged(source))?;
            // All five kinds of message name their table in the attribute of type 1.
            let table = at.require(attributes.text(NFTA_TABLE_NAME), "table name")?;
            if family == NFPROTO_BRIDGE && table == TABLE {
                sorted.take(at, message.kind, attributes)?;
            }
        }
        Ok(sorted)
    }

    fn take(&mut self, at: At, kind: u16, attributes: Attributes<'a>) -> Result<(), DecodeError> {
        match kind {
            NFT_MSG_NEWTABLE => {
                let flags = attributes.number(NFTA_TABLE_FLAGS).unwrap_or(0);
                self.dormant = flags & NFT_TABLE_F_DORMANT != 0;
            }
            NFT_MSG_NEWCHAIN => {
                let name = at.require(attributes.text(NFTA_CHAIN_NAME), "name")?;
                // A chain bound to the rule that jumps to it belongs to that rule.
                if attributes.number(NFTA_CHAIN_FLAGS).unwrap_or(0) & NFT_CHAIN_BINDING == 0 {
                    let spec = chain_spec(at, &attributes)?;
                    self.chains.insert(ChainName::new(name), Chain { spec, rules: Vec::new() });
                }
            }
            NFT_MSG_NEWSET => {
                if let Some((name, set)) = set::Draft::read(at, &attributes)? {
                    self.sets.insert(name, set);
                }
            }
            NFT_MSG_NEWRULE => self.rules.push((at.index, attributes)),
            _ => self.elements.push((at.index, attributes)),
        }
        Ok(())
    }
}

fn chain_spec(at: At, attributes: &Attributes<'_>) -> Result<ChainSpec, DecodeError> {
    let comment = userdata::read_comment(attributes.bytes(NFTA_CHAIN_USERDATA));
    if attributes.bytes(NFTA_CHAIN_HOOK).is_none() {
        return Ok(ChainSpec { base: None, comment });
    }
    let hook = attributes.nested(NFTA_CHAIN_HOOK).map_err(|source| at.damaged(source))?;
    let number = at.require(hook.number(NFTA_HOOK_HOOKNUM), "hook number")?;
    let priority = at.require(hook.number(NFTA_HOOK_PRIORITY), "hook priority")?;
    let policy = attributes.number(NFTA_CHAIN_POLICY).unwrap_or(NF_ACCEPT);
    let base = read_hook(number).map(|hook| BaseChain {
        hook,
        priority: i32::from_be_bytes(priority.to_be_bytes()),
        drop_by_default: policy != NF_ACCEPT,
    });
    Ok(ChainSpec { base, comment })
}

/// The bridge family has these hooks and no others; a chain elsewhere would be none that is called here.
const fn read_hook(number: u32) -> Option<Hook> {
    match number {
        NF_BR_PRE_ROUTING => Some(Hook::Prerouting),
        NF_BR_LOCAL_IN => Some(Hook::Input),
        NF_BR_FORWARD => Some(Hook::Forward),
        NF_BR_LOCAL_OUT => Some(Hook::Output),
        NF_BR_POST_ROUTING => Some(Hook::Postrouting),
        _ => None,
    }
}
