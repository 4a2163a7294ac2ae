//! The programs that the harness runs, and what to install when one is missing.

use std::env;
use std::path::PathBuf;

/// `ping` of iputils.
pub const PING: &str = "ping";
/// `arping` of iputils.
pub const ARPING: &str = "arping";
/// `nft` of nftables.
pub const NFT: &str = "nft";

/// Each program with its Debian package.
const PACKAGES: [(&str, &str); 3] = [(ARPING, "iputils-arping"), (NFT, "nftables"), (PING, "iputils-ping")];

/// Programs are missing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} {} not installed: run sudo apt-get install --yes {}", .programs.join(" and "),
        if .programs.len() == 1 { "is" } else { "are" }, .packages.join(" "))]
pub struct MissingPrograms {
    programs: Vec<&'static str>,
    packages: Vec<&'static str>,
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

/// Whether everything that the netns arm runs is installed.
pub fn check() -> Result<(), MissingPrograms> {
    let missing = PACKAGES.iter().filter(|(program, _)| find(program).is_none());
    let (programs, packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    if programs.is_empty() { Ok(()) } else { Err(MissingPrograms { programs, packages }) }
}
