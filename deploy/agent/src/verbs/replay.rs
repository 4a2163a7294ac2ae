//! `replay`: an agent's journal, done again.

use core::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use policy_core::Transaction;
use policy_core::journal::{Entry, Replay};
use serde::Serialize;

use super::json;
use crate::Answer;
use crate::cli::Form;

/// Arguments of `replay`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every transaction that the agent committed or tried to is worked out again from what it heard, printed, and compared with
the one that it asked for then. Exit status 1 means that one differs: then this is another version of the program, or the
core is not the function of its inputs that it must be.

Examples:
  mnp-nft-bridge replay /var/lib/mnp-nft-bridge/journal
  mnp-nft-bridge replay --output json journal.1"
)]
pub(crate) struct Arguments {
    /// A journal, as `run --journal` writes it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// The answer.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The transactions, in order, of one agent after the other.
    transactions: Vec<Transaction>,
    /// What differs from what was recorded; nothing is replayed behind it.
    difference: Option<String>,
}

/// Replays.
pub(crate) fn run(arguments: &Arguments, form: Form) -> Result<Answer> {
    let shown = arguments.file.display();
    let file = File::open(&arguments.file).with_context(|| format!("cannot read {shown}"))?;
    let mut lines = BufReader::new(file).lines().enumerate().peekable();
    let (mut report, mut replay, mut remarks) = (Report::default(), Replay::default(), Vec::new());
    while let Some((number, line)) = lines.next() {
        let line = line.with_context(|| format!("cannot read {shown}"))?;
        if line.is_empty() {
            continue;
        }
        let entry = match serde_json::from_str(&line) {
            Ok(entry) => entry,
            Err(error) => {
                // An agent that was killed did not finish its last line; the next one began on a new one.
                let follows = lines.find_map(|(_, line)| line.ok().filter(|line| !line.is_empty()));
                let next = follows.as_deref().map(serde_json::from_str::<Entry>).transpose().ok().flatten();
                ensure!(
                    follows.is_none() || matches!(next, Some(Entry::Start(_))),
                    "{shown}:{}: not an entry of a journal: {error}",
                    number + 1
                );
                remarks.push(format!("{shown}:{}: the entry is cut short", number + 1));
                match next {
                    Some(start) => start,
                    None => break,
                }
            }
        };
        match replay.take(entry) {
            Ok(transaction) => report.transactions.extend(transaction),
            Err(difference) => {
                report.difference = Some(format!("{shown}:{}: {difference}", number + 1));
                break;
            }
        }
    }
    ensure!(replay.compiler().is_some(), "{shown} is no journal: it has no beginning");
    let found_problems = report.difference.is_some();
    let text = match form {
        Form::Json => json(&report)?,
        Form::Text => text(&report)?,
    };
    Ok(Answer { text, remarks, found_problems })
}

fn text(report: &Report) -> Result<String> {
    let mut text = String::new();
    for transaction in &report.transactions {
        writeln!(text, "# transaction {}\n{transaction}", transaction.generation)?;
    }
    match &report.difference {
        Some(difference) => writeln!(text, "# differs: {difference}")?,
        None => writeln!(text, "# {} transactions, all as recorded", report.transactions.len())?,
    }
    Ok(text)
}
