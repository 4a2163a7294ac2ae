//! Files that nothing here runs: the scripts and workflows for machines with Docker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of a directory of the project with this ending.
fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
    let listed = directory.read_dir().unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|file| file.extension().is_some_and(|extension| extension == ending));
    found.sort();
    assert!(!found.is_empty(), "no .{ending} in {}", directory.display());
    found
}

#[test]
fn shellcheck_finds_nothing_wrong_with_the_scripts() {
    let output = Command::new("shellcheck")
        .args(files("ci/kind", "sh"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/run"))
        .output()
        .expect("install the package shellcheck, or run `cargo ci packages`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn workflows_and_clusters_are_yaml_with_what_their_readers_ask_for() {
    for (directory, ending, keys) in [
        (".github/workflows", "yaml", ["name", "on", "jobs"]),
        ("ci/kind", "yaml", ["kind", "apiVersion", "nodes"]),
    ] {
        for file in files(directory, ending) {
            let text =
                fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let read: serde_json::Value =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            for key in keys {
                assert!(read.get(key).is_some(), "{}: no {key}", file.display());
            }
        }
    }
}

/// Words of a text that begin with a room of the house: paths of the project.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let is_end = |c: char| c.is_whitespace() || "`()[],;:*{}|\"'<>?".contains(c);
    let rooms = [
        "ci/",
        "control-plane/",
        "core/",
        "deploy/",
        "driver-kube/",
        "driver-nft/",
        "scenarios/",
        "sim/",
        ".ci/",
    ];
    let words = text.split(is_end).map(|word| word.trim_end_matches('.'));
    words.filter(move |word| rooms.iter().any(|room| word.starts_with(room)))
}

#[test]
fn every_path_that_a_guide_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for guide in
        ["README.md", "deploy/README.md", "scenarios/README.md", ".github/CONTRIBUTING.md", "SECURITY.md"]
    {
        let text = fs::read_to_string(root.join(guide)).unwrap_or_else(|error| panic!("{guide}: {error}"));
        for path in paths(&text).filter(|path| !path.contains("my-case") && !path.contains("NN-topic")) {
            assert!(root.join(path).exists(), "{guide} names {path}, which is not there");
            count += 1;
        }
    }
    assert!(count > 20, "only {count} paths were found");
}
