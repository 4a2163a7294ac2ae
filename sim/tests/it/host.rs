//! The host's own network, as far as a harness could harm it.

use alloc::collections::BTreeSet;
use std::fs;

/// Everything that must be the same after a run: the names of the host's network namespaces (what `ip netns` lists),
/// its links, and the mounts where the harness makes its own.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Network {
    namespaces: BTreeSet<String>,
    links: BTreeSet<String>,
    mounts: BTreeSet<String>,
}

/// The host's network now.
pub(crate) fn network() -> Network {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts can be listed");
    Network {
        namespaces: names("/run/netns"),
        links: names("/sys/class/net"),
        mounts: mounts.lines().filter(|line| concerns_the_harness(line)).map(str::to_owned).collect(),
    }
}

/// The names in a directory; none, when it is not there.
fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned()).collect()
}

/// Whether a line of `/proc/self/mounts` is about a place where the harness mounts something: device, place, ...
fn concerns_the_harness(line: &str) -> bool {
    let place = line.split(' ').nth(1).expect("a mount has a place");
    ["/", "/proc", "/run"].contains(&place) || place.starts_with("/run/netns")
}
