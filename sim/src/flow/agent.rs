//! The real agent as a process, which may be killed at any moment.

use alloc::sync::Arc;
use core::time::Duration;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::netns::Namespace;
use crate::process::Process;

/// What an agent says once it enforces everything.
const SETTLED: &str = "everything is known, and the kernel enforces it";
/// What it says of each change.
const COMMITTED: &str = "the kernel has committed a change";

/// How agents of a node are started, and the one that runs.
pub(super) struct Keeper {
    /// The versions of the agent, which take turns; at least one.
    programs: Vec<PathBuf>,
    /// Which of them runs, or ran last.
    turn: usize,
    arguments: Vec<String>,
    node: Arc<Namespace>,
    running: Option<Process>,
    /// Changes that all of them have committed.
    pub(super) commits: u64,
    /// How often one of another version was started than the last one was of.
    pub(super) upgrades: u64,
    /// What they logged as errors.
    pub(super) errors: Vec<String>,
}

impl Keeper {
    /// Starts the first agent, which is the first of `programs`, and waits until it enforces everything.
    pub(super) fn start(
        programs: Vec<PathBuf>,
        arguments: Vec<String>,
        node: Arc<Namespace>,
        patience: Duration,
    ) -> Result<Self> {
        let (running, errors) = (None, Vec::new());
        let mut keeper =
            Self { programs, turn: 0, arguments, node, running, commits: 0, upgrades: 0, errors };
        keeper.start_anew(patience)?;
        Ok(keeper)
    }

    /// Starts one of the next version, if none runs.
    pub(super) fn start_again(&mut self) -> Result<()> {
        self.begin((self.turn + 1) % self.programs.len())
    }

    /// Starts one of this version, if none runs.
    fn begin(&mut self, turn: usize) -> Result<()> {
        if self.running.is_none() {
            let program = self.programs.get(turn).context("there is no such version")?;
            self.running = Some(Process::start(program, &self.arguments, &[], &self.node)?);
            self.upgrades += u64::from(turn != self.turn);
            self.turn = turn;
        }
        Ok(())
    }

    /// Ends it in the middle of whatever it does.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(process) = self.running.take() {
            process.kill(|line| self.take(&line))?;
        }
        Ok(())
    }

    /// Starts one of the first version in place of the one that runs, and waits until it enforces everything.
    pub(super) fn start_anew(&mut self, patience: Duration) -> Result<()> {
        self.kill()?;
        self.begin(0)?;
        let deadline = Instant::now() + patience;
        while let Some(line) = self.line(deadline)? {
            if line.contains(SETTLED) {
                return Ok(());
            }
        }
        bail!("the agent enforces nothing: {}", self.running.as_ref().map(Process::shown).unwrap_or_default())
    }

    /// Reads what it has said; that it has not ended by itself.
    pub(super) fn look(&mut self) -> Result<()> {
        while self.line(Instant::now())?.is_some() {}
        Ok(())
    }

    /// Its resident memory, in KiB (`VmRSS` of `proc_pid_status(5)`), and how many files it has open.
    pub(super) fn size(&self) -> Result<(u64, usize)> {
        let process = self.running.as_ref().context("no agent runs")?;
        let process = PathBuf::from(format!("/proc/{}", process.id()));
        let status = fs::read_to_string(process.join("status")).context("cannot read how large it is")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        let files = fs::read_dir(process.join("fd")).context("cannot list its files")?.count();
        Ok((resident.context("it has no size")?, files))
    }

    /// The next line of its log, if there is one until `deadline`.
    fn line(&mut self, deadline: Instant) -> Result<Option<String>> {
        let Some(process) = &mut self.running else { return Ok(None) };
        let line = process.line(deadline)?;
        if let Some(line) = &line {
            self.take(line);
        }
        Ok(line)
    }

    fn take(&mut self, line: &str) {
        self.commits += u64::from(line.contains(COMMITTED));
        if line.contains("\"ERROR\"") {
            self.errors.push(line.to_owned());
        }
    }
}
