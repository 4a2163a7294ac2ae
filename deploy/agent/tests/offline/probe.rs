//! `probe`: the kernel's capabilities as text and as JSON.

use crate::program::{list, run, text};

#[test]
fn text_and_json_say_the_same_about_every_capability() {
    let lines = run("probe").answer();
    let json = run("probe --output json").json();
    let found = list(&json, "/capabilities");
    let chosen = list(&json, "/chosen");
    let state = chosen.first().and_then(|line| line.as_str()).expect("a line");
    assert!(lines.contains(state) && state.starts_with("state: "), "{lines}");
    let conntrack = found.iter().any(|found| found["name"] == "bridge-conntrack" && found["present"] == true);
    assert_eq!(text(&json, "/state") == "Conntrack", conntrack, "{state}");
    assert!(found.len() >= 5 && lines.lines().count() >= found.len(), "{lines}");
    for capability in found {
        let name = text(capability, "/name");
        let line = lines.lines().find(|line| line.split(' ').next() == Some(name)).expect(name);
        let present = capability["present"].as_bool().expect("yes or no");
        assert_eq!(line.contains(" present "), present, "{line}");
        assert_eq!(line.contains(" missing: "), !present, "{line}");
        assert_eq!(capability["error"].is_null(), present, "{capability}");
    }
}
