//! The built agent, as a process on its node, and what its log says.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use policy_core::model::Problem;
use serde_json::Value;

use crate::netns::Namespace;

/// How many lines of the log are shown when something goes wrong.
const SHOWN: usize = 12;
/// How long it may take to end after it was asked to; it takes milliseconds.
const ENDING: Duration = Duration::from_secs(10);

/// What must have been heard of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// That it is gone.
    Gone,
    /// Its version, or a later one.
    Version(u64),
}

impl Heard {
    /// Whether somebody who was last told `self` knows `wanted`.
    fn covers(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Version(heard), Self::Version(wanted)) => heard >= wanted,
            (Self::Gone, Self::Gone) => true,
            (Self::Gone, Self::Version(_)) | (Self::Version(_), Self::Gone) => false,
        }
    }
}

/// A running agent.
pub(super) struct AgentProcess {
    child: Child,
    lines: Receiver<String>,
    heard: BTreeMap<String, Heard>,
    reports: BTreeSet<String>,
    errors: Vec<String>,
    last: VecDeque<String>,
}

impl AgentProcess {
    /// Starts the program `file` with `arguments` on a node.
    pub(super) fn start(file: &Path, arguments: &[String], node: &Namespace) -> Result<Self> {
        let started = node.run(|| {
            Command::new(file)
                .args(arguments)
                .env("RUST_LOG", "info,driver_kube=debug")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        })?;
        let mut child = started
            .with_context(|| format!("cannot start {}: run cargo build -p mnp-nft-bridge", file.display()))?;
        let log = BufReader::new(child.stderr.take().context("the agent has no log")?);
        let (sender, lines) = channel();
        let read = move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        thread::Builder::new().name("log".to_owned()).spawn(read).context("cannot start a thread")?;
        Ok(Self {
            child,
            lines,
            heard: BTreeMap::new(),
            reports: BTreeSet::new(),
            errors: Vec::new(),
            last: VecDeque::new(),
        })
    }

    /// Reads its log until `done` is content, or for `patience`; whether it is.
    pub(super) fn read_until(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            if done(self) {
                return Ok(true);
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(line),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => bail!("the agent has ended: {}", self.shown()),
            }
        }
    }

    /// Takes in what its log says already.
    pub(super) fn read(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.take(line);
        }
    }

    /// Which of `wanted` it has not heard of.
    pub(super) fn lacks<'a>(&self, wanted: &'a BTreeMap<String, Heard>) -> Vec<&'a str> {
        let lacks = wanted.iter().filter(|(object, wanted)| {
            // What was gone before it started it never hears of.
            !self.heard.get(*object).copied().unwrap_or(Heard::Gone).covers(**wanted)
        });
        lacks.map(|(object, _)| object.as_str()).collect()
    }

    /// What it has reported.
    pub(super) const fn reports(&self) -> &BTreeSet<String> {
        &self.reports
    }

    /// What it has reported, and every error that it logged; afterwards nothing of both.
    pub(super) fn take_told(&mut self) -> (BTreeSet<String>, Vec<String>) {
        (core::mem::take(&mut self.reports), core::mem::take(&mut self.errors))
    }

    /// The last lines of its log.
    pub(super) fn shown(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn end(mut self) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("a process without id")?;
        kill(Pid::from_raw(id), Signal::SIGTERM).context("cannot end the agent")?;
        let deadline = Instant::now() + ENDING;
        // Its log ends with it.
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.take(line);
        }
        match self.child.try_wait().context("cannot wait for the agent")? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the agent ended with {status}: {}", self.shown()),
            None => {
                let status = self.child.wait().context("cannot wait for the agent")?;
                if status.success() { Ok(()) } else { bail!("the agent ended with {status}") }
            }
        }
    }

    fn take(&mut self, line: String) {
        if let Ok(entry) = serde_json::from_str::<Value>(&line) {
            self.understand(&entry, &line);
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn understand(&mut self, entry: &Value, line: &str) {
        let field = |name: &str| entry.pointer(&format!("/fields/{name}")).and_then(Value::as_str);
        if entry.get("level").and_then(Value::as_str) == Some("ERROR") {
            self.errors.push(line.to_owned());
        }
        let (Some(message), Some(object)) = (field("message"), field("object")) else { return };
        match message {
            "heard of" | "listed" => {
                let version = field("version").and_then(|version| version.parse().ok()).unwrap_or_default();
                self.heard.insert(object.to_owned(), Heard::Version(version));
            }
            "heard of the end of" => drop(self.heard.insert(object.to_owned(), Heard::Gone)),
            "this cannot be enforced" => {
                let text = |name| field(name).unwrap_or_default().to_owned();
                let problem = Problem { path: text("path"), reason: text("reason") };
                self.reports.insert(format!("{object}: {problem}"));
            }
            _ => {}
        }
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
