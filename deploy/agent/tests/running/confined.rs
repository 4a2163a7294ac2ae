//! With what the manifest gives to the container, and nothing more, the agent does its work; with less it says what it
//! lacks.

use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::agent::{directory, held, in_new_namespace};
use crate::container::{Container, PROGRAM};
use crate::manifests::write;
use crate::objects::{CLUSTER, COMMITTED, SETTLED, names_port, policy};
use crate::wires::{self, MAC_OF_WEB, ip, owned_ports, ping_is_answered};

/// Where the container sees the manifests.
const FILES: &str = "/etc/manifests";
/// What the agent is told.
const ARGUMENTS: [&str; 4] = ["--node", "edge-1", "--manifests", FILES];
/// What it says without the capability to hear of other namespaces.
const DEAF: &str =
    "without CAP_NET_BROADCAST, a pod that changes its MAC is noticed only when its port changes too";

/// The container of the manifest with one of its capabilities taken away.
fn without(capability: &str, test: &str) -> Container {
    let mut container = Container::of_manifest(test);
    let before = container.capabilities.len();
    container.capabilities.retain(|had| had != capability);
    assert_eq!(container.capabilities.len() + 1, before, "it does not have {capability}");
    container
}

/// Runs the program in a container to its end.
fn run(container: &Container, arguments: &[&str]) -> Output {
    container.inside(|| Command::new(PROGRAM).args(arguments).output().expect("the program starts"))
}

#[test]
fn container_of_the_manifest_enforces_policies_and_finds_the_pods_behind_ports() {
    in_new_namespace(|| {
        wires::build(MAC_OF_WEB);
        let files = directory("confined");
        write(&files, "cluster.yaml", CLUSTER);
        let container = Container::of_manifest("whole").with(&files, FILES);
        let mut agent = container.start(&[], &ARGUMENTS);
        agent.logged(SETTLED);
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(agent.status(set), container.mask(), "{set}");
        }
        assert_eq!([agent.status("CapInh"), agent.status("CapAmb")], ["0000000000000000"; 2]);
        assert_eq!([agent.status("NoNewPrivs"), agent.status("Seccomp")], ["1", "2"]);
        assert!(ping_is_answered(), "no policy isolates anybody");

        write(&files, "policy.yaml", &policy(80));
        agent.logged(COMMITTED);
        assert!(names_port(&held(), 80));
        assert_eq!(owned_ports(&held()), 1, "the pod is known by its port, from the MAC at the other end");
        assert!(!ping_is_answered(), "the policy lets TCP through and no ping");
        assert!(agent.end(Signal::SIGTERM).success());
        assert!(!ping_is_answered(), "enforcement outlives the agent");
        let cleanup = run(&Container::of_manifest("cleanup"), &["cleanup"]);
        assert!(String::from_utf8_lossy(&cleanup.stdout).starts_with("removed table bridge"), "{cleanup:?}");
        assert!(ping_is_answered(), "nobody enforces anything any more");
    });
}

#[test]
fn container_hears_of_a_mac_that_changes_in_another_namespace() {
    in_new_namespace(|| {
        wires::build("02:00:00:00:00:99");
        let files = directory("far");
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{}", policy(80)));
        let mut agent = Container::of_manifest("far").with(&files, FILES).start(&[], &ARGUMENTS);
        agent.logged(SETTLED);
        assert_eq!(owned_ports(&held()), 0);
        ip(&format!("-n web link set net1 address {MAC_OF_WEB}"));
        agent.logged(COMMITTED);
        assert_eq!(owned_ports(&held()), 1);
    });
}

#[test]
fn without_net_broadcast_the_change_is_missed_and_the_agent_warns_of_it() {
    in_new_namespace(|| {
        wires::build("02:00:00:00:00:99");
        let files = directory("deaf");
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{}", policy(80)));
        let container = without("NET_BROADCAST", "deaf").with(&files, FILES);
        let mut agent = container.start(&[], &ARGUMENTS);
        agent.logged(DEAF);
        agent.logged(SETTLED);
        ip(&format!("-n web link set net1 address {MAC_OF_WEB}"));
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{}", policy(8080)));
        agent.logged(COMMITTED);
        assert_eq!(owned_ports(&held()), 0, "nobody told the agent");
        ip("link set port-web alias touched");
        agent.logged(COMMITTED);
        assert_eq!(owned_ports(&held()), 1, "a change of the port itself makes it look");
    });
}

#[test]
fn without_net_admin_the_agent_ends_and_names_the_capability() {
    in_new_namespace(|| {
        let files = directory("powerless");
        write(&files, "cluster.yaml", CLUSTER);
        let container = without("NET_ADMIN", "powerless").with(&files, FILES);
        let output = run(&container, &[["run"].as_slice(), &ARGUMENTS].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("CAP_NET_ADMIN in its network namespace"), "{errors}");
    });
}

#[test]
fn net_admin_is_all_that_a_log_of_frames_takes() {
    in_new_namespace(|| {
        wires::build(MAC_OF_WEB);
        let files = directory("telling");
        let logged = policy(80).replace("policy-for: lan", "policy-for: lan, mnp-nft-bridge.io/log: drop");
        write(&files, "all.yaml", &format!("{CLUSTER}---\n{logged}"));
        let mut agent = without("NET_BROADCAST", "telling").with(&files, FILES).start(&[], &ARGUMENTS);
        agent.logged(SETTLED);
        assert!(!ping_is_answered());
        assert_eq!(agent.logged("frame").get("pod").and_then(Value::as_str), Some("web"));
    });
}

#[test]
fn every_capability_of_the_manifest_has_a_test_without_it() {
    assert_eq!(Container::of_manifest("list").capabilities, ["NET_ADMIN", "NET_BROADCAST"]);
}

#[test]
fn container_answers_questions_that_need_no_node() {
    in_new_namespace(|| {
        let container = Container::of_manifest("asked");
        let version = run(&container, &["--version"]);
        let expected = concat!("mnp-nft-bridge ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(String::from_utf8_lossy(&version.stdout), expected);
        let probed = run(&container, &["probe"]);
        assert!(String::from_utf8_lossy(&probed.stdout).contains("state: "), "{probed:?}");
    });
}
