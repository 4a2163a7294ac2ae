//! Running the programs that `cargo ci` is made of.
//!
//! Every program is shown before it runs, inherits the terminal, and gets a search path that includes the directories of
//! system programs: Debian leaves those out for ordinary users, though `nft` works for them in a user namespace.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Where Debian keeps programs of the system administrator.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Variables `cargo run` sets for this program. Build scripts that watch them would run again under another value.
const CARGO_RUN_VARIABLES: [&str; 6] = [
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
];

/// One program with its arguments, not started yet.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    shown: String,
}

impl Program {
    /// The program called `name`, found on the [search path](search_path).
    pub(crate) fn new(name: &str) -> Self {
        Self::with_path(OsStr::new(name), name)
    }

    /// The cargo that started this program, else the one on the search path.
    pub(crate) fn cargo() -> Self {
        let path = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut program = Self::with_path(&path, "cargo");
        for (name, _) in env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| CARGO_RUN_VARIABLES.iter().any(|known| name.starts_with(known)))
            {
                program.command.env_remove(&name);
            }
        }
        program
    }

    fn with_path(path: &OsStr, shown: &str) -> Self {
        let mut command = Command::new(path);
        command.env("PATH", search_path());
        Self { command, shown: shown.to_owned() }
    }

    /// Adds arguments.
    #[must_use]
    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        for argument in arguments {
            self.shown.push(' ');
            self.shown.push_str(&argument.as_ref().to_string_lossy());
            self.command.arg(argument);
        }
        self
    }

    /// Sets an environment variable for the program.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.shown.insert_str(0, &format!("{name}={value:?} "));
        self.command.env(name, value);
        self
    }

    /// Runs the program as [`run`](Self::run), shown as `shown`: its arguments are too many.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn run_briefly(mut self, shown: &str) -> Result<()> {
        shown.clone_into(&mut self.shown);
        self.run()
    }

    /// Sets the directory that the program starts in.
    #[must_use]
    pub(crate) fn within(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Shows the program, runs it on this terminal and waits for its end.
    ///
    /// # Errors
    /// The program cannot be started, or its exit status is not 0.
    pub(crate) fn run(mut self) -> Result<()> {
        crate::say(format_args!("$ {}", self.shown))?;
        let status = self.command.status().with_context(|| format!("cannot start `{}`", self.shown))?;
        if !status.success() {
            bail!("`{}` failed with {status}", self.shown);
        }
        Ok(())
    }

    /// Runs the program and gives back what it wrote on standard output; standard error stays on the terminal.
    ///
    /// # Errors
    /// As [`run`](Self::run), and when the output is not UTF-8.
    pub(crate) fn read(mut self) -> Result<String> {
        let output = self
            .command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{}`", self.shown))?;
        if !output.status.success() {
            bail!("`{}` failed with {}", self.shown, output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{}` did not print UTF-8", self.shown))
    }

    /// Whether the program starts and ends with exit status 0; everything it prints is dropped.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// The caller's `PATH`, then the system directories it lacks.
pub(crate) fn search_path() -> OsString {
    extended(&env::var_os("PATH").unwrap_or_default())
}

fn extended(path: &OsStr) -> OsString {
    let mut directories: Vec<PathBuf> = env::split_paths(path).collect();
    for directory in SYSTEM_DIRECTORIES.map(PathBuf::from) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    // Joining fails only for a directory with a colon in its name, which splitting cannot have produced.
    env::join_paths(directories).unwrap_or_else(|_| path.to_owned())
}

/// The first executable file called `name` in the directories of `path`.
pub(crate) fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{Program, extended, find};

    #[test]
    fn system_directories_follow_those_of_the_caller() {
        let path = extended(OsStr::new("/bin:/usr/sbin"));
        assert_eq!(path, OsStr::new("/bin:/usr/sbin:/usr/local/sbin:/sbin"));
    }

    #[test]
    fn only_executable_files_are_programs() {
        assert!(find("sh", OsStr::new("/bin")).is_some());
        assert_eq!(find("passwd", OsStr::new("/etc")), None);
        assert_eq!(find("..", OsStr::new("/etc")), None);
    }

    #[test]
    fn failing_program_is_named_with_its_arguments_and_status() {
        let error = Program::new("sh").args(["-c", "exit 3"]).read().expect_err("exit status 3 is a failure");
        assert_eq!(error.to_string(), "`sh -c exit 3` failed with exit status: 3");
    }

    #[test]
    fn missing_program_is_named() {
        let error = Program::new("no-such-program").read().expect_err("it does not exist");
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }
}
