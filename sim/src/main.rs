//! `sim`: runs scenarios.
#![forbid(unsafe_code)]

use core::time::Duration;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};
use driver_nft::StateWish;
use sim::arm::Equipment;
use sim::batch::{Arms, Batch, Ready, prepare_packets, survey};
use sim::capability::Capability;
use sim::flow;
use sim::flow::endurance::Endurance;
use sim::inside::{self, Manner};
use sim::outside;
use sim::plane::{self, Access};
use sim::process;
use sim::scenario::schema;

/// Runs scenarios: real manifests, judged by the model and by real packets on real bridges.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// How flows are followed, on which machine.
#[derive(Args)]
struct Pace {
    /// How many times longer than usual packets may take, on a slow machine.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    patience: u32,
    /// What follows connections; auto is what the kernel has.
    #[arg(long, value_name = "auto|conntrack|sets", default_value_t)]
    state: StateWish,
    /// Used by sim itself.
    #[arg(hide = true)]
    host: Option<String>,
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
        #[arg(long, default_value_t)]
        state: StateWish,
        #[arg(long, requires = "agent")]
        plane: Option<PathBuf>,
        #[arg(long)]
        agent: Option<PathBuf>,
        file: PathBuf,
        host: String,
    },
    /// Used by sim itself.
    #[command(hide = true)]
    Plane { programs: PathBuf, directory: PathBuf, host: String },
    /// Put the real agent to the test for a long time: changes, kills, other users of nft, with traffic all the while. The exit
    /// status is 0 when nothing allowed was lost and nothing denied arrived.
    #[command(after_help = "Examples:\n  \
        cargo ci endure                          ten minutes on this kernel\n  \
        cargo ci endure --minutes 60 --seed 7\n  \
        cargo ci endure --other OLD            with upgrades and downgrades between this version and a program OLD\n  \
        cargo ci vm --release -- target/release/sim endure --minutes 60 --patience 4    on Debian's kernels")]
    Endure {
        /// How long, in minutes.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        minutes: u64,
        /// End after so many deeds, if the time is not up before.
        #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
        deeds: u64,
        /// Which choices are made [default: the time].
        #[arg(long)]
        seed: Option<u64>,
        /// The program of the agent [default: mnp-nft-bridge beside this program].
        #[arg(long, value_name = "FILE")]
        agent: Option<PathBuf>,
        /// The program of another version of the agent: with each start, the two take turns.
        #[arg(long, value_name = "FILE")]
        other: Option<PathBuf>,
        #[command(flatten)]
        pace: Pace,
    },
    /// Measure what flows notice of policies that change: nothing, or their end. The exit status is 0 when that is so.
    Flows {
        #[command(flatten)]
        pace: Pace,
    },
    /// Run scenarios; the exit status is 0 when all pass, 1 when one fails, 2 when one cannot be run.
    Run {
        /// Scenario files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How they are judged.
        #[arg(long, value_enum, default_value_t = Arms::Both)]
        arm: Arms,
        /// The program of the agent, for the cluster arm [default: mnp-nft-bridge beside this program].
        #[arg(long, value_name = "FILE")]
        agent: Option<PathBuf>,
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
        /// What follows connections; auto is what the kernel has, and sets where there are no packets.
        #[arg(long, value_name = "auto|conntrack|sets", default_value_t)]
        state: StateWish,
    },
    /// Print the JSON schema of scenario files.
    Schema,
    /// Print a scenario as JSON for real pods, as ci/kind/play.sh plays it; the exit status is 1 when it cannot be played
    /// like that.
    Kind {
        /// The scenario file.
        file: PathBuf,
        /// The image of the pods, with the program agnhost in it.
        #[arg(long, value_name = "IMAGE", default_value = sim::kind::IMAGE)]
        image: String,
    },
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
        Command::Inside { colour, keep, story, patience, state, plane, agent, file, host } => {
            let manner = Manner { colour, keep, story, slowness: patience, state };
            let equipment = plane.zip(agent);
            let equipment = equipment.map(|(plane, agent)| Equipment { access: Access::new(plane), agent });
            let done = inside::play(&file, manner, equipment, &host, &mut out);
            return to_parent(done, &mut out);
        }
        Command::Plane { programs, directory, host } => {
            return to_parent(plane::run(&programs, directory, &host, &mut out), &mut out);
        }
        Command::Endure { minutes, deeds, seed, agent, other, pace } => {
            let endurance = endurance([minutes, deeds], seed, [agent, other], &pace);
            match (endurance, pace.host) {
                (Ok(endurance), Some(host)) => return to_parent(endurance.run(&host, &mut out), &mut out),
                (Ok(endurance), None) => endure(&endurance, &mut out),
                (Err(error), _) => Err(error),
            }
        }
        Command::Flows { pace: Pace { patience, state, host: None } } => flows(state, patience, &mut out),
        Command::Flows { pace: Pace { patience, state, host: Some(host) } } => {
            return to_parent(flow::endure(&host, state, patience, &mut out), &mut out);
        }
        Command::Run { files, arm, agent, keep, junit, quiet, require_all, patience, state } => {
            let batch = Batch { arms: arm, keep, quiet, require_all, slowness: patience, state };
            batch.run(&files, agent, junit.as_deref(), &mut out)
        }
        Command::Schema => write!(out, "{}", schema()).map(|()| true).map_err(Into::into),
        Command::Kind { file, image } => sim::kind::print(&file, &image, &mut out),
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

/// What is put to the test, and how.
fn endurance(
    [minutes, deeds]: [u64; 2],
    seed: Option<u64>,
    [agent, other]: [Option<PathBuf>; 2],
    pace: &Pace,
) -> Result<Endurance> {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Endurance {
        duration: Duration::from_secs(minutes * 60),
        deeds,
        seed: seed.unwrap_or_else(now),
        agent: process::program(agent)?,
        other: other.map(|other| process::program(Some(other))).transpose()?,
        state: pace.state,
        slowness: pace.patience,
    })
}

fn endure(endurance: &Endurance, out: &mut (impl Write + Send)) -> Result<bool> {
    prepare_packets()?;
    let Endurance { duration, deeds, seed, agent, other, state, slowness } = endurance;
    writeln!(out, "seed {seed}")?;
    let mut arguments = vec![
        "endure".to_owned(),
        format!("--minutes={}", duration.as_secs() / 60),
        format!("--deeds={deeds}"),
        format!("--seed={seed}"),
        format!("--agent={}", agent.display()),
        format!("--patience={slowness}"),
        format!("--state={state}"),
    ];
    arguments.extend(other.iter().map(|other| format!("--other={}", other.display())));
    Ok(outside::isolated(&arguments, false, out)?.good)
}

fn flows(state: StateWish, patience: u32, out: &mut (impl Write + Send)) -> Result<bool> {
    prepare_packets()?;
    let arguments = ["flows".to_owned(), format!("--patience={patience}"), format!("--state={state}")];
    Ok(outside::isolated(&arguments, false, out)?.good)
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
    let manner = Manner {
        colour: Manner::colour_wanted(),
        keep: false,
        story: true,
        slowness: 1,
        state: StateWish::Auto,
    };
    let mut good = true;
    for file in &files {
        good &= outside::play(file, manner, None, out)?.good;
        writeln!(out, "\nall of this ran in namespaces of its own, and is gone with them")?;
    }
    Ok(good)
}
