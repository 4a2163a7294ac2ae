//! Scenarios on a distribution's kernel, in a virtual machine.
//!
//! ```text
//! package -> unpacked kernel -> initramfs -> machine -> `sim run` inside -> tally
//!            (kernel, image)    (archive)    (qemu, guest, saved)
//! ```
//!
//! The machine sees the host's root file system, read-only under an overlay, and the project's directory, which it may
//! write to. Programs are built outside and run inside, where everything is about ten times slower.

mod archive;
mod guest;
mod image;
mod initramfs;
mod kernel;
mod qemu;
mod saved;
mod tally;

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::cli::Vm;
use crate::metadata::Metadata;
use crate::packages::{self, Purpose};
use crate::program::Program;
use guest::{Ended, Job, Workplace};
use kernel::Kernel;
pub(crate) use kernel::Series;
pub(crate) use tally::Tally;

/// How many machines run side by side; more gain nothing on the two processors of a small machine.
const MACHINES: usize = 2;
/// Where the machine leaves the results as JUnit XML.
const JUNIT: &str = "/run/vm/job/junit.xml";

/// The command did not end with exit status 0.
#[derive(Debug)]
pub(crate) struct CommandFailed {
    /// The highest exit status.
    pub(crate) status: u8,
    on: String,
}

impl fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command ended with exit status {} on {}", self.status, self.on)
    }
}

impl Error for CommandFailed {}

/// A machine's share of the work.
struct Errand {
    /// In front of each line it prints.
    name: String,
    kernel: Kernel,
    initramfs: PathBuf,
    /// What runs in it: `sim` of this workspace, else the command's own program.
    program: Option<PathBuf>,
    command: Vec<String>,
    junit: Option<PathBuf>,
}

/// What came of an errand.
struct Outcome {
    ended: Ended,
    tally: Option<Tally>,
}

/// Runs scenarios, or a command, on each of the chosen kernels. `from` is where the caller is.
///
/// # Errors
/// Something is missing, a machine failed, or not everything passed.
pub(crate) fn run(options: &Vm, from: &Path) -> Result<()> {
    packages::ensure(Purpose::Vm)?;
    let project = env::current_dir().context("cannot tell the current directory")?;
    let cache = Metadata::read_workspace()?.target_directory.join("vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Workplace::sweep(&cache)?;
    let errands = errands(options, from, &cache)?;
    let limit = Duration::from_secs(options.limit);
    let mut outcomes = Vec::new();
    for side_by_side in errands.chunks(MACHINES) {
        let ended: Vec<Result<Outcome>> = std::thread::scope(|scope| {
            let machines: Vec<_> = side_by_side
                .iter()
                .map(|errand| {
                    let job = Job {
                        kernel: &errand.kernel,
                        initramfs: &errand.initramfs,
                        cache: &cache,
                        project: &project,
                        program: errand.program.as_deref(),
                        command: &errand.command,
                        limit,
                        from_saved: options.snapshot,
                        junit: errand.junit.as_deref(),
                    };
                    scope.spawn(move || play(&errand.name, &job))
                })
                .collect();
            let join = |machine: std::thread::ScopedJoinHandle<'_, _>| {
                machine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            machines.into_iter().map(join).collect()
        });
        outcomes.extend(ended);
    }
    summarize(&errands, &outcomes, options.command.is_empty())
}

fn play(name: &str, job: &Job<'_>) -> Result<Outcome> {
    let mut tally = None;
    let ended = guest::run(job, |line| {
        tally = Tally::read(line);
        crate::say(format_args!("[{name}] {line}"))
    });
    Ok(Outcome { ended: ended?, tally })
}

/// One machine for each kernel; with one kernel, its scenarios are dealt out to several machines.
fn errands(options: &Vm, from: &Path, cache: &Path) -> Result<Vec<Errand>> {
    let series = if options.kernel.is_empty() { Series::ALL.to_vec() } else { options.kernel.clone() };
    let program = if options.command.is_empty() { Some(build_sim(options.release)?) } else { None };
    let commands = if options.command.is_empty() {
        let hands = MACHINES.checked_div(series.len()).unwrap_or_default().max(1);
        let hands = dealt(&scenarios(options, from)?, hands);
        hands.iter().map(|files| sim_arguments(options, files)).collect()
    } else {
        vec![options.command.clone()]
    };
    let mut errands = Vec::new();
    for series in series {
        let kernel = Kernel::of(series, cache)?;
        let initramfs = kernel.directory.join("initramfs");
        initramfs::write(&kernel, &initramfs)?;
        for (at, command) in commands.iter().enumerate() {
            let name = match commands.len() {
                1 => series.to_string(),
                _ => format!("{series}/{}", at + 1),
            };
            let junit = cache.join(format!("junit-{}.xml", name.replace('/', "-")));
            errands.push(Errand {
                name,
                kernel: kernel.clone(),
                initramfs: initramfs.clone(),
                program: program.clone(),
                command: command.clone(),
                junit: options.command.is_empty().then_some(junit),
            });
        }
    }
    Ok(errands)
}

/// What `sim` is told.
fn sim_arguments(options: &Vm, files: &[PathBuf]) -> Vec<String> {
    let patience = options.patience.to_string();
    let run = [
        "run",
        "--arm",
        "netns",
        "--require-all",
        "--junit",
        JUNIT,
        "--patience",
        &patience,
        "--state",
        &options.state,
    ];
    let files = files.iter().map(|file| file.display().to_string());
    run.into_iter().map(str::to_owned).chain(files).collect()
}

/// The scenarios that are named, else all.
fn scenarios(options: &Vm, from: &Path) -> Result<Vec<PathBuf>> {
    if !options.files.is_empty() {
        // Short where they can be: paths are in every line of the report.
        let root = env::current_dir().context("cannot tell the current directory")?;
        let short = |file: PathBuf| file.strip_prefix(&root).map_or_else(|_| file.clone(), Path::to_owned);
        let files: Vec<PathBuf> = options.files.iter().map(|file| short(from.join(file))).collect();
        if let Some(absent) = files.iter().find(|file| !file.is_file()) {
            bail!("there is no scenario {}", absent.display());
        }
        return Ok(files);
    }
    all_scenarios()
}

/// Every scenario of the workspace, whose root is the current directory.
///
/// # Errors
/// There is none, or the directory cannot be read.
pub(crate) fn all_scenarios() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in Path::new("scenarios").read_dir().context("cannot read scenarios")? {
        let directory = directory?.path();
        if directory.is_dir() {
            for file in
                directory.read_dir().with_context(|| format!("cannot read {}", directory.display()))?
            {
                files.push(file?.path());
            }
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "there is no scenario under scenarios");
    Ok(files)
}

/// Deals `files` out like cards, so that neighbours, which tend to be alike, get into different hands.
fn dealt(files: &[PathBuf], hands: usize) -> Vec<Vec<PathBuf>> {
    let hands = hands.min(files.len()).max(1);
    (0..hands).map(|hand| files.iter().skip(hand).step_by(hands).cloned().collect()).collect()
}

/// The part of cargo's messages that says where a program is.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Builds `sim` and says where it is.
fn build_sim(release: bool) -> Result<PathBuf> {
    let build = ["build", "--locked", "--package", "sim", "--bin", "sim"];
    let profile = ["--profile", if release { "release" } else { "dev" }];
    let messages = Program::cargo()
        .args(build)
        .args(profile)
        .args(["--message-format", "json-render-diagnostics"])
        .read()?;
    executable(&messages).context("cargo built sim and did not say where it is")
}

fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable).next_back()
}

/// Prints what ran where, and fails unless all of it passed.
fn summarize(errands: &[Errand], outcomes: &[Result<Outcome>], of_scenarios: bool) -> Result<()> {
    crate::say("")?;
    let mut total = Tally::default();
    let mut failed = Vec::new();
    let mut status = Some(0);
    for (errand, outcome) in errands.iter().zip(outcomes) {
        let (counts, passed) = match outcome {
            Ok(Outcome { ended, tally }) => {
                total += tally.unwrap_or_default();
                status = status.map(|status: u8| status.max(ended.status));
                let counts =
                    tally.map_or_else(|| format!("exit status {}", ended.status), |tally| tally.to_string());
                let took = ended.took.as_secs_f64();
                (format!("{counts}  {took:.1} s"), ended.status == 0 && (tally.is_some() || !of_scenarios))
            }
            Err(error) => {
                status = None;
                (format!("{error:#}"), false)
            }
        };
        crate::say(format_args!("{}  Linux {}  {counts}", errand.name, errand.kernel.release))?;
        if !passed {
            failed.push(errand.name.as_str());
        }
    }
    if of_scenarios {
        crate::say(total)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let on = failed.join(", ");
    match status {
        Some(status) if !of_scenarios => Err(CommandFailed { status, on }.into()),
        _ => bail!("not everything passed on {on}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{dealt, executable};

    #[test]
    fn every_scenario_is_dealt_to_exactly_one_machine() {
        let files: Vec<PathBuf> = ["a", "b", "c", "d", "e"].map(PathBuf::from).to_vec();
        let hands = dealt(&files, 2);
        assert_eq!(
            hands,
            [["a", "c", "e"].map(PathBuf::from).to_vec(), ["b", "d"].map(PathBuf::from).to_vec()]
        );
        assert_eq!(dealt(&files, 9).len(), 5, "no machine is without work");
    }

    #[test]
    fn program_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/debug/sim\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/sim")));
        assert_eq!(executable("{\"reason\":\"build-finished\",\"success\":true}\n"), None);
    }
}
