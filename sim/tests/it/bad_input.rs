//! Bad input gets one sentence that names the file and the place, a status that is not 0, and leaves nothing behind.

use std::process::Command;

use test_case::test_case;

use crate::running::{GOOD, TemporaryFile, ended, sim};

/// The start of a scenario with two hosts that can be probed: 6 lines.
const START: &str = r#"description: broken
hosts:
  - {name: one, bridge: br0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: two, bridge: br0, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
objects: []
steps:
"#;

#[test_case("yaml", "steps: [", ":1:8: ", "unclosed bracket"; "YAML that ends early")]
#[test_case("text", "just a text", ":1:1: ", "expected mapping"; "a text instead of a scenario")]
#[test_case("field", "description: a\nstesp: []\n", ":2:1: unknown field `stesp`", "steps"; "unknown field")]
#[test_case("none", "probes: [icmp]\n", ": missing field `description`", ""; "no description")]
#[test_case("probe", "description: a\nprobes: [icmp, tcp/0]\n", ":2:16: ", "tcp/PORT"; "port zero")]
#[test_case("nodes", "description: a\nnodes: [a, b, a]\n", "nodes: a is named twice", ""; "one node twice")]
#[test_case("no-node", "description: a\nnodes: []\n", "nodes: at least one is needed", ""; "no node")]
#[test_case("kind", "description: a\nobjects:\n  - {apiVersion: v1, kind: Service, metadata: {name: a}}\n",
    ":3:5: Service of \"v1\" is not one of the kinds that are read", ""; "unknown kind")]
fn what_is_no_scenario_is_refused(name: &str, text: &str, place: &str, more: &str) {
    refused(name, text, place, more);
}

#[test_case("cidr", r#"description: a
hosts: [{name: one, bridge: br0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1/33]}]"#,
    "hosts: host one: addresses: \"10.0.0.1/33\": ", "invalid"; "bad prefix length")]
#[test_case("mac", r#"description: a
hosts: [{name: one, bridge: br0, mac: "02:00:00:00:00", addresses: [10.0.0.1]}]"#,
    "hosts: host one: mac: \"02:00:00:00:00\": not an ethernet address", ""; "bad MAC")]
#[test_case("twice", r#"description: a
hosts:
  - {name: one, bridge: br0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: one, bridge: br0, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}"#,
    "hosts: one is named twice", ""; "a host twice")]
fn a_bad_host_is_refused(name: &str, text: &str, place: &str, more: &str) {
    refused(name, text, place, more);
}

#[test_case("who", "  - {name: s, expect: {closed: [{from: one, to: nobody}]}}\n",
    ":7:33: s: to: \"nobody\" is not on a bridge of this node; there are: one, two", ""; "unknown pod in an expectation")]
#[test_case("via", "  - {name: s, expect: {closed: [{from: one, to: two, via: [tcp/81]}]}}\n",
    ":7:33: s: no probe is like this", "`probes` does not list"; "a probe that is not sent")]
#[test_case("family", "  - {name: s, expect: {closed: [{from: one, to: two, family: ipv5}]}}\n",
    ":7:62: ", "ipv5"; "unknown family")]
#[test_case("gone", "  - {name: s, delete: [{kind: Pod, namespace: a, name: b}], expect: {}}\n",
    ":7:24: there is no pod a/b to delete", ""; "deleting what is not there")]
#[test_case("patch", "  - {name: s, patch: [{kind: Pod, namespace: a, name: b, merge: {}}], expect: {}}\n",
    ":7:23: there is no pod a/b to change", ""; "patching what is not there")]
#[test_case("expect", "  - {name: s}\n", ":7:6: missing field `expect`", ""; "a step without expectation")]
fn a_bad_step_is_refused(name: &str, step: &str, place: &str, more: &str) {
    refused(name, &format!("{START}{step}"), place, more);
}

#[test_case("send", "{from: one, send: arp-answer, reaches: []}", ":7:51: ", "arp-reply"; "an unknown kind")]
#[test_case("to", "{from: one, send: arp-reply, reaches: []}",
    ":7:33: s: a frame of this kind needs `to`", ""; "nobody to answer")]
#[test_case("sender", "{from: three, send: dad, reaches: []}",
    ":7:33: s: from: \"three\" is not on a bridge of this node; there are: one, two", ""; "an unknown sender")]
#[test_case("with", "{from: one, send: arp-probe, with: {source-port: 1, about: two}, reaches: []}",
    ":7:33: s: with: a frame of this kind has no source-port, about", ""; "fields of another kind")]
#[test_case("frame-family", "{from: one, send: udp, to: two, with: {source-ip: 'fd00::1'}, reaches: []}",
    ":7:33: s: with: source-ip: fd00::1 is not of ipv4", ""; "an address of the other family")]
#[test_case("same", "{from: one, send: dhcp-client, reaches: two}, {from: one, send: dhcp-client, reaches: two}",
    ":7:79: s: it cannot be told from the frame from one@eth0 at line 7", ""; "two frames alike")]
fn a_bad_frame_is_refused(name: &str, frames: &str, place: &str, more: &str) {
    refused(name, &format!("{START}  - {{name: s, expect: {{frames: [{frames}]}}}}\n"), place, more);
}

fn refused(name: &str, text: &str, place: &str, more: &str) {
    let file = TemporaryFile::new(&format!("{name}.yaml"), text);
    let run = ended(sim(["run"]).arg(file.path()));
    let sentence = format!("error: {}{place}", file.path().display());
    let start = sentence.trim_end_matches(place);
    assert_eq!(run.status, Some(2), "{}{}", run.out, run.err);
    assert!(run.err.starts_with(start) && run.err.contains(place) && run.err.contains(more), "{}", run.err);
    assert_eq!(run.err.lines().count(), 1, "one sentence is asked for, not {}", run.err);
    assert_eq!(run.out, "", "nothing may run before every file is read");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let run = ended(&mut sim(["run", "no/such/file.yaml"]));
    assert_eq!(run.status, Some(2));
    assert!(run.err.starts_with("error: no/such/file.yaml: cannot be read: "), "{}", run.err);
}

#[test]
fn a_problem_of_a_policy_that_nobody_expects_fails_the_step() {
    let policy = r#"
objects:
  - apiVersion: k8s.cni.cncf.io/v1beta1
    kind: MultiNetworkPolicy
    metadata: {name: web, namespace: shop, annotations: {k8s.v1.cni.cncf.io/policy-for: data}}
    spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}
  - apiVersion: k8s.cni.cncf.io/v1
    kind: NetworkAttachmentDefinition
    metadata: {name: data, namespace: shop}
    spec: {config: '{"type": "bridge", "bridge": "br0"}'}
"#;
    let file = TemporaryFile::new("cidr-in-policy.yaml", &format!("{GOOD}{policy}"));
    let run = ended(sim(["run", "--arm", "model"]).arg(file.path()));
    assert_eq!(run.status, Some(1), "{}{}", run.out, run.err);
    assert!(
        run.out.contains(
            "reported, although not expected:\n  policy shop/web: spec.ingress[0].from[0].ipBlock.cidr: "
        ),
        "{}",
        run.out
    );
}

#[test]
fn missing_programs_are_named_with_the_command_that_installs_them() {
    let file = TemporaryFile::new("programs.yaml", GOOD);
    let run = ended(sim(["run"]).arg(file.path()).env("PATH", "/nonexistent"));
    assert_eq!(run.status, Some(2), "{}{}", run.out, run.err);
    let sentence = "error: arping and ping are not installed: run sudo apt-get install --yes iputils-arping iputils-ping\n";
    assert_eq!(run.err, sentence);
    assert_eq!(run.out, "");
}

#[test]
fn another_arping_is_refused() {
    let file = TemporaryFile::new("foreign.yaml", GOOD);
    let directory = std::env::temp_dir().join(format!("sim-test-{}-bin", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory can be written to");
    std::os::unix::fs::symlink("/bin/true", directory.join("arping")).expect("the directory is new");
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").expect("there is a search path"));
    let run = ended(sim(["run"]).arg(file.path()).env("PATH", path));
    std::fs::remove_dir_all(&directory).expect("it is ours");
    assert_eq!(run.status, Some(2), "{}{}", run.out, run.err);
    let sentence = "is not the arping of iputils: run sudo apt-get install --yes iputils-arping\n";
    assert!(run.err.ends_with(sentence), "{}", run.err);
}

/// What root without `CAP_SYS_ADMIN` is: root of an ordinary container.
#[test]
fn a_missing_privilege_is_named_with_the_way_out() {
    let file = TemporaryFile::new("privilege.yaml", GOOD);
    let mut powerless = Command::new("setpriv");
    powerless.args(["--bounding-set=-sys_admin", env!("CARGO_BIN_EXE_sim"), "run", "--arm", "netns"]);
    let run = ended(powerless.arg(file.path()));
    assert_eq!(run.status, Some(2), "{}{}", run.out, run.err);
    assert!(
        run.err.starts_with("error: cannot make network, mount and process namespaces (EPERM"),
        "{}",
        run.err
    );
    assert!(run.err.contains("run it with sudo"), "{}", run.err);
}

#[test]
fn the_isolated_half_refuses_to_run_on_the_host() {
    let file = TemporaryFile::new("inside.yaml", GOOD);
    let run = ended(sim(["inside"]).arg(file.path()).arg("mnt:[0]"));
    assert_eq!(run.status, Some(2));
    assert!(run.out.contains("use sim run FILE"), "{}", run.out);
}
