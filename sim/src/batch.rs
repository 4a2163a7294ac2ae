//! A run of several scenarios: each on each arm, one line for each, and a tally.
//!
//! Nothing is left out in silence: a scenario that requires something the kernel is not capable of is told and counted,
//! here and in the JUnit file.

use alloc::collections::BTreeSet;
use core::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use driver_nft::StateWish;
use policy_core::{BridgeNames, StateEngine};

use crate::arm::{Equipment, ModelArm};
use crate::capability::{Capability, needs};
use crate::inside::{self, Manner};
use crate::junit::{Case, Document, End};
use crate::options::Ability;
use crate::plane::Plane;
use crate::scenario::{Scenario, ScenarioError};
use crate::stage::{Stage, stages};
use crate::{isolate, outside, process, programs, run};

/// How scenarios are judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Arms {
    /// First the model, then the packets.
    Both,
    /// Real packets between network namespaces, the built agent, and a real API server.
    Cluster,
    /// The compiler and the evaluator, without packets: needs no privilege.
    Model,
    /// Real packets between network namespaces.
    Netns,
}

/// A scenario that has been read and has no mistakes of its own.
pub struct Ready<'a> {
    file: &'a Path,
    scenario: Scenario,
    stages: Vec<Stage>,
}

impl<'a> Ready<'a> {
    /// Reads the scenario in `file`.
    pub fn read(file: &'a Path) -> Result<Self, ScenarioError> {
        let scenario = Scenario::read(file)?;
        let stages = stages(file, &scenario)?;
        Ok(Self { file, scenario, stages })
    }

    /// What it requires and the kernel is not capable of.
    fn lacks(&self, missing: &BTreeSet<Capability>) -> BTreeSet<Capability> {
        self.scenario.requires.intersection(missing).copied().collect()
    }
}

/// Whatever packets need, before anything is built.
pub fn prepare_packets() -> Result<()> {
    programs::check()?;
    Ok(isolate::become_root()?)
}

/// What `ready` require and the kernel is not capable of.
fn missing(ready: &[Ready<'_>]) -> Result<BTreeSet<Capability>> {
    outside::missing(&ready.iter().flat_map(|ready| &ready.scenario.requires).copied().collect())
}

/// How scenarios ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    passed: usize,
    failed: usize,
    not_run: usize,
}

impl Tally {
    fn of(cases: &[Case]) -> Self {
        let mut tally = Self::default();
        for case in cases {
            match case.end {
                End::Failed(_) => tally.failed += 1,
                End::NotRun(_) => tally.not_run += 1,
                End::Passed => tally.passed += 1,
            }
        }
        tally
    }
}

impl fmt::Display for Tally {
    /// `cargo ci` reads this line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} not run here", self.passed, self.failed, self.not_run)
    }
}

/// How a batch is run.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// How scenarios are judged.
    pub arms: Arms,
    /// The namespaces of the last scenario stay until somebody presses Enter.
    pub keep: bool,
    /// Only what does not pass is told.
    pub quiet: bool,
    /// A scenario that requires what the kernel is not capable of has failed.
    pub require_all: bool,
    /// How many times slower than an ordinary one the machine is.
    pub slowness: u32,
    /// What follows connections.
    pub state: StateWish,
}

impl Batch {
    /// Runs the scenarios in `files` and writes the results to `junit`. Whether none failed.
    pub fn run(
        self,
        files: &[PathBuf],
        agent: Option<PathBuf>,
        junit: Option<&Path>,
        out: &mut (impl Write + Send),
    ) -> Result<bool> {
        let ready: Result<Vec<Ready<'_>>, _> = files.iter().map(|file| Ready::read(file)).collect();
        let ready = ready?;
        let mut missing_here = BTreeSet::new();
        if self.arms != Arms::Model {
            prepare_packets()?;
            missing_here = missing(&ready)?;
        }
        let (mut plane, mut equipment) = (None, None);
        if self.arms == Arms::Cluster {
            missing_here.insert(Capability::Unvalidated);
            let agent = process::program(agent)?;
            let started = plane.insert(Plane::start()?);
            equipment = Some(Equipment { access: started.access().clone(), agent });
        }
        let mut cases = Vec::new();
        for (at, scenario) in ready.iter().enumerate() {
            if matches!(self.arms, Arms::Both | Arms::Model) {
                cases.push(
                    self.case(scenario, "model", out, |out| model(scenario, self.state.offline(), out))?,
                );
            }
            if self.arms != Arms::Model {
                let keep = self.keep && at + 1 == ready.len();
                let lacks = scenario.lacks(&missing_here);
                let (arm, equipment) =
                    (if plane.is_some() { "cluster" } else { "netns" }, equipment.as_ref());
                cases.push(
                    self.case(scenario, arm, out, |out| {
                        self.packets(scenario, &lacks, keep, equipment, out)
                    })?,
                );
            }
        }
        if let Some(junit) = junit {
            let document = Document(&cases).to_string();
            std::fs::write(junit, document).with_context(|| format!("cannot write {}", junit.display()))?;
        }
        let tally = Tally::of(&cases);
        if !self.quiet {
            writeln!(out, "{tally}")?;
        }
        Ok(tally.failed == 0)
    }

    /// Plays a scenario with packets, if the kernel is capable of what it requires.
    fn packets(
        self,
        ready: &Ready<'_>,
        lacks: &BTreeSet<Capability>,
        keep: bool,
        equipment: Option<&Equipment>,
        out: &mut (impl Write + Send),
    ) -> Result<End> {
        if !lacks.is_empty() {
            let reason = needs(lacks);
            if !self.require_all {
                return Ok(End::NotRun(reason));
            }
            writeln!(out, "{reason}")?;
            return Ok(End::Failed(reason));
        }
        let Self { slowness, state, .. } = self;
        let manner = Manner { colour: Manner::colour_wanted(), keep, story: false, slowness, state };
        let ended = outside::play(ready.file, manner, equipment, out)?;
        Ok(if ended.good { End::Passed } else { End::Failed(ended.text) })
    }

    fn case<W: Write>(
        self,
        ready: &Ready<'_>,
        arm: &'static str,
        out: &mut W,
        play: impl FnOnce(&mut W) -> Result<End>,
    ) -> Result<Case> {
        let started = Instant::now();
        let end = play(out)?;
        let took = started.elapsed();
        let file = ready.file.display().to_string();
        let seconds = took.as_secs_f64();
        match &end {
            End::Failed(_) => writeln!(out, "FAIL  {arm}  {file}  {seconds:.2} s")?,
            End::NotRun(reason) => writeln!(out, "not run here  {arm}  {file}  {reason}")?,
            End::Passed if self.quiet => {}
            End::Passed => writeln!(out, "pass  {arm}  {file}  {seconds:.2} s")?,
        }
        Ok(Case { file, arm, took, end })
    }
}

/// Plays a scenario without packets.
fn model(ready: &Ready<'_>, state: StateEngine, out: &mut dyn Write) -> Result<End> {
    let mut ability = Ability::good_for(state);
    if ready.scenario.requires.contains(&Capability::Ibrname) {
        ability.bridge_names = BridgeNames::Known;
    }
    let mut arm = ModelArm::new(ready.scenario.configs(ability));
    let mut text = Vec::new();
    let colour = Manner::colour_wanted();
    let good = run::run(&mut arm, &ready.stages, |judged| inside::tell_failure(&mut text, &judged, colour));
    let good = good.with_context(|| format!("{}", ready.file.display()))?;
    out.write_all(&text)?;
    Ok(if good { End::Passed } else { End::Failed(String::from_utf8_lossy(&text).into_owned()) })
}

/// Tells which of the scenarios in `files` cannot send packets here, and why; then how many can and cannot.
pub fn survey(files: &[PathBuf], out: &mut dyn Write) -> Result<()> {
    let ready: Result<Vec<Ready<'_>>, _> = files.iter().map(|file| Ready::read(file)).collect();
    let ready = ready?;
    prepare_packets()?;
    let missing = missing(&ready)?;
    let mut cannot = 0;
    for scenario in &ready {
        let lacks = scenario.lacks(&missing);
        if !lacks.is_empty() {
            cannot += 1;
            writeln!(out, "not run here  netns  {}  {}", scenario.file.display(), needs(&lacks))?;
        }
    }
    writeln!(out, "{} run here, {cannot} do not", ready.len() - cannot)?;
    Ok(())
}
