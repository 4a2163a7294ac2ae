//! `cargo ci fuzz`: searches for inputs that make a reader of foreign text panic, dawdle or swell.
#![forbid(unsafe_code)]

use core::time::Duration;
use std::io::Write as _;
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Parser;
use fuzz::campaign::{Campaign, findings};
use fuzz::{TARGETS, Target, find};

/// Change the committed inputs again and again, and see whether a reader of foreign text can be hurt.
#[derive(Debug, Parser)]
#[command(
    name = "cargo ci fuzz",
    after_help = "Examples:\n  \
        cargo ci fuzz                          every target for a minute\n  \
        cargo ci fuzz policy --minutes 30      one of them for longer\n  \
        cargo ci fuzz policy --seed 7          the same inputs again\n  \
        cargo ci fuzz --minutes 30 --keep      what shows something new joins the corpus\n  \
        cargo ci fuzz --list                   what there is"
)]
struct Cli {
    /// Which ones; all of them when none is named.
    targets: Vec<String>,
    /// How long to search in each, in minutes; with 0 and --keep, the corpus is only made small again.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=10_000))]
    minutes: u64,
    /// Which choices to make; those of another run, when its seed is named [default: new ones].
    #[arg(long)]
    seed: Option<u64>,
    /// Put inputs that showed something new into the corpus, each as short as it shows that.
    #[arg(long)]
    keep: bool,
    /// Print the targets and what they read, and do nothing.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; the exit status tells it in any case.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let mut output = std::io::stdout();
    if cli.list {
        for Target { name, about, .. } in TARGETS {
            writeln!(output, "{name:16} {about}")?;
        }
        return Ok(());
    }
    let targets = chosen(&cli.targets)?;
    let seed = match cli.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs(),
    };
    writeln!(output, "seed {seed}")?;
    // Panics are caught and told with their input; the usual message would be printed once for every attempt to shorten it.
    panic::set_hook(Box::new(|_| {}));
    let directory = std::env::current_exe().context("cannot tell where this program is")?;
    let directory = directory.parent().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let mut faults = Vec::new();
    for target in targets {
        let duration = Duration::from_secs(60 * cli.minutes);
        let campaign =
            Campaign { duration, seed, findings: findings(&directory, target.name), keep: cli.keep };
        match campaign.run(target) {
            Ok(summary) => writeln!(output, "{:16} {summary}", target.name)?,
            Err(error) => {
                writeln!(output, "{:16} FAILED", target.name)?;
                faults.push(format!("{error:#}"));
            }
        }
    }
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let known = || TARGETS.map(|target| target.name).join(", ");
    let find =
        |name: &String| find(name).with_context(|| format!("there is no target `{name}`, only: {}", known()));
    names.iter().map(find).collect()
}
