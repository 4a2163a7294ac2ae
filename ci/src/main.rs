//! The one door to every tool of the project: `cargo ci VERB`.
//!
//! The pipeline runs `cargo ci test` and nothing else, so what passes on a contributor's machine passes there. The
//! program knows no other crate of the workspace: it runs cargo and the tools, reads their answers and stops at the
//! first failure with one sentence.

extern crate alloc;

mod arrows;
mod bench;
mod chart;
mod cli;
mod cluster;
mod coverage;
mod declared;
mod envtest;
mod house;
mod image;
mod licences;
mod metadata;
mod packages;
mod privilege;
mod program;
mod spdx;
mod steps;
mod toolchain;
mod verbs;
mod vm;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match verbs::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; the exit status tells it in any case.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            error.downcast_ref::<vm::CommandFailed>().map_or(ExitCode::FAILURE, |failed| failed.status.into())
        }
    }
}

/// Prints one line on standard output.
fn say(line: impl core::fmt::Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
