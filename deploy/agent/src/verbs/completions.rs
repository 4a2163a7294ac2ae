//! `completions`: the shell completes the verbs and their options.

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::Answer;
use crate::cli::Cli;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mnp-nft-bridge completions bash > /etc/bash_completion.d/mnp-nft-bridge
  mnp-nft-bridge completions zsh > \"${fpath[1]}/_mnp-nft-bridge\"
  mnp-nft-bridge completions fish > ~/.config/fish/completions/mnp-nft-bridge.fish")]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Answers.
pub(crate) fn run(arguments: &Arguments) -> Result<Answer> {
    let mut bytes = Vec::new();
    generate(arguments.shell, &mut Cli::command(), "mnp-nft-bridge", &mut bytes);
    let text = String::from_utf8(bytes).context("the completions are not text")?;
    Ok(Answer { text, ..Answer::default() })
}
