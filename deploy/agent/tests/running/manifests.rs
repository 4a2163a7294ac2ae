//! `run --manifests`: what is enforced follows the files, and outlives the agent.

use std::fs;
use std::path::Path;
use std::process::Command;

use driver_nft::NftKernel;
use nix::sys::signal::Signal;
use policy_core::ruleset::{ChainName, ChainSpec, LAYOUT, LAYOUT_STEM, Op, Ruleset};
use policy_core::{Generation, Kernel as _, Scope, Transaction};
use serde_json::Value;

use crate::agent::{Agent, directory, held, in_new_namespace};
use crate::objects::{CLUSTER, COMMITTED, SETTLED, names_port, policy};

/// Writes a file the way editors and `ConfigMap`s do: at once.
pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    let new = directory.join(format!(".{name}.new"));
    fs::write(&new, text).expect("the directory can be written");
    fs::rename(&new, directory.join(name)).expect("files can be renamed");
}

fn start(directory: &Path) -> Agent {
    Agent::start(&["--node", "edge-1", "--manifests", directory.to_str().expect("a path in UTF-8")])
}

#[test]
fn files_are_enforced_and_their_changes_are_followed() {
    in_new_namespace(|| {
        let files = directory("followed");
        write(&files, "cluster.yaml", CLUSTER);
        write(&files, "policy.yaml", &policy(80));
        let mut agent = start(&files);
        agent.logged(SETTLED);
        assert!(names_port(&held(), 80));

        write(&files, "policy.yaml", &policy(8080));
        agent.logged(COMMITTED);
        let changed = held();
        assert!(names_port(&changed, 8080) && !names_port(&changed, 80));

        write(&files, "policy.yaml", "spec: [");
        let mistake = agent.next_that("an error", |entry| {
            let message = entry.pointer("/fields/message").and_then(Value::as_str)?;
            entry.get("level").is_some_and(|level| level == "ERROR").then(|| message.to_owned())
        });
        assert!(mistake.contains("policy.yaml:1:") && mistake.contains("stays in force"), "{mistake}");
        assert_eq!(held(), changed);

        fs::remove_file(files.join("policy.yaml")).expect("it is there");
        agent.logged(COMMITTED);
        assert!(!names_port(&held(), 8080));
    });
}

#[test]
fn subdirectory_that_appears_is_read() {
    in_new_namespace(|| {
        let files = directory("deeper");
        write(&files, "cluster.yaml", CLUSTER);
        let mut agent = start(&files);
        agent.logged(SETTLED);
        let deeper = files.join("policies");
        fs::create_dir(&deeper).expect("a directory can be made");
        write(&deeper, "policy.yaml", &policy(443));
        agent.logged(COMMITTED);
        assert!(names_port(&held(), 443));
    });
}

#[test]
fn table_that_somebody_deletes_is_put_back() {
    in_new_namespace(|| {
        let files = directory("repaired");
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{}", policy(80)));
        let mut agent = start(&files);
        agent.logged(SETTLED);
        let before = held();
        NftKernel::open().expect("nftables").remove_table().expect("the table is there");
        agent.logged("another program has changed the table; it is repaired");
        agent.logged(COMMITTED);
        assert_eq!(held(), before);
    });
}

#[test]
fn table_of_another_layout_is_taken_over_in_one_transaction() {
    in_new_namespace(|| {
        let files = directory("upgraded");
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{}", policy(80)));
        let mut agent = start(&files);
        agent.logged(SETTLED);
        assert!(agent.end(Signal::SIGTERM).success());
        let table = held();
        assert_eq!(table.layout(), Some(LAYOUT));
        let mark = |layout| ChainName::new(format!("{LAYOUT_STEM}{layout}"));
        let ops = vec![
            Op::DelChain(mark(LAYOUT)),
            Op::AddChain(mark(LAYOUT + 1), ChainSpec::default()),
            Op::AddChain(ChainName::new("of-a-later-version"), ChainSpec::default()),
        ];
        let later = Transaction { generation: Generation(0), scope: Scope::Change, ops };
        let mut other = NftKernel::open().expect("nftables");
        other.observe().expect("the table is there");
        other.apply(&later).expect("a table of a later layout");
        let mut agent = start(&files);
        let told = agent.logged("the table has another layout; it is changed in one transaction");
        assert_eq!((&told["found"], &told["ours"]), (&(LAYOUT + 1).to_string().into(), &LAYOUT.into()));
        let committed = agent.logged(COMMITTED);
        assert_eq!(committed["ops"], 3, "{committed}");
        agent.logged(SETTLED);
        assert_eq!(held(), table);
    });
}

#[test]
fn enforcement_outlives_the_agent_until_it_is_cleaned_up() {
    in_new_namespace(|| {
        let files = directory("outlived");
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{}", policy(80)));
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
            let mut agent = start(&files);
            agent.logged(SETTLED);
            let before = held();
            let status = agent.end(signal);
            assert_eq!(status.success(), signal != Signal::SIGKILL, "{status}");
            assert!(names_port(&before, 80));
            assert_eq!(held(), before);
        }
        let program = env!("CARGO_BIN_EXE_mnp-nft-bridge");
        let cleanup = || Command::new(program).arg("cleanup").output().expect("the program starts");
        assert!(String::from_utf8_lossy(&cleanup().stdout).starts_with("removed table bridge"));
        assert_eq!(held(), Ruleset::default());
        assert!(String::from_utf8_lossy(&cleanup().stdout).starts_with("there was no table"));
    });
}

#[test]
fn dry_run_says_what_it_would_commit_and_commits_nothing() {
    in_new_namespace(|| {
        let files = directory("dry");
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{}", policy(80)));
        let arguments = ["--node", "edge-1", "--dry-run", "--manifests"];
        let path = files.to_str().expect("a path in UTF-8");
        let mut agent = Agent::start(&[arguments.as_slice(), &[path]].concat());
        let said = agent.logged("would commit");
        assert!(said.get("text").is_some_and(|text| text.to_string().contains("th dport 80 ")), "{said}");
        agent.logged(SETTLED);
        assert_eq!(held(), Ruleset::default());
    });
}

#[test]
fn mistake_at_the_start_ends_the_agent_before_it_enforces_anything() {
    in_new_namespace(|| {
        let files = directory("refused");
        write(&files, "all.yaml", &format!("{CLUSTER}---\nkind: Pod\n"));
        let path = files.to_str().expect("a path in UTF-8");
        let output = Command::new(env!("CARGO_BIN_EXE_mnp-nft-bridge"))
            .args(["run", "--node", "edge-1", "--manifests", path])
            .output()
            .expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("all.yaml:") && errors.contains("apiVersion: missing"), "{errors}");
        assert_eq!(held(), Ruleset::default());
    });
}
