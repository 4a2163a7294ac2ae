//! `run --journal` and `replay`: what an agent did can be done again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use driver_nft::NftKernel;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::agent::{Agent, directory, in_new_namespace};
use crate::objects::{CLUSTER, COMMITTED, SETTLED, policy};

fn replay(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_mnp-nft-bridge");
    Command::new(program).arg("replay").args(arguments).output().expect("the program starts")
}

fn start(files: &Path, journal: &Path) -> Agent {
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let (files, journal) = (text(files), text(journal));
    Agent::start(&["--node", "edge-1", "--manifests", &files, "--journal", &journal])
}

/// An agent's life: a change, somebody else's hand, a death, another agent, another change. How many commits it took.
fn live(files: &Path, journal: &Path) -> usize {
    let write = |port| fs::write(files.join("policy.yaml"), policy(port)).expect("it can be written");
    fs::write(files.join("cluster.yaml"), CLUSTER).expect("it can be written");
    write(80);
    let mut agent = start(files, journal);
    agent.logged(SETTLED);
    write(8080);
    agent.logged(COMMITTED);
    NftKernel::open().expect("nftables").remove_table().expect("the table is there");
    agent.logged(COMMITTED);
    agent.end(Signal::SIGKILL);
    let mut agent = start(files, journal);
    agent.logged(SETTLED);
    write(443);
    agent.logged(COMMITTED);
    // What is written is written when the agent has ended in peace.
    assert!(agent.end(Signal::SIGTERM).success());
    4
}

#[test]
fn every_transaction_is_done_again_from_the_journal() {
    in_new_namespace(|| {
        let files = directory("journal-files");
        let journal = directory("journal-kept").join("journal");
        let commits = live(&files, &journal);
        let shown = journal.to_str().expect("a path in UTF-8");
        let said = replay(&[shown]);
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "{text}\n{}", String::from_utf8_lossy(&said.stderr));
        assert!(text.contains("th dport 8080 ") && text.contains("th dport 443 "), "{text}");
        assert!(text.trim_end().ends_with("transactions, all as recorded"), "{text}");

        let said = replay(&["--output", "json", shown]);
        let report: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        let transactions = report.get("transactions").and_then(Value::as_array).expect("a list");
        assert!(transactions.len() >= commits, "{} transactions", transactions.len());
        assert_eq!(report.get("difference"), Some(&Value::Null));
    });
}

#[test]
fn journal_that_says_something_else_is_told_by_line() {
    in_new_namespace(|| {
        let files = directory("journal-changed-files");
        let journal = directory("journal-changed").join("journal");
        live(&files, &journal);
        let text = fs::read_to_string(&journal).expect("it is there");
        // As if the agent had heard of another port than it then wrote.
        let changed = text.replacen("\"Range\":[8080,8080]", "\"Range\":[8081,8081]", 1);
        assert_ne!(changed, text);
        fs::write(&journal, changed).expect("it can be written");
        let said = replay(&[journal.to_str().expect("a path in UTF-8")]);
        let text = String::from_utf8_lossy(&said.stdout);
        assert_eq!(said.status.code(), Some(1), "{text}");
        assert!(text.contains("# differs: ") && text.contains("asks for this now"), "{text}");
    });
}

#[test]
fn something_else_than_a_journal_is_refused() {
    let path = directory("journal-none").join("journal");
    for text in ["", "hello\n", "\"Ready\"\n"] {
        fs::write(&path, text).expect("it can be written");
        let said = replay(&[path.to_str().expect("a path in UTF-8")]);
        assert_eq!(said.status.code(), Some(2));
    }
}
