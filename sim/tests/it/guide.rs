//! The case that scenarios/README.md begins with.

use std::fs;

use crate::running::{TemporaryFile, ended, sim};

#[test]
fn smallest_case_of_the_guide_passes_and_its_failure_looks_as_shown() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/README.md");
    let guide = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let block = |fence: &str, at: &str| {
        let blocks = guide.split("```").filter_map(|block| block.strip_prefix(fence));
        blocks.map(str::trim_start).find(|block| block.contains(at)).expect("a block of the guide").to_owned()
    };
    let case = block("yaml", "description: ");
    let file = TemporaryFile::new("guide.yaml", &case);
    let name = file.path().to_str().expect("a path in UTF-8");
    let good = ended(&mut sim(["run", "--arm", "model", name]));
    assert_eq!(good.status, Some(0), "{} {}", good.out, good.err);

    let wrong = case.replace("closed: [{from: client, to: web}]", "open: [{from: client, to: web}]");
    assert_ne!(wrong, case);
    let file = TemporaryFile::new("guide-wrong.yaml", &wrong);
    let name = file.path().to_str().expect("a path in UTF-8");
    let bad = ended(&mut sim(["run", "--arm", "model", name]));
    assert_eq!(bad.status, Some(1), "{}", bad.err);
    assert!(bad.out.contains(block("text", "wanted/got").trim_end()), "{}", bad.out);
}
