//! Every scenario is a test, on each arm. A new file needs nothing else.
//!
//! `SIM_ARMS=model` leaves the packets out, for machines where namespaces cannot be made. It has to be said: without
//! it, a missing privilege or program is a failure.

use std::path::PathBuf;
use std::process::Command;

use rstest::rstest;

/// Runs one scenario on one arm and fails with everything that it printed.
fn passes(arm: &str, scenario: PathBuf) {
    let mut sim = Command::new(env!("CARGO_BIN_EXE_sim"));
    let run = sim.args(["run", "--quiet", "--arm", arm]).arg(scenario).output().expect("sim starts");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{}\n{out}{err}", run.status);
}

#[rstest]
fn model(#[files("../scenarios/**/*.yaml")] scenario: PathBuf) {
    passes("model", scenario);
}

#[rstest]
fn netns(#[files("../scenarios/**/*.yaml")] scenario: PathBuf) {
    if std::env::var("SIM_ARMS").is_ok_and(|arms| arms == "model") {
        println!("no packets are sent, as SIM_ARMS=model says");
        return;
    }
    passes("netns", scenario);
}
