//! A running agent: its directory, its log, and the kernel that it works on.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use driver_nft::NftKernel;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use policy_core::Kernel as _;
use policy_core::ruleset::Ruleset;
use serde_json::Value;

/// How long the agent may take to say something.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `body` in a thread with a network namespace of its own, which is gone when the thread ends.
pub(crate) fn in_new_namespace(body: impl FnOnce() + Send) {
    let enter_and_run = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
            panic!(
                "cannot make a network namespace ({errno}): run these tests as root, or under `unshare -Urn`"
            )
        });
        body();
    };
    thread::scope(|scope| scope.spawn(enter_and_run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// An empty directory for a test.
pub(crate) fn directory(test: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    if directory.exists() {
        fs::remove_dir_all(&directory).expect("what an earlier run left can be removed");
    }
    fs::create_dir_all(&directory).expect("a directory can be made");
    directory
}

/// What the kernel holds.
pub(crate) fn held() -> Ruleset {
    NftKernel::open().expect("nftables can be opened").observe().expect("the table can be read")
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Agent {
    /// Starts one in the calling thread's network namespace.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(Command::new(env!("CARGO_BIN_EXE_mnp-nft-bridge")), arguments)
    }

    /// Starts `program` as one, with everything that the calling thread passes on.
    pub(crate) fn of(mut program: Command, arguments: &[&str]) -> Self {
        let mut child = program
            .args(["run", "--log", "json"])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let (sender, log) = channel();
        // Ends with the agent's standard error, or with whoever reads the log.
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log, seen: Vec::new() }
    }

    /// The fields of the next log line with this message.
    pub(crate) fn logged(&mut self, message: &str) -> Value {
        self.next_that(message, |entry| {
            let fields = entry.get("fields")?;
            fields.get("message").is_some_and(|said| said == message).then(|| fields.clone())
        })
    }

    /// What `wanted` finds in the next log line that it finds something in.
    pub(crate) fn next_that<T>(&mut self, awaited: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                let ended = self.child.try_wait();
                panic!(
                    "the agent did not say {awaited:?} within {PATIENCE:?} ({error}; ended: {ended:?}), but:\n{}",
                    self.seen.join("\n")
                )
            });
            let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            self.seen.push(line);
            if let Some(found) = wanted(&entry) {
                return found;
            }
        }
    }

    /// Everything that it has said until now.
    #[allow(dead_code, reason = "shared by several test programs, of which one needs it")]
    pub(crate) fn log(&mut self) -> String {
        self.seen.extend(self.log.try_iter());
        self.seen.join("\n")
    }

    /// A line of its status (`proc_pid_status(5)`), such as `CapEff`.
    pub(crate) fn status(&self, field: &str) -> String {
        let file = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut values = status.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        values.next().unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("the agent is there");
        self.child.wait().expect("the agent ends")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sets the loopback interface up in the calling thread's network namespace.
pub(crate) fn raise_loopback() {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.is_ok_and(|up| up.success()), "cannot set lo up: install the package iproute2");
}
