//! The committed corpus, replayed: each input on the stack that a test or a worker has.

use core::time::Duration;

use fuzz::campaign::trial;
use fuzz::{TARGETS, corpus, find};

/// Very generous: the machine may be busy, and the build is not optimized.
const PATIENCE: Duration = Duration::from_secs(30);

fn replay(name: &str) {
    let target = find(name).expect("the target exists");
    let entries = corpus::entries(name).expect("the corpus is readable");
    let mut features = fuzz::Features::default();
    for entry in entries {
        let file = entry.file.display();
        let (showed, took) = trial(target, &entry.bytes);
        features.extend(showed.unwrap_or_else(|panic| panic!("{file}: {panic}")));
        assert!(took < PATIENCE, "{file} took {took:?}");
    }
    assert!(features.iter().count() > 3, "the corpus of {name} shows nothing");
}

#[test]
fn frames_are_judged() {
    replay("frame");
}

#[test]
fn logged_frames_are_named() {
    replay("frame-log");
}

#[test]
fn manifests_are_read() {
    replay("manifest");
}

#[test]
fn dumps_are_decoded() {
    replay("netlink-dump");
}

#[test]
fn network_configurations_are_read() {
    replay("network-config");
}

#[test]
fn network_status_is_read() {
    replay("network-status");
}

#[test]
fn policies_are_read() {
    replay("policy");
}

#[test]
fn lists_of_networks_are_read() {
    replay("policy-for");
}

#[test]
fn scenarios_are_read() {
    replay("scenario");
}

/// A target without a test above would rot; a directory without a target is never read.
#[test]
fn every_target_has_a_test_and_every_directory_a_target() {
    let source = include_str!("replay.rs");
    for target in TARGETS {
        assert!(source.contains(&format!("replay({:?})", target.name)), "{} is not replayed", target.name);
    }
    let corpus = corpus::directory("");
    for directory in std::fs::read_dir(&corpus).expect("the corpus is there") {
        let name = directory.expect("an entry").file_name().into_string().expect("a name");
        assert!(find(&name).is_some(), "nothing reads corpus/{name}");
    }
}

/// Inputs that are large are generated, in the other test.
#[test]
fn committed_inputs_are_small() {
    let inputs =
        TARGETS.iter().flat_map(|target| corpus::entries(target.name).expect("the corpus is readable"));
    let total: usize = inputs
        .map(|entry| {
            assert!(entry.bytes.len() <= 64 << 10, "{} is too large", entry.file.display());
            entry.bytes.len()
        })
        .sum();
    assert!(total <= 512 << 10, "the corpus has {total} bytes");
}
