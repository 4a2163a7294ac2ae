//! The nftables ruleset as data: what the table holds, and what a transaction does to it.
//!
//! The types follow nft's own vocabulary closely enough that each value has exactly one text form (`text`), one
//! kernel encoding (`driver-nft`) and one meaning (`eval`). [`Ruleset::apply`] has the kernel's semantics,
//! references included, so the model can stand in for a kernel where there is none.

mod apply;
mod diff;
mod expr;
mod field;
mod layout;
mod name;
mod set;
mod text;
mod touched;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use apply::ApplyError;
pub use diff::{Dirty, diff, diff_within};
pub use expr::{ConnectionState, Expr, Heading, Rule, Verdict};
pub use field::{Datum, ExtensionHeader, Field, InterfaceName, KeyType, Location, MetaKey, PayloadBase};
pub use layout::{LAYOUT, LAYOUT_STEM};
pub use name::{
    COMMENT_BYTES_MAX, ChainName, LOG_PREFIX_BYTES_MAX, NAME_BYTES_MAX, SetName, comment, fingerprint,
    readable,
};
pub use set::{Dynamic, Elements, Key, Set, SetSpec};
pub use text::TABLE;
pub use touched::Touched;

/// The contents of the table `bridge mnp-nft-bridge`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ruleset {
    /// Chains by name.
    pub chains: BTreeMap<ChainName, Chain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<SetName, Set>,
}

/// A chain with its rules, in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// What it is, apart from its rules.
    pub spec: ChainSpec,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// What a chain is, apart from its rules.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChainSpec {
    /// Where the kernel calls it; `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
    /// For people: at most [`COMMENT_BYTES_MAX`] bytes.
    pub comment: String,
}

/// A place where the kernel enters the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BaseChain {
    /// The hook.
    pub hook: Hook,
    /// The order among chains on this hook; -200 is `filter` in the bridge family
    /// (`NF_BR_PRI_FILTER_BRIDGED`, `uapi/linux/netfilter_bridge.h`).
    pub priority: i32,
    /// Whether a frame that no rule decides about is dropped.
    pub drop_by_default: bool,
}

/// A hook of the bridge family (`uapi/linux/netfilter_bridge.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Hook {
    /// Every frame that arrives at a port, once.
    Prerouting,
    /// Frames for the node itself.
    Input,
    /// Bridged frames, once per output port.
    Forward,
    /// The node's own frames, once per output port.
    Output,
    /// Frames about to leave a port; no input port is known.
    Postrouting,
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Create a chain, without rules.
    AddChain(ChainName, ChainSpec),
    /// Create a set or map, without elements.
    AddSet(SetName, SetSpec),
    /// Add elements that are not there.
    AddElements(SetName, #[serde(with = "set::elements_as_list")] Elements),
    /// Delete an empty chain; nothing may refer to it any more.
    DelChain(ChainName),
    /// Delete elements that are there.
    DelElements(SetName, #[serde(with = "set::elements_as_list")] Elements),
    /// Delete a set or map with its elements; nothing may refer to it any more.
    DelSet(SetName),
    /// Replace all rules of a chain.
    SetRules(ChainName, Vec<Rule>),
}
