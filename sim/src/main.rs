//! `sim`: runs scenarios.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use sim::arm::ModelArm;
use sim::inside::{self, Manner};
use sim::junit::{Case, Document};
use sim::scenario::{Scenario, schema};
use sim::stage::{Stage, stages};
use sim::{isolate, outside, programs, run};

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
        /// Print failures only.
        #[arg(long)]
        quiet: bool,
    },
    /// Print the JSON schema of scenario files.
    Schema,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arms {
    /// First the model, then the packets.
    Both,
    /// The compiler and the evaluator, without packets: needs no privilege.
    Model,
    /// Real packets between network namespaces.
    Netns,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let done = match Arguments::parse().command {
        Command::Demo { directory } => demo(&directory, &mut out),
        Command::Inside { colour, keep, story, file, host } => {
            let done = inside::play(&file, Manner { colour, keep, story }, &host, &mut out);
            // The parent reads one stream only.
            return match done {
                Ok(good) => status(good),
                Err(error) => {
                    drop(writeln!(out, "error: {error:#}"));
                    ExitCode::from(2)
                }
            };
        }
        Command::Run { files, arm, keep, junit, quiet } => {
            Run { arm, keep, quiet, cases: Vec::new() }.all(&files, junit.as_deref(), &mut out)
        }
        Command::Schema => write!(out, "{}", schema()).map(|()| true).map_err(Into::into),
    };
    done.map_or_else(
        |error| {
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::from(2)
        },
        status,
    )
}

fn status(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A scenario that has been read and has no mistakes of its own.
struct Ready<'a> {
    file: &'a Path,
    scenario: Scenario,
    stages: Vec<Stage>,
}

impl<'a> Ready<'a> {
    fn read(file: &'a Path) -> Result<Self> {
        let scenario = Scenario::read(file)?;
        let stages = stages(file, &scenario)?;
        Ok(Self { file, scenario, stages })
    }
}

/// Whatever packets need, before anything is built.
fn prepare_packets() -> Result<()> {
    programs::check()?;
    Ok(isolate::become_root()?)
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
    let manner = Manner { colour: Manner::colour_wanted(), keep: false, story: true };
    let mut good = true;
    for file in &files {
        good &= outside::play(file, manner, out)?.good;
        writeln!(out, "\nall of this ran in namespaces of its own, and is gone with them")?;
    }
    Ok(good)
}

/// A run of several scenarios.
struct Run {
    arm: Arms,
    keep: bool,
    quiet: bool,
    cases: Vec<Case>,
}

impl Run {
    fn all(mut self, files: &[PathBuf], junit: Option<&Path>, out: &mut (impl Write + Send)) -> Result<bool> {
        let ready: Result<Vec<Ready<'_>>> = files.iter().map(|file| Ready::read(file)).collect();
        let ready = ready?;
        if self.arm != Arms::Model {
            prepare_packets()?;
        }
        let last = ready.len().saturating_sub(1);
        for (at, scenario) in ready.iter().enumerate() {
            if self.arm != Arms::Netns {
                self.one(scenario, "model", out, |out| model(scenario, out))?;
            }
            if self.arm != Arms::Model {
                let keep = self.keep && at == last;
                let manner = Manner { colour: Manner::colour_wanted(), keep, story: false };
                self.one(scenario, "netns", out, |out| {
                    outside::play(scenario.file, manner, out).map(|ended| (ended.good, ended.text))
                })?;
            }
        }
        if let Some(junit) = junit {
            let document = Document(&self.cases).to_string();
            std::fs::write(junit, document).with_context(|| format!("cannot write {}", junit.display()))?;
        }
        Ok(self.cases.iter().all(|case| case.failure.is_none()))
    }

    fn one<W: Write>(
        &mut self,
        scenario: &Ready<'_>,
        arm: &'static str,
        out: &mut W,
        play: impl FnOnce(&mut W) -> Result<(bool, String)>,
    ) -> Result<()> {
        let started = Instant::now();
        let (good, text) = play(out)?;
        let took = started.elapsed();
        let file = scenario.file.display().to_string();
        if !good || !self.quiet {
            let word = if good { "pass" } else { "FAIL" };
            writeln!(out, "{word}  {arm}  {file}  {:.2} s", took.as_secs_f64())?;
        }
        self.cases.push(Case { file, arm, took, failure: (!good).then_some(text) });
        Ok(())
    }
}

/// Plays a scenario without packets.
fn model(ready: &Ready<'_>, out: &mut dyn Write) -> Result<(bool, String)> {
    let node = ready.scenario.nodes.first().context("a scenario has a node")?;
    let mut arm = ModelArm::new(node);
    let mut text = Vec::new();
    let colour = Manner::colour_wanted();
    let good = run::run(&mut arm, &ready.stages, |judged| inside::tell_failure(&mut text, &judged, colour));
    let good = good.with_context(|| format!("{}", ready.file.display()))?;
    out.write_all(&text)?;
    Ok((good, String::from_utf8_lossy(&text).into_owned()))
}
