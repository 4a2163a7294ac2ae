//! What needs a real Kubernetes API server: the agent's own tests, and scenarios on the cluster arm.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::envtest::{ASSETS, programs};
use crate::packages::{self, Purpose};
use crate::privilege;
use crate::program::Program;
use crate::vm::all_scenarios;

/// Tells the agent's tests to take their time: every cut of a watch with every ending, and a whole minute without API server.
const THOROUGHLY: &str = "CLUSTER_THOROUGHLY";

/// The scenarios that `cargo ci test` plays through an API server; `cargo ci cluster` plays all.
const CORE: [&str; 12] = [
    "scenarios/00-harness/ingress-from-one-client.yaml",
    "scenarios/10-pod/deleted-and-its-address-reused.yaml",
    "scenarios/10-pod/label-starts-matching.yaml",
    "scenarios/20-namespace/created-matching-a-selector.yaml",
    "scenarios/30-policy/complex.yaml",
    "scenarios/30-policy/deleted-after-its-pod-and-namespace.yaml",
    "scenarios/40-network/created-after-policy-and-pod.yaml",
    "scenarios/40-network/of-two-kinds.yaml",
    "scenarios/50-peer/unusable-peers.yaml",
    "scenarios/80-agent/restarted.yaml",
    "scenarios/80-agent/table-changed-by-hand.yaml",
    "scenarios/85-nodes/both-ends-must-agree.yaml",
];

/// Runs everything, or the tests whose names have a part that `arguments` name.
///
/// # Errors
/// The control plane cannot be found or built, or something fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    packages::ensure(Purpose::Tests)?;
    let programs = control_plane()?;
    tests(&programs, arguments, &[(THOROUGHLY, "1")])?;
    if arguments.is_empty() { scenarios(&programs, &all_scenarios()?) } else { Ok(()) }
}

/// Runs what belongs to every change: all tests, and some scenarios.
///
/// # Errors
/// As [`run`].
pub(crate) fn core_set() -> Result<()> {
    let programs = control_plane()?;
    tests(&programs, &[], &[])?;
    scenarios(&programs, &CORE.map(PathBuf::from))
}

/// Where the programs of the control plane are.
pub(crate) fn control_plane() -> Result<String> {
    let programs = programs()?;
    Ok(programs.to_str().context("the path of the control plane is not UTF-8")?.to_owned())
}

fn tests(programs: &str, arguments: &[String], environment: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Program::cargo()
        .args(["test", "--locked", "--package", "mnp-nft-bridge", "--test", "cluster", "--"])
        .args(arguments)
        .env(ASSETS, programs);
    for (name, value) in environment {
        cargo = cargo.env(name, value);
    }
    privilege::as_root(cargo)?.run()
}

fn scenarios(programs: &str, files: &[PathBuf]) -> Result<()> {
    // The agent is a program of its own: it must be there, and be the one of these sources.
    Program::cargo().args(["build", "--locked", "--package", "mnp-nft-bridge"]).run()?;
    Program::cargo()
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "sim",
            "--bin",
            "sim",
            "--",
            "run",
            "--arm",
            "cluster",
        ])
        .args(files)
        .env(ASSETS, programs)
        .run_briefly("cargo run --package sim -- run --arm cluster scenarios/...")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::CORE;

    #[test]
    fn every_scenario_of_the_core_set_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let absent: Vec<&&str> = CORE.iter().filter(|file| !root.join(file).is_file()).collect();
        assert!(absent.is_empty(), "{absent:?}");
    }
}
