//! The real agent as a process, which may be killed at any moment.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::netns::Namespace;

/// What an agent says once it enforces everything.
const SETTLED: &str = "everything is known, and the kernel enforces it";
/// What it says of each change.
const COMMITTED: &str = "the kernel has committed a change";
/// So many of its last lines are shown when it ends by itself.
const SHOWN: usize = 12;

/// How agents of a node are started, and the one that runs.
pub(super) struct Keeper {
    program: PathBuf,
    arguments: Vec<String>,
    node: Arc<Namespace>,
    running: Option<(Child, Receiver<String>)>,
    last: VecDeque<String>,
    /// Changes that all of them have committed.
    pub(super) commits: u64,
    /// What they logged as errors.
    pub(super) errors: Vec<String>,
}

impl Keeper {
    /// Starts the first agent, and waits until it enforces everything.
    pub(super) fn start(
        program: &Path,
        arguments: Vec<String>,
        node: Arc<Namespace>,
        patience: Duration,
    ) -> Result<Self> {
        let program = program.to_owned();
        let mut keeper = Self {
            program,
            arguments,
            node,
            running: None,
            last: VecDeque::new(),
            commits: 0,
            errors: Vec::new(),
        };
        keeper.start_again()?;
        ensure!(keeper.hear_until(SETTLED, patience)?, "the agent enforces nothing: {}", keeper.shown());
        Ok(keeper)
    }

    /// Starts another one, if none runs.
    pub(super) fn start_again(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let started = self.node.run(|| {
            Command::new(&self.program)
                .args(&self.arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        })?;
        let mut child = started.with_context(|| {
            format!("cannot start {}: run cargo build -p mnp-nft-bridge", self.program.display())
        })?;
        let log = BufReader::new(child.stderr.take().context("the agent has no log")?);
        let (sender, lines) = channel();
        let read = move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        thread::Builder::new().name("log".to_owned()).spawn(read).context("cannot start a thread")?;
        self.running = Some((child, lines));
        Ok(())
    }

    /// Ends it in the middle of whatever it does.
    pub(super) fn kill(&mut self) -> Result<()> {
        let Some((mut child, lines)) = self.running.take() else { return Ok(()) };
        child.kill().context("cannot kill the agent")?;
        child.wait().context("cannot wait for the agent")?;
        while let Ok(line) = lines.recv() {
            self.take(line);
        }
        Ok(())
    }

    /// Reads what it has said; that it has not ended by itself.
    pub(super) fn look(&mut self) -> Result<()> {
        self.hear_until("\n", Duration::ZERO).map(drop)
    }

    /// Waits until it enforces everything.
    pub(super) fn settle(&mut self, patience: Duration) -> Result<()> {
        self.kill()?;
        self.start_again()?;
        ensure!(self.hear_until(SETTLED, patience)?, "the agent enforces nothing: {}", self.shown());
        Ok(())
    }

    /// Its resident memory, in KiB (`VmRSS` of `proc_pid_status(5)`), and how many files it has open.
    pub(super) fn size(&self) -> Result<(u64, usize)> {
        let (child, _) = self.running.as_ref().context("no agent runs")?;
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let status = fs::read_to_string(process.join("status")).context("cannot read how large it is")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        let files = fs::read_dir(process.join("fd")).context("cannot list its files")?.count();
        Ok((resident.context("it has no size")?, files))
    }

    fn hear_until(&mut self, wanted: &str, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            let Some((_, lines)) = &self.running else { return Ok(false) };
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(wanted);
                    self.take(line);
                    if found {
                        return Ok(true);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => bail!("the agent has ended: {}", self.shown()),
            }
        }
    }

    fn take(&mut self, line: String) {
        self.commits += u64::from(line.contains(COMMITTED));
        if line.contains("\"ERROR\"") {
            self.errors.push(line.clone());
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn shown(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Nobody is left to be told.
        drop(self.kill());
    }
}
