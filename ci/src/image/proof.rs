//! What an unpacked image does when it is run.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Architecture, NAME};
use crate::program::Program;
use crate::{envtest, privilege};

/// Manifests that offline verbs can be asked about.
const MANIFESTS: &str = "deploy/agent/tests/manifests/shop";

/// Runs the program of `root`: directly and in its container where it is of this machine's architecture, else through an
/// emulator.
pub(super) fn run(architecture: Architecture, root: &Path, version: &str, with_cluster: bool) -> Result<()> {
    let program = root.join(NAME);
    let is_own = architecture.machine == std::env::consts::ARCH;
    let start = || {
        let name = program.to_str().context("the target directory's path is not UTF-8")?;
        let emulator = format!("qemu-{}-static", architecture.machine);
        anyhow::Ok(if is_own { Program::new(name) } else { Program::new(&emulator).args([name]) })
    };
    let said = start()?.args(["--version"]).read()?;
    ensure!(said.trim_end() == format!("{NAME} {version}"), "it says that it is {said:?}");
    let rendered = start()?.args(["render", "--filename", MANIFESTS, "--node", "node-1"]).read()?;
    ensure!(rendered.contains("hook prerouting"), "it renders no ruleset: {rendered:?}");
    let how = if is_own { "directly" } else { "emulated" };
    crate::say(format_args!(
        "  run {how}: {} and a ruleset of {} lines",
        said.trim_end(),
        rendered.lines().count()
    ))?;
    if !is_own {
        return Ok(());
    }
    let root = root.to_str().context("the target directory's path is not UTF-8")?;
    in_its_container(root, &["running", "confined"], &[])?;
    if with_cluster {
        let programs = envtest::programs()?;
        let programs = programs.to_str().context("the cache's path is not UTF-8")?;
        in_its_container(root, &["cluster", "in_its_pod"], &[(envtest::ASSETS, programs)])?;
    }
    Ok(())
}

/// Tests (a test program, and a part of their names) that run the agent with what the manifest gives to its container, in
/// the image's root.
fn in_its_container(root: &str, tests: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Program::cargo()
        .args(["test", "--locked", "--package", NAME, "--test"])
        .args(tests)
        .env("MNP_NFT_BRIDGE_ROOT", root);
    for (variable, value) in environment {
        cargo = cargo.env(variable, value);
    }
    privilege::as_root(cargo)?.run()
}
