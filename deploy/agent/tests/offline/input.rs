//! Where manifests come from, and what the program says when there are none.

use std::fs;

use test_case::test_case;

use crate::program::{run, run_with};

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b}}";

#[test]
fn standard_input_joins_files() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests/shop/cluster.yaml"))
        .expect("the file is there");
    let question = "--from shop/web --to shop/db --port tcp/5432 --output json";
    let piped = run_with(&text, &format!("explain -f - -f shop/policies {question}")).json();
    let read = run(&format!("explain -f shop/cluster.yaml -f shop/policies {question}")).json();
    assert_eq!(piped, read);
    assert_eq!(read["flows"][0]["allowed"], false);
}

#[test]
fn problems_are_noted_beside_an_answer() {
    let ran = run_with(POD, "render -f - -f shop/policies/db.yaml --node n");
    let note = "note: these manifests have 1 problem, which `mnp-nft-bridge check` lists\n";
    assert!(ran.stderr.starts_with(note), "{}", ran.stderr);
    assert_eq!(ran.status, 0);
}

#[test_case("", "there is no pod, namespace, network or policy in -"; "nothing")]
#[test_case("{apiVersion: v1, kind: Service, metadata: {name: a}}", "there is no pod, namespace, network or policy in -"; "another kind")]
#[test_case("{apiVersion: v1, kind: Pod, metadata: {}}", "-:1:39: Pod without a name: metadata: missing field `name`"; "a pod without a name")]
#[test_case("{apiVersion: v1, kind: Pod, metadata: {}}\n---\n{apiVersion: v2, kind: Pod}",
    "-:1:39: Pod without a name: metadata: missing field `name`; 1 more: `check` lists them"; "two mistakes")]
fn input_without_manifests_is_refused(input: &str, wanted: &str) {
    assert_eq!(run_with(input, "render -f - --node n").error(), wanted);
}

#[test_case("nowhere.yaml", "cannot read nowhere.yaml: No such file or directory (os error 2)"; "missing file")]
#[test_case("../offline", "there is no .yaml, .yml or .json file in ../offline"; "directory without manifests")]
fn paths_that_cannot_be_read_are_named(path: &str, wanted: &str) {
    for verb in ["check", "render --node n", "matrix --network a/b --port icmp"] {
        assert_eq!(run(&format!("{verb} -f {path}")).error(), wanted);
    }
}

#[test]
fn text_that_is_no_yaml_is_named_with_its_place() {
    let error = run_with("a: [1,\n", "matrix -f - --network a/b --port icmp").error();
    assert!(error.starts_with("-:1:4: "), "{error}");
}

#[test]
fn a_source_is_needed() {
    let ran = run("check");
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("--filename <PATH>"), "{}", ran.stderr);
}

#[test_case("bash"; "bash")]
#[test_case("fish"; "fish")]
#[test_case("zsh"; "zsh")]
fn every_verb_is_completed(shell: &str) {
    let text = run(&format!("completions {shell}")).answer();
    for word in ["check", "completions", "explain", "matrix", "render", "from-address"] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}
