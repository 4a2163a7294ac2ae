//! `cargo ci campaign`: a node's life again and again, with everything that can go wrong.
#![forbid(unsafe_code)]

use core::time::Duration;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use node_sim::Manner;
use node_sim::campaign::{Drawn, attempt, campaign, draw, story};
use policy_core::journal::Entry;

/// A campaign of fewer runs need not meet every fault.
const RUNS_FOR_EVERY_FAULT: u64 = 2_000;

/// Simulate a node with all its faults, and see whether a frame is ever judged by what nobody wanted.
#[derive(Debug, Parser)]
#[command(
    name = "cargo ci campaign",
    after_help = "Examples:\n  \
        cargo ci campaign                         ten thousand runs\n  \
        cargo ci campaign --seeds 100000 --minutes 30\n  \
        cargo ci campaign --seed 7                 one run again; if it fails, the fewest steps of it that do\n  \
        cargo ci campaign --seed 7 --journal FILE  also what the agent heard and did, for `mnp-nft-bridge replay`"
)]
struct Cli {
    /// How many runs.
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// The longest time, in minutes.
    #[arg(long, conflicts_with = "seed")]
    minutes: Option<u64>,
    /// The seed of the first run [default: the time].
    #[arg(long, conflicts_with = "seed")]
    first: Option<u64>,
    /// Only the run of this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Where to write the journal of the run.
    #[arg(long, value_name = "FILE", requires = "seed")]
    journal: Option<PathBuf>,
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
    // A panic is a finding and told as one.
    panic::set_hook(Box::new(|_| {}));
    let mut output = std::io::stdout();
    if let Some(seed) = cli.seed {
        return replay(seed, cli.journal.as_deref());
    }
    let first = match cli.first {
        Some(first) => first,
        None => {
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs() << 20
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let time = cli.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    writeln!(output, "seeds from {first} on, {threads} threads")?;
    let summary = campaign(first, cli.seeds, time, threads, Manner::default());
    writeln!(output, "{}", summary.coverage)?;
    writeln!(output, "in {:.1} s", summary.took.as_secs_f64())?;
    if let Some(seed) = summary.failed {
        let (text, _) = story(seed, Manner::default()).context("a run failed that does not fail again")?;
        bail!("{text}again: cargo ci campaign --seed {seed}");
    }
    let missing = summary.coverage.missing();
    ensure!(
        missing.is_empty() || summary.coverage.runs < RUNS_FOR_EVERY_FAULT,
        "these never happened:\n  {}",
        missing.join("\n  ")
    );
    writeln!(output, "no violation")?;
    Ok(())
}

fn replay(seed: u64, journal: Option<&Path>) -> Result<()> {
    let told = story(seed, Manner::default());
    if let Some(file) = journal {
        let entries = if let Some((_, entries)) = &told {
            entries.clone()
        } else {
            let Drawn { scene, steps } = draw(seed);
            attempt(&scene, &steps, Manner { journal: true, ..Manner::default() }).1
        };
        write_journal(file, &entries).with_context(|| format!("cannot write {}", file.display()))?;
    }
    match told {
        Some((text, _)) => bail!("{text}"),
        None => writeln!(std::io::stdout(), "seed {seed}: no violation").context("cannot write"),
    }
}

/// Writes entries as the agent does: one a line.
fn write_journal(file: &Path, entries: &[Entry]) -> Result<()> {
    let mut file = BufWriter::new(File::create(file)?);
    for entry in entries {
        serde_json::to_writer(&mut file, entry)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(())
}
