//! The programs that the harness runs, and what to install when one is missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::netns::Namespace;

/// `ping` of iputils.
pub const PING: &str = "ping";
/// `arping` of iputils.
pub const ARPING: &str = "arping";
/// `nft` of nftables.
pub const NFT: &str = "nft";

/// Each program with its Debian package.
const PACKAGES: [(&str, &str); 3] = [(ARPING, "iputils-arping"), (NFT, "nftables"), (PING, "iputils-ping")];

/// Why the programs cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramsError {
    /// There is another `arping`, with other options (Debian's package `arping`).
    #[error("{} is not the arping of iputils: run sudo apt-get install --yes iputils-arping", .0.display())]
    ForeignArping(PathBuf),
    /// Some are not there.
    #[error("{} {} not installed: run sudo apt-get install --yes {}", .programs.join(" and "),
            if .programs.len() == 1 { "is" } else { "are" }, .packages.join(" "))]
    Missing {
        /// Their names.
        programs: Vec<&'static str>,
        /// Their Debian packages.
        packages: Vec<&'static str>,
    },
}

/// Where `program` is: on the search path, or where Debian keeps programs of the administrator.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let administrator = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let directories = env::split_paths(&path).chain(administrator);
    directories
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// What `nft` prints, run with these arguments on a node.
pub(crate) fn nft(node: &Namespace, arguments: &[&str]) -> Result<Vec<u8>> {
    let path = find(NFT).context("nft is not installed any more")?;
    let output = node.run(|| Command::new(path).args(arguments).stdin(Stdio::null()).output())?;
    let output = output.context("cannot start nft")?;
    let reason = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft {} failed: {reason}", arguments.join(" "));
    Ok(output.stdout)
}

/// What `nft` lists on a node (`nft -j list WHAT...`).
pub(crate) fn listed(node: &Namespace, what: &[&str]) -> Result<Value> {
    let listing = nft(node, &[&["-j", "list"], what].concat())?;
    serde_json::from_slice(&listing).context("nft's listing is not JSON")
}

/// The objects of a listing of `nft`: libnftables-json(5).
pub(crate) fn objects(listing: &Value) -> Result<&Vec<Value>> {
    listing.get("nftables").and_then(Value::as_array).context("there is no list in it")
}

/// Whether everything that the netns arm runs is installed.
pub fn check() -> Result<(), ProgramsError> {
    let missing = PACKAGES.iter().filter(|(program, _)| find(program).is_none());
    let (programs, packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    if !programs.is_empty() {
        return Err(ProgramsError::Missing { programs, packages });
    }
    match find(ARPING) {
        Some(arping) if !is_of_iputils(&arping) => Err(ProgramsError::ForeignArping(arping)),
        Some(_) | None => Ok(()),
    }
}

/// Whether a program says that it is part of iputils.
fn is_of_iputils(program: &Path) -> bool {
    let version = Command::new(program).arg("-V").stdin(Stdio::null()).output();
    version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("iputils"))
}
