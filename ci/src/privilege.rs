//! Root's rights, which the test programs need and the builds do not.
//!
//! Some tests hand the kernel more than an ordinary user's socket may send, enter namespaces from outside, or give rights
//! up to see what happens then. An ordinary user's build runs as that user; its test programs run through sudo.

use anyhow::{Context as _, Result, bail};

use crate::program::{Program, find, search_path};

/// How cargo starts a test program for an ordinary user.
const RUNNER: &str = "sudo --preserve-env";

/// Makes sure that test programs can run as root, and lets sudo ask for the password now rather than after the build.
///
/// # Errors
/// Not root, and sudo is not there or does not allow it.
pub(crate) fn ensure() -> Result<()> {
    if is_root()? {
        return crate::say("this is root");
    }
    if find("sudo", &search_path()).is_none() {
        bail!("some tests need root and there is no sudo: run `cargo ci test` as root");
    }
    crate::say("some tests need root: the build runs as you, the test programs run through sudo")?;
    Program::new("sudo").args(["--validate"]).run().context(
        "some tests need root: run `cargo ci test` as root, or as a user whom sudo allows everything",
    )
}

/// Makes cargo start the test programs as root.
///
/// # Errors
/// The user or the compiler's own target cannot be told.
pub(crate) fn as_root(cargo: Program) -> Result<Program> {
    if is_root()? {
        return Ok(cargo);
    }
    let about = Program::new("rustc").args(["--version", "--verbose"]).read()?;
    let variable = runner_variable(&about).context("`rustc --version --verbose` names no host")?;
    Ok(cargo.env(&variable, RUNNER))
}

/// The variable that holds the runner for the compiler's own target (cargo book, "Environment variables").
fn runner_variable(about: &str) -> Option<String> {
    let host = about.lines().find_map(|line| line.strip_prefix("host: "))?;
    Some(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_")))
}

/// Whether the effective user is root in this user namespace (the second number of `Uid:` in `/proc/self/status`).
pub(crate) fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    effective_user(&status).map(|user| user == 0).context("/proc/self/status has no `Uid:` line")
}

fn effective_user(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{effective_user, runner_variable};

    #[test]
    fn runner_is_that_of_the_compilers_own_target() {
        let about = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        let expected = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";
        assert_eq!(runner_variable(about).as_deref(), Some(expected));
        assert_eq!(runner_variable("rustc 1.95.0\n"), None);
    }

    #[test_case("Name:\tci\nUid:\t1000\t0\t0\t0\n", Some(0); "effective user is the second number")]
    #[test_case("Uid:\t0\t1000\t0\t0\n", Some(1000); "real user does not count")]
    #[test_case("Gid:\t0\t0\t0\t0\n", None; "other lines are not taken for it")]
    fn effective_user_comes_from_the_status_file(status: &str, expected: Option<u32>) {
        assert_eq!(effective_user(status), expected);
    }
}
