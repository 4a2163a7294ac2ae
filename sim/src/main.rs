//! `sim`: runs scenarios.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use sim::batch::{Arms, Batch, Ready, prepare_packets, survey};
use sim::capability::Capability;
use sim::inside::{self, Manner};
use sim::outside;
use sim::scenario::schema;

/// Runs scenarios: real manifests, judged by the model and by real packets on real bridges.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell every scenario of a directory as a story: who reaches whom, step by step.
    Demo {
        /// The directory.
        directory: PathBuf,
    },
    /// Used by sim itself.
    #[command(hide = true)]
    Inside {
        #[arg(long)]
        colour: bool,
        #[arg(long)]
        keep: bool,
        #[arg(long)]
        story: bool,
        #[arg(long, default_value_t = 1)]
        patience: u32,
        file: PathBuf,
        host: String,
    },
    /// Run scenarios; the exit status is 0 when all pass, 1 when one fails, 2 when one cannot be run.
    Run {
        /// Scenario files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How they are judged.
        #[arg(long, value_enum, default_value_t = Arms::Both)]
        arm: Arms,
        /// Leave the namespaces of the (last) scenario for inspection, until Enter is pressed.
        #[arg(long)]
        keep: bool,
        /// Write the results as JUnit XML.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Print only what does not pass.
        #[arg(long)]
        quiet: bool,
        /// A scenario that requires what this kernel is not capable of fails.
        #[arg(long)]
        require_all: bool,
        /// How many times longer than usual packets may take, on a slow machine.
        #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
        patience: u32,
    },
    /// Print the JSON schema of scenario files.
    Schema,
    /// Say which scenarios require what this kernel is not capable of.
    Survey {
        /// Scenario files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Used by sim itself.
    #[command(hide = true)]
    Try {
        #[arg(required = true)]
        capabilities: Vec<Capability>,
        host: String,
    },
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let done = match Arguments::parse().command {
        Command::Demo { directory } => demo(&directory, &mut out),
        Command::Inside { colour, keep, story, patience, file, host } => {
            let manner = Manner { colour, keep, story, slowness: patience };
            let done = inside::play(&file, manner, &host, &mut out);
            return to_parent(done, &mut out);
        }
        Command::Run { files, arm, keep, junit, quiet, require_all, patience } => {
            let batch = Batch { arms: arm, keep, quiet, require_all, slowness: patience };
            batch.run(&files, junit.as_deref(), &mut out)
        }
        Command::Schema => write!(out, "{}", schema()).map(|()| true).map_err(Into::into),
        Command::Survey { files } => survey(&files, &mut out).map(|()| true),
        Command::Try { capabilities, host } => {
            let done = inside::try_out(&capabilities.into_iter().collect(), &host, &mut out);
            return to_parent(done.map(|()| true), &mut out);
        }
    };
    done.map_or_else(
        |error| {
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::from(2)
        },
        status,
    )
}

/// The exit status of the isolated half, whose parent reads one stream only.
fn to_parent(done: Result<bool>, out: &mut impl Write) -> ExitCode {
    match done {
        Ok(good) => status(good),
        Err(error) => {
            drop(writeln!(out, "error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn status(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn demo(directory: &Path, out: &mut (impl Write + Send)) -> Result<bool> {
    let listed =
        std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let files: Result<Vec<PathBuf>, _> = listed.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files = files.with_context(|| format!("cannot read {}", directory.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "{}: there is no scenario (*.yaml) in it", directory.display());
    for file in &files {
        Ready::read(file)?;
    }
    prepare_packets()?;
    let manner = Manner { colour: Manner::colour_wanted(), keep: false, story: true, slowness: 1 };
    let mut good = true;
    for file in &files {
        good &= outside::play(file, manner, out)?.good;
        writeln!(out, "\nall of this ran in namespaces of its own, and is gone with them")?;
    }
    Ok(good)
}
