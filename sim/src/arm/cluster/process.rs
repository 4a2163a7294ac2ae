//! The built agent, as a process on its node, and what its log says.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use policy_core::model::Problem;
use serde_json::Value;

use crate::netns::Namespace;
use crate::process::Process;

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

/// A running agent, and what it has said.
pub(super) struct AgentProcess {
    process: Process,
    heard: BTreeMap<String, Heard>,
    reports: BTreeSet<String>,
    errors: Vec<String>,
}

impl AgentProcess {
    /// Starts the program `file` with `arguments` on a node.
    pub(super) fn start(file: &Path, arguments: &[String], node: &Namespace) -> Result<Self> {
        let process = Process::start(file, arguments, &[("RUST_LOG", "info,driver_kube=debug")], node)?;
        Ok(Self { process, heard: BTreeMap::new(), reports: BTreeSet::new(), errors: Vec::new() })
    }

    /// Reads its log until `done` is content, or for `patience`; whether it is.
    pub(super) fn read_until(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + patience;
        while !done(self) {
            let Some(line) = self.process.line(deadline)? else { return Ok(false) };
            self.take(&line);
        }
        Ok(true)
    }

    /// Takes in what its log says already.
    pub(super) fn read(&mut self) {
        while let Ok(Some(line)) = self.process.line(Instant::now()) {
            self.take(&line);
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
        self.process.shown()
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn end(self) -> Result<()> {
        self.process.end(drop)
    }

    fn take(&mut self, line: &str) {
        if let Ok(entry) = serde_json::from_str::<Value>(line) {
            self.understand(&entry, line);
        }
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
