//! The built agent as a process, and the lines of its log.

use alloc::collections::VecDeque;
use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Namespace;

/// How many lines of the log are shown when something goes wrong.
const SHOWN: usize = 12;
/// How long it may take to end after it was asked to; it takes milliseconds.
const ENDING: Duration = Duration::from_secs(10);

/// The program of the agent: `named`, or else the one beside this program.
pub fn program(named: Option<PathBuf>) -> Result<PathBuf> {
    let beside = || Ok(std::env::current_exe()?.with_file_name("mnp-nft-bridge"));
    let agent = named.map_or_else(beside, Ok).and_then(std::path::absolute);
    let agent = agent.context("cannot tell where the agent's program is")?;
    ensure!(agent.is_file(), "there is no {}: run cargo build -p mnp-nft-bridge", agent.display());
    Ok(agent)
}

/// A process that ends with its owner.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    last: VecDeque<String>,
}

impl Process {
    /// Starts the program `file` on a node; `settings` are variables of its environment.
    pub(crate) fn start(
        file: &Path,
        arguments: &[String],
        settings: &[(&str, &str)],
        node: &Namespace,
    ) -> Result<Self> {
        let started = node.run(|| {
            Command::new(file)
                .args(arguments)
                .envs(settings.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        })?;
        let mut child = started.with_context(|| format!("cannot start {}", file.display()))?;
        let log = BufReader::new(child.stderr.take().context("the agent has no log")?);
        let (sender, lines) = channel();
        let read = move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        thread::Builder::new().name("log".to_owned()).spawn(read).context("cannot start a thread")?;
        Ok(Self { child, lines, last: VecDeque::new() })
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its log, waiting for it until `deadline` at most. An error when there will be none any more.
    pub(crate) fn line(&mut self, deadline: Instant) -> Result<Option<String>> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(self.remember(line))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the agent has ended: {}", self.shown()),
        }
    }

    /// The last lines that were read of its log.
    pub(crate) fn shown(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// Asks it to end, and waits until it has; the rest of its log goes to `take`.
    pub(crate) fn end(mut self, take: impl FnMut(String)) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("a process without id")?;
        kill(Pid::from_raw(id), Signal::SIGTERM).context("cannot end the agent")?;
        self.rest(Instant::now() + ENDING, take);
        let status = self.child.wait().context("cannot wait for the agent")?;
        if status.success() { Ok(()) } else { bail!("the agent ended with {status}: {}", self.shown()) }
    }

    /// Ends it in the middle of whatever it does; the rest of its log goes to `take`.
    pub(crate) fn kill(mut self, take: impl FnMut(String)) -> Result<()> {
        self.child.kill().context("cannot kill the agent")?;
        self.child.wait().context("cannot wait for the agent")?;
        self.rest(Instant::now() + ENDING, take);
        Ok(())
    }

    /// What is left of its log, which ends with it.
    fn rest(&mut self, deadline: Instant, mut take: impl FnMut(String)) {
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            take(self.remember(line));
        }
    }

    fn remember(&mut self, line: String) -> String {
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        line
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
