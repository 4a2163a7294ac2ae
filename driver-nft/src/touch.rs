//! What a commit touched, by name.

use alloc::collections::BTreeSet;

use policy_core::ruleset::{ChainName, SetName};

use crate::uapi::{
    NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_DELSETELEM, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE,
    NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM, NFTA_CHAIN_NAME, NFTA_RULE_CHAIN, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_NAME,
};
use crate::wire::Attributes;

/// More names than this are not remembered one by one: reading the whole table is cheaper then.
const NAMES_MAX: usize = 64;

/// Which parts of our table somebody else has touched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Touch {
    /// Whether it may have been any part.
    pub all: bool,
    /// Chains, by themselves or by their rules.
    pub chains: BTreeSet<ChainName>,
    /// Sets, by themselves or by their elements.
    pub sets: BTreeSet<SetName>,
}

impl Touch {
    /// Any part may have been touched.
    pub const ALL: Self = Self { all: true, chains: BTreeSet::new(), sets: BTreeSet::new() };

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        !self.all && self.chains.is_empty() && self.sets.is_empty()
    }

    /// Takes in what `other` names.
    pub fn merge(&mut self, other: Self) {
        self.all |= other.all;
        self.chains.extend(other.chains);
        self.sets.extend(other.sets);
        self.forget_many();
    }

    /// Takes in an announcement about our table.
    pub(crate) fn take(&mut self, kind: u16, attributes: &Attributes<'_>) {
        let chain = |attribute| attributes.text(attribute).map(ChainName::new);
        let set = |attribute| attributes.text(attribute).map(SetName::new);
        let known = match kind {
            NFT_MSG_NEWCHAIN | NFT_MSG_DELCHAIN => {
                chain(NFTA_CHAIN_NAME).map(|name| self.chains.insert(name))
            }
            NFT_MSG_NEWRULE | NFT_MSG_DELRULE => chain(NFTA_RULE_CHAIN).map(|name| self.chains.insert(name)),
            NFT_MSG_NEWSET | NFT_MSG_DELSET => set(NFTA_SET_NAME).map(|name| self.sets.insert(name)),
            NFT_MSG_NEWSETELEM | NFT_MSG_DELSETELEM => {
                set(NFTA_SET_ELEM_LIST_SET).map(|name| self.sets.insert(name))
            }
            // The table itself, or something that this program never puts into it.
            _ => None,
        };
        self.all |= known.is_none();
        self.forget_many();
    }

    fn forget_many(&mut self) {
        if self.all || self.chains.len() + self.sets.len() > NAMES_MAX {
            *self = Self::ALL;
        }
    }
}
