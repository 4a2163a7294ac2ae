//! `cleanup`: enforcement ends.

use anyhow::{Context as _, Result};
use clap::Args;
use driver_nft::NftKernel;
use policy_core::Kernel as _;
use policy_core::ruleset::TABLE;

use crate::Answer;

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing else removes the table: an agent that ends leaves it as it is. Stop the agent first, or it puts the table
back at once.

Examples:
  mnp-nft-bridge cleanup
  ssh worker-1 sudo mnp-nft-bridge cleanup"
)]
pub(crate) struct Arguments {}

/// Removes the table.
pub(crate) fn run(_: &Arguments) -> Result<Answer> {
    let mut kernel = NftKernel::open().context("cannot open nftables")?;
    let held = kernel.observe().context("cannot read the table")?;
    kernel.remove_table().context("cannot remove the table")?;
    let text = if held.chains.is_empty() && held.sets.is_empty() {
        format!("there was no table bridge {TABLE}\n")
    } else {
        format!("removed table bridge {TABLE}: {} chains, {} sets\n", held.chains.len(), held.sets.len())
    };
    Ok(Answer { text, ..Answer::default() })
}
