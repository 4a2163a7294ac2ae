//! Running the `sim` program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host;

/// The program with `arguments`; it gets no input.
pub(crate) fn sim<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What a run printed, and how it ended.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `command` to its end, and checks that the host's network is the same afterwards.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let before = host::network();
    let output = command.output().expect("sim starts");
    assert_eq!(host::network(), before, "the host's network has changed");
    Ended {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).expect("sim prints UTF-8"),
        err: String::from_utf8(output.stderr).expect("sim prints UTF-8"),
    }
}

/// A file that goes away with this value.
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// A file called `name` (unique among the tests of this process) with `text` in it.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sim-test-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("the temporary directory can be written to");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // It may be gone already.
        drop(fs::remove_file(&self.0));
    }
}

/// The scenario that most tests run: it is good, and short.
pub(crate) const GOOD: &str = r#"
description: two hosts on one bridge reach each other
probes: [icmp, tcp/80]
hosts:
  - {name: one, bridge: br0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: two, bridge: br0, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
"#;
