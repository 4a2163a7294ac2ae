//! The version of the table's layout, as the table itself says it.

use alloc::format;

use super::{Chain, ChainName, ChainSpec, Ruleset};

/// The layout of tables that this version writes. It counts whenever something that is always there gets another name or shape.
///
/// The base chains and the dynamic sets never do: an upgrade must not leave a moment without the former, nor
/// forget the flows in the latter.
pub const LAYOUT: u32 = 1;

/// How the name of the chain begins that says which layout a table has.
pub const LAYOUT_STEM: &str = "layout-";

impl Ruleset {
    /// The layout that the table says it has; `None` where it says nothing, as one that is not there or that no agent has written.
    pub fn layout(&self) -> Option<u32> {
        let first = ChainName::new(LAYOUT_STEM);
        let mut marks = self.chains.range(first..).map(|(name, _)| name.as_str());
        marks.next()?.strip_prefix(LAYOUT_STEM)?.parse().ok()
    }

    /// Lets the table say that it has the layout of this version.
    ///
    /// A chain to which nothing leads, because that can be exchanged in a transaction: the userdata of a table cannot
    /// (`nf_tables_updtable`, `net/netfilter/nf_tables_api.c`, looks at nothing but the flags).
    pub(crate) fn mark_layout(&mut self) {
        let mark = Chain { spec: ChainSpec::default(), rules: [].into() };
        self.chains.insert(ChainName::new(format!("{LAYOUT_STEM}{LAYOUT}")), mark);
    }
}
