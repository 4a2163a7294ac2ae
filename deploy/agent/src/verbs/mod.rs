//! One file per verb: its arguments, and how it answers.

pub(crate) mod check;
pub(crate) mod cleanup;
pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod matrix;
pub(crate) mod probe;
pub(crate) mod render;
pub(crate) mod replay;
pub(crate) mod run;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::Answer;
use crate::cli::{Cli, Verb};

/// Answers.
pub(crate) fn run(cli: &Cli) -> Result<Answer> {
    match &cli.verb {
        Verb::Check(arguments) => check::run(arguments, cli.output),
        Verb::Cleanup(arguments) => cleanup::run(arguments),
        Verb::Completions(arguments) => completions::run(arguments),
        Verb::Explain(arguments) => explain::run(arguments, cli.output),
        Verb::Matrix(arguments) => matrix::run(arguments, cli.output),
        Verb::Probe(arguments) => probe::run(arguments, cli.output),
        Verb::Render(arguments) => render::run(arguments, cli.output),
        Verb::Replay(arguments) => replay::run(arguments, cli.output),
        Verb::Run(arguments) => run::run(arguments),
    }
}

/// A value as JSON text.
fn json<T: Serialize>(value: &T) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?;
    text.push('\n');
    Ok(text)
}
