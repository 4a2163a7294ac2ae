//! What a run says: its status, its output, its JUnit file, its schema.

use std::fs;

use crate::running::{GOOD, TemporaryFile, ended, sim};

/// [`GOOD`], but with an expectation that cannot hold.
fn wrong() -> String {
    format!("{GOOD}expect: {{closed: [{{from: one, to: two, via: [icmp]}}]}}\n")
}

#[test]
fn a_wrong_expectation_fails_on_both_arms_and_shows_the_matrix() {
    let file = TemporaryFile::new("wrong.yaml", &wrong());
    for arm in ["model", "netns"] {
        let run = ended(sim(["run", "--arm", arm]).arg(file.path()));
        assert_eq!(run.status, Some(1), "{}{}", run.out, run.err);
        let matrix = "icmp over ipv4; cells are wanted/got where they differ\n  \
                      from \\ to  one   two\n  \
                      one        -     closed/open\n  \
                      two        open  -\n";
        assert!(run.out.contains(matrix), "{}", run.out);
        assert!(run.out.contains("in \"the start\":"), "{}", run.out);
        assert!(run.out.contains(&format!("FAIL  {arm}  {}", file.path().display())), "{}", run.out);
        assert!(!run.out.contains('\x1b'), "colour belongs on a terminal");
    }
}

#[test]
fn a_frame_that_arrives_elsewhere_fails_on_both_arms_and_is_named() {
    let frame = "{from: one, send: arp-probe, reaches: []}";
    let file = TemporaryFile::new("frame.yaml", &format!("{GOOD}expect:\n  frames:\n    - {frame}\n"));
    for (arm, verbs) in [("model", &["reaches"][..]), ("netns", &["reaches", "by the evaluator reaches"])] {
        let run = ended(sim(["run", "--arm", arm]).arg(file.path()));
        assert_eq!(run.status, Some(1), "{}{}", run.out, run.err);
        for verb in verbs {
            let sentence = format!("the frame from one@eth0 at line 9 {verb} two@eth0; wanted: nobody");
            assert!(run.out.contains(&sentence), "{sentence:?} is missing in:\n{}", run.out);
        }
    }
}

#[test]
fn the_junit_file_counts_what_failed() {
    let (good, bad) =
        (TemporaryFile::new("junit-good.yaml", GOOD), TemporaryFile::new("junit-bad.yaml", &wrong()));
    let junit = TemporaryFile::new("junit.xml", "");
    let run =
        ended(sim(["run", "--arm", "model", "--junit"]).arg(junit.path()).arg(good.path()).arg(bad.path()));
    assert_eq!(run.status, Some(1), "{}{}", run.out, run.err);
    let text = fs::read_to_string(junit.path()).expect("it was written");
    assert!(text.contains(r#"<testsuite name="scenarios" tests="2" failures="1""#), "{text}");
    assert!(
        text.contains(&format!(r#"<testcase classname="model" name="{}""#, good.path().display())),
        "{text}"
    );
    assert!(text.contains("closed/open"), "{text}");
}

#[test]
fn quiet_says_nothing_about_what_passes() {
    let file = TemporaryFile::new("quiet.yaml", GOOD);
    let run = ended(sim(["run", "--quiet"]).arg(file.path()));
    assert_eq!((run.status, run.out.as_str(), run.err.as_str()), (Some(0), "", ""));
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let committed = include_str!("../../../scenarios/schema.json");
    let run = ended(&mut sim(["schema"]));
    assert!(run.out == committed, "run: cargo run -p sim -- schema > scenarios/schema.json");
}

#[test]
fn a_demonstration_tells_every_step() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/demo");
    let run = ended(&mut sim(["demo", directory]));
    assert_eq!(run.status, Some(0), "{}{}", run.out, run.err);
    for part in [
        "== the start ==",
        "from the event to the kernel's acknowledgement: ",
        "table bridge mnp-nft-bridge {",
        "add element bridge mnp-nft-bridge peers/",
        ", all as expected",
        "is gone with them",
    ] {
        assert!(run.out.contains(part), "{part:?} is missing in:\n{}", run.out);
    }
}

#[test]
fn a_directory_without_scenarios_is_no_demonstration() {
    let run = ended(&mut sim(["demo", env!("CARGO_MANIFEST_DIR")]));
    assert_eq!(run.status, Some(2));
    assert!(run.err.contains("there is no scenario (*.yaml) in it"), "{}", run.err);
}

#[test]
fn what_the_kernel_is_not_capable_of_is_asked_of_the_kernel_and_counted() {
    let text = format!("requires: [bridge-conntrack, vlan]\n{GOOD}");
    let file = TemporaryFile::new("requires.yaml", &text);
    let survey = ended(sim(["survey"]).arg(file.path()));
    assert_eq!(survey.status, Some(0), "{}{}", survey.out, survey.err);
    let run = ended(sim(["run", "--arm", "netns"]).arg(file.path()));
    assert_eq!(run.status, Some(0), "{}{}", run.out, run.err);
    let demanded = ended(sim(["run", "--arm", "netns", "--require-all"]).arg(file.path()));
    if survey.out.ends_with("1 run here, 0 do not\n") {
        assert!(run.out.ends_with("1 passed, 0 failed, 0 not run here\n"), "{}", run.out);
        assert_eq!(demanded.status, Some(0), "{}{}", demanded.out, demanded.err);
    } else {
        let line = format!("not run here  netns  {}  needs ", file.path().display());
        assert!(
            survey.out.starts_with(&line) && survey.out.ends_with("0 run here, 1 do not\n"),
            "{}",
            survey.out
        );
        assert!(run.out.starts_with(&line), "{}", run.out);
        assert!(run.out.ends_with("0 passed, 0 failed, 1 not run here\n"), "{}", run.out);
        assert_eq!(demanded.status, Some(1));
        assert!(demanded.out.ends_with("0 passed, 1 failed, 0 not run here\n"), "{}", demanded.out);
    }
}

#[test]
fn an_unknown_requirement_is_refused_with_the_known_ones() {
    let file = TemporaryFile::new("unknown-requirement.yaml", &format!("requires: [teleport]\n{GOOD}"));
    let run = ended(sim(["run", "--arm", "model"]).arg(file.path()));
    assert_eq!(run.status, Some(2));
    assert!(run.err.contains("teleport") && run.err.contains("bridge-conntrack"), "{}", run.err);
    assert!(run.err.contains(":1:"), "the line is named: {}", run.err);
}
