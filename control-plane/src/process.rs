//! A program that runs in the background, and ends with its owner.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running program.
pub(super) struct Process(Child);

impl Process {
    /// Starts `command`; what it prints goes to `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let opened = File::options().create(true).append(true).open(log);
        let file = opened.with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().context("cannot share a log")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        child.map(Self).with_context(|| format!("cannot start {}", command.get_program().display()))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("cannot ask how a program ended")
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.0.id()).context("a process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
