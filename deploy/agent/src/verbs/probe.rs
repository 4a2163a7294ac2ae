//! `probe`: what the kernel of this machine can do.

use anyhow::{Context as _, Result};
use clap::Args;
use driver_nft::{Capabilities, Capability, StateWish, Support};
use policy_core::StateEngine;
use serde::Serialize;

use super::json;
use crate::Answer;
use crate::cli::Form;

/// Arguments of `probe`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each capability is tried in a scratch table that no packet meets and that is gone with the trial. Needs the
privilege that the agent needs: CAP_NET_ADMIN in the network namespace.

Examples:
  mnp-nft-bridge probe
  mnp-nft-bridge probe --output json | jq -r '.capabilities[] | select(.present) | .name'"
)]
pub(crate) struct Arguments {}

/// The answer as JSON.
#[derive(Serialize)]
struct Probed {
    capabilities: Vec<Found>,
    /// What follows connections when nothing else is asked for.
    state: StateEngine,
    /// The same, with the reason.
    chosen: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    name: &'static str,
    what: &'static str,
    present: bool,
    /// The kernel's error, where it refuses.
    error: Option<String>,
}

/// Answers.
pub(crate) fn run(_: &Arguments, form: Form) -> Result<Answer> {
    let capabilities = Capabilities::probe().context("cannot find out what the kernel can do")?;
    let state = capabilities.state(StateWish::Auto)?;
    let removal = match capabilities.of(Capability::ChainDeletion) {
        Support::Present => "removal: chains go in the transaction that no longer needs them".to_owned(),
        support @ Support::Missing(_) => {
            format!(
                "removal: chains go in a transaction of their own, because deleting them at once is {support}"
            )
        }
    };
    let chosen = vec![format!("state: {state}"), removal];
    let text = match form {
        Form::Json => {
            let found = capabilities.iter().map(|(capability, support)| Found {
                name: capability.name(),
                what: capability.describe(),
                present: support.is_present(),
                error: match support {
                    Support::Missing(errno) => Some(errno.to_string()),
                    Support::Present => None,
                },
            });
            json(&Probed { capabilities: found.collect(), state: state.engine, chosen })?
        }
        Form::Text => chosen.iter().fold(capabilities.to_string(), |text, line| text + line + "\n"),
    };
    Ok(Answer { text, ..Answer::default() })
}
