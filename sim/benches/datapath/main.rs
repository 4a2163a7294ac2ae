//! What filtering costs the data plane: one bridge, one pair of pods, the same packets under different tables.
//!
//! Every table is measured in every round, one after the other, and compared with the bare bridge of the same round; what
//! else the machine does then weighs on all of them alike. The report is the median of the rounds, as a table on
//! standard output and as `target/datapath.svg`.
#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a benchmark talks to a terminal, and is no part of a library"
)]

extern crate alloc;

mod bed;
mod load;
mod plot;
mod report;
mod tables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use sim::{isolate, outside, programs};

use crate::bed::Bed;
use crate::load::Sample;
use crate::report::Report;
use crate::tables::Table;

/// Pods on the bridge besides the measured pair, so that the largest table has a port for each of its pods.
const CROWD: usize = 1_000;
/// How often every table is measured.
const ROUNDS: usize = 7;
/// The argument of the isolated half.
const INSIDE: &str = "inside";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [inside, host] if inside == INSIDE => measure(host),
        _ => start(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the isolated half; whatever happens to it, nothing of it stays behind.
fn start() -> Result<()> {
    programs::check()?;
    isolate::become_root()?;
    let ended = outside::isolated(&[INSIDE.to_owned()], false, &mut std::io::stdout())?;
    if !ended.good {
        bail!("the measurement has failed");
    }
    Ok(())
}

fn measure(host: &str) -> Result<()> {
    let _parent = isolate::settle_in(host)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bed = runtime.block_on(Bed::build(CROWD))?;
    let tables = Table::all();
    let mut report = Report::default();
    for round in 1..=ROUNDS {
        for table in &tables {
            table.put(&bed).with_context(|| format!("cannot load: {table}"))?;
            let sample = Sample::take(&bed).with_context(|| format!("cannot measure: {table}"))?;
            table.remove(&bed)?;
            println!("round {round} of {ROUNDS}: {table}: {sample}");
            report.add(table, sample);
        }
    }
    println!("\n{report}");
    let file = target_directory().join("datapath.svg");
    plot::draw(&report, &file).with_context(|| format!("cannot draw {}", file.display()))?;
    println!("drawn in {}", file.display());
    Ok(())
}

/// Cargo's target directory: it tells benchmarks of a directory inside.
fn target_directory() -> PathBuf {
    let inside = Path::new(env!("CARGO_TARGET_TMPDIR"));
    inside.parent().unwrap_or(inside).to_owned()
}
