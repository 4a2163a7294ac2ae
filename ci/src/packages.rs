//! The Debian packages that the tests and the demo need, by the programs they bring.
//!
//! A package counts as installed when its program is there, so other distributions work as long as the programs exist.
//! Two packages bring a program of the same name (`ping`, `arping`); the right one says `iputils` in its version.

use anyhow::{Context as _, Result, bail};

use crate::program::{Program, find, search_path};

/// A program the project runs.
#[derive(Clone, Copy, Debug)]
struct Needed {
    program: &'static str,
    package: &'static str,
    /// Arguments that make the program print its version, and a word that must be in it.
    version: Option<(&'static str, &'static str)>,
}

/// Every program the tests and the demo run. A new need is a new row.
const NEEDED: [Needed; 4] = [
    Needed { program: "nft", package: "nftables", version: None },
    Needed { program: "ip", package: "iproute2", version: None },
    Needed { program: "ping", package: "iputils-ping", version: Some(("-V", "iputils")) },
    Needed { program: "arping", package: "iputils-arping", version: Some(("-V", "iputils")) },
];

/// The packages that are missing, sorted.
pub(crate) fn missing() -> Vec<&'static str> {
    without(|needed| !is_there(needed))
}

/// Installs the missing packages as root; otherwise says how to.
///
/// # Errors
/// Not root and something is missing, or the installation failed.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return crate::say(format_args!("all there: {}", without(|_| true).join(" ")));
    }
    if !is_root()? {
        bail!("Debian packages are missing, install them with: {}", instruction(&missing));
    }
    apt_get(&["update"])?;
    apt_get(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat())?;
    let still = self::missing();
    if !still.is_empty() {
        bail!("the programs of {} are still missing after the installation", still.join(", "));
    }
    Ok(())
}

/// The command that a user without root's rights has to run.
fn instruction(packages: &[&str]) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", packages.join(" "))
}

fn without(is_missing: impl Fn(&Needed) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        NEEDED.iter().filter(|needed| is_missing(needed)).map(|needed| needed.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn is_there(needed: &Needed) -> bool {
    if find(needed.program, &search_path()).is_none() {
        return false;
    }
    needed.version.is_none_or(|(argument, word)| {
        Program::new(needed.program).args([argument]).read().is_ok_and(|version| version.contains(word))
    })
}

/// Whether the effective user is root in this user namespace (the second number of `Uid:` in `/proc/self/status`).
fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    effective_user(&status).map(|user| user == 0).context("/proc/self/status has no `Uid:` line")
}

fn effective_user(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    if find("apt-get", &search_path()).is_none() {
        let programs: Vec<_> = NEEDED.iter().map(|needed| needed.program).collect();
        bail!(
            "there is no apt-get here: install the programs {} with this system's own tool",
            programs.join(", ")
        );
    }
    Program::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").run()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{NEEDED, effective_user, instruction, without};

    #[test]
    fn instruction_can_be_pasted_into_a_shell() {
        assert_eq!(
            instruction(&["iproute2", "nftables"]),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends iproute2 nftables"
        );
    }

    #[test]
    fn only_packages_of_missing_programs_are_named() {
        assert_eq!(without(|needed| needed.program == "nft"), ["nftables"]);
        assert_eq!(without(|_| true).len(), NEEDED.len());
    }

    #[test_case("Name:\tci\nUid:\t1000\t0\t0\t0\n", Some(0); "effective user is the second number")]
    #[test_case("Uid:\t0\t1000\t0\t0\n", Some(1000); "real user does not count")]
    #[test_case("Gid:\t0\t0\t0\t0\n", None; "other lines are not taken for it")]
    fn effective_user_comes_from_the_status_file(status: &str, expected: Option<u32>) {
        assert_eq!(effective_user(status), expected);
    }
}
