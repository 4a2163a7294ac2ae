//! `mnp-nft-bridge`: the program that wires core and drivers together, and decides nothing itself.
//!
//! ```text
//!  verbs/run  ------> run: sources of events --inbox--> core <--> kernel        the agent of a node
//!  verbs/probe,cleanup ----------------------------------------> kernel        this machine's
//!  verbs/check,explain,matrix,render --> manifests --> core                    offline, from files
//!  verbs/replay ------------------------> journal ----> core                    offline, from a journal
//! ```
//!
//! One file of `verbs` per subcommand: each turns its arguments into an [`Answer`], and only this file prints. Exit status
//! 0 means that the question was answered, 1 that `check` found problems or `replay` something else than was recorded, 2 that
//! there is no answer.
//!
//! What is tested where: `tests/offline` asks the built program questions; `tests/running` runs it on a real kernel, also
//! with exactly what the manifests give to its container; `tests/cluster` lets it follow a real API server (`cargo ci
//! cluster`); `tests/chart` renders the Helm chart (`cargo ci chart`).
#![forbid(unsafe_code)]

extern crate alloc;

mod cli;
mod explanation;
mod manifests;
mod run;
mod verbs;
mod words;

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;

/// What a verb has to say.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// For standard output, with its last line end.
    pub(crate) text: String,
    /// For standard error: what the reader should know about the answer, one line each.
    pub(crate) remarks: Vec<String>,
    /// Whether the verb looked for problems and found some.
    pub(crate) found_problems: bool,
}

fn main() -> ExitCode {
    match verbs::run(&Cli::parse()).and_then(|answer| Ok(print(&answer)?)) {
        Ok(status) => status,
        Err(error) => {
            // Nobody is left to be told when this fails too.
            drop(writeln!(io::stderr().lock(), "error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Prints an answer and says how the program ends.
fn print(answer: &Answer) -> io::Result<ExitCode> {
    let mut stderr = io::stderr().lock();
    for remark in &answer.remarks {
        writeln!(stderr, "note: {remark}")?;
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(answer.text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads the other end has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(if answer.found_problems { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
