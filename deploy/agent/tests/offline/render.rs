//! `render`: text that nft loads.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use policy_core::ruleset::Ruleset;
use test_case::test_case;

use crate::program::run;

/// Has nft check `text` in a network namespace of its own.
fn check_with_nft(text: &str) {
    let load = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
            panic!(
                "cannot make a network namespace ({errno}): run these tests as root, or under `unshare -Urn`"
            )
        });
        let mut child = Command::new("nft")
            .args(["-c", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run nft ({error}): install the package `nftables`"));
        child.stdin.take().expect("stdin is a pipe").write_all(text.as_bytes()).expect("nft reads its input");
        child.wait_with_output().expect("nft ends")
    };
    let output = thread::scope(|scope| scope.spawn(load).join().expect("nft was run"));
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}

#[test_case("node-1", "02:00:0a:0a:00:0b", "02:00:0a:0a:00:0d"; "the database's node")]
#[test_case("node-2", "02:00:0a:0a:00:0d", "02:00:0a:0a:00:0b"; "the web pod's node")]
fn a_node_gets_its_own_pods_by_mac(node: &str, own: &str, other: &str) {
    let ran = run(&format!("render -f shop --node {node}"));
    assert_eq!(ran.stderr, "");
    let text = ran.answer();
    let (_, map) = text.split_once("map ingress-mac {").expect("the map is there");
    let (map, _) = map.split_once("\n\t}\n").expect("the map ends");
    assert!(map.contains(own) && !map.contains(other), "{map}");
    check_with_nft(&text);
}

#[test]
fn a_node_without_pods_gets_the_fixed_parts_and_a_note() {
    let ran = run("render -f shop --node node-3");
    let wanted = "note: no pod is bound to node \"node-3\"; nodes with pods: node-1, node-2\n";
    assert_eq!(ran.stderr, wanted);
    let text = ran.answer();
    assert!(!text.contains("policy/"), "{text}");
    check_with_nft(&text);
}

#[test]
fn the_json_form_is_the_ruleset_of_the_text() {
    let json = run("render -f shop --node node-1 --output json").json();
    assert_eq!(json["node"], "node-1");
    let ruleset: Ruleset = serde_json::from_value(json["ruleset"].clone()).expect("a ruleset");
    assert_eq!(ruleset.to_string(), run("render -f shop --node node-1").answer());
}
