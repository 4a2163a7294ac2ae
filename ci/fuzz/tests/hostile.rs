//! Inputs too large to commit: generated, tried on every target that reads text, within generous bounds of time and memory.

use core::fmt::Write as _;
use core::time::Duration;
use std::fs;

use fuzz::campaign::trial;
use fuzz::{TARGETS, Target, corpus, find};

/// A mebibyte, the most that etcd takes for an object.
const MEBIBYTE: usize = 1 << 20;

/// Very generous: the machine may be busy, and the build is not optimized.
const PATIENCE: Duration = Duration::from_mins(1);

/// The most memory that this program may ever have used, in kibibytes.
const MEMORY_MAX: u64 = 2 << 20;

/// Runs a target; `what` names the input.
fn run(target: &Target, what: &str, input: &[u8]) {
    let named = || format!("{}, {what}, {} bytes", target.name, input.len());
    let (showed, took) = trial(target, input);
    assert!(showed.is_ok(), "{}: {showed:?}", named());
    assert!(took < PATIENCE, "{} took {took:?}", named());
    let peak = memory_peak();
    assert!(peak < MEMORY_MAX, "{} took {peak} KiB", named());
}

/// The most memory that this program has used so far (`VmHWM` of `/proc/self/status`), in kibibytes.
fn memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Nesting of every bracket, closed and open.
fn nested(depth: usize) -> Vec<(String, String)> {
    let pairs =
        [("[", "", "]"), ("{\"a\":", "1", "}"), ("{a: ", "1", "}"), ("[[],", "1", "]"), ("- ", "a", "")];
    pairs
        .iter()
        .flat_map(|(open, middle, close)| {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            [
                (format!("nesting to depth {depth}"), format!("{open}{middle}{close}")),
                (format!("open nesting to depth {depth}"), format!("{open}{middle}")),
                (format!("nesting to depth {depth} in a field"), format!("a: {open}{middle}{close}\n")),
            ]
        })
        .collect()
}

/// Block mappings, each inside the one before.
fn stairs(depth: usize) -> String {
    (0..depth).fold(String::new(), |mut text, level| {
        let blanks = " ".repeat(level);
        let _infallible = writeln!(text, "{blanks}a:");
        text
    })
}

/// Texts that hurt whatever the format is.
fn texts() -> Vec<(String, String)> {
    let pieces = [
        "x",
        " ",
        "\n",
        "\t",
        "\"",
        "[",
        "{",
        "]",
        "}",
        "- ",
        "a: ",
        "&a ",
        "*a ",
        ",",
        ":",
        "\\",
        "#",
        "!",
        "|",
        "? ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\u{feff}",
        "\u{0}",
        "é",
        "\u{10ffff}",
        "0",
        "9",
        "-",
        "1e9",
        "<<: *a\n",
        "[]",
        "{}",
        "'",
        "a,",
        "\\u0000",
    ];
    let mut texts: Vec<_> = pieces
        .iter()
        .map(|piece| (format!("a mebibyte of {piece:?}"), piece.repeat(MEBIBYTE / piece.len())))
        .collect();
    texts.extend([30, 60, 127, 128, 1_000, 100_000].into_iter().flat_map(nested));
    texts.extend([50, 1_000].map(|depth| (format!("stairs to depth {depth}"), stairs(depth))));
    texts.push(("a number of 100000 digits".into(), "7".repeat(100_000)));
    texts.push(("a fraction of 100000 digits".into(), format!("[0.{}]", "7".repeat(100_000))));
    texts.push(("an alias to a long text, ten thousand times".into(), {
        format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(10_000), "*a,".repeat(10_000))
    }));
    texts.push(("a key of a mebibyte".into(), format!("{{\"{}\": 1}}", "k".repeat(MEBIBYTE))));
    texts.push(("ten thousand keys".into(), {
        let keys: Vec<_> = (0..10_000).map(|key| format!("\"k{key}\":{key}")).collect();
        format!("{{{}}}", keys.join(","))
    }));
    texts
}

/// One test for each target, so that they run side by side and a failure names its target.
fn try_texts(name: &str) {
    let target = find(name).expect("the target exists");
    for (what, text) in texts() {
        run(target, &what, text.as_bytes());
    }
    // The same within what the target does read, where it is in order.
    let entry = corpus::entries(name).expect("the corpus is readable").swap_remove(0);
    let text = String::from_utf8(entry.bytes).expect("the first input of a text target is text");
    for (what, hurt) in texts().into_iter().filter(|(_, text)| text.len() < MEBIBYTE / 4) {
        for quote in [text.find('"'), text.find(':'), text.find(',')].into_iter().flatten() {
            let (before, after) = text.split_at(quote + 1);
            run(target, &what, format!("{before}{hurt}{after}").as_bytes());
        }
    }
}

#[test]
fn manifests_of_any_text() {
    try_texts("manifest");
}

#[test]
fn network_configurations_of_any_text() {
    try_texts("network-config");
}

#[test]
fn network_status_of_any_text() {
    try_texts("network-status");
}

#[test]
fn policies_of_any_text() {
    try_texts("policy");
}

#[test]
fn lists_of_networks_of_any_text() {
    try_texts("policy-for");
}

#[test]
fn scenarios_of_any_text() {
    try_texts("scenario");
}

fn repeated(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(",")
}

fn address(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}

#[test]
fn ten_thousand_peers() {
    let policy = find("policy").expect("the target exists");
    let blocks = repeated(10_000, |at| format!(r#"{{"ipBlock":{{"cidr":"{}/32"}}}}"#, address(2 * at)));
    run(policy, "blocks", format!(r#"{{"podSelector":{{}},"ingress":[{{"from":[{blocks}]}}]}}"#).as_bytes());
    let holes = repeated(10_000, |at| format!(r#""{}/32""#, address(2 * at)));
    let spec = format!(
        r#"{{"podSelector":{{}},"ingress":[{{"from":[{{"ipBlock":{{"cidr":"10.0.0.0/8","except":[{holes}]}}}}]}}]}}"#
    );
    run(policy, "exceptions", spec.as_bytes());
    let selectors =
        repeated(10_000, |at| format!(r#"{{"podSelector":{{"matchLabels":{{"app":"w{at}"}}}}}}"#));
    run(
        policy,
        "selectors",
        format!(r#"{{"podSelector":{{}},"ingress":[{{"from":[{selectors}]}}]}}"#).as_bytes(),
    );
    let wrong = repeated(10_000, |_| r#"{"ipBlock":{"cidr":"10.0.0.0/33"}}"#.to_owned());
    run(
        policy,
        "unusable peers",
        format!(r#"{{"podSelector":{{}},"egress":[{{"to":[{wrong}]}}]}}"#).as_bytes(),
    );
}

#[test]
fn ten_thousand_rules_ports_and_requirements() {
    let policy = find("policy").expect("the target exists");
    let rules = repeated(10_000, |at| format!(r#"{{"ports":[{{"port":{}}}]}}"#, 1 + at));
    run(policy, "rules", format!(r#"{{"podSelector":{{}},"ingress":[{rules}]}}"#).as_bytes());
    let ports = repeated(10_000, |at| format!(r#"{{"port":{}}}"#, 1 + 2 * at));
    run(policy, "ports", format!(r#"{{"podSelector":{{}},"ingress":[{{"ports":[{ports}]}}]}}"#).as_bytes());
    let names = repeated(10_000, |at| format!(r#"{{"port":"p{at}"}}"#));
    run(
        policy,
        "named ports",
        format!(r#"{{"podSelector":{{}},"egress":[{{"ports":[{names}]}}]}}"#).as_bytes(),
    );
    let requirements = repeated(10_000, |at| format!(r#"{{"key":"k{at}","operator":"DoesNotExist"}}"#));
    let spec = format!(r#"{{"podSelector":{{"matchExpressions":[{requirements}]}},"ingress":[]}}"#);
    run(policy, "requirements", spec.as_bytes());
    let values = repeated(10_000, |at| format!(r#""v{at}""#));
    let spec = format!(
        r#"{{"podSelector":{{"matchExpressions":[{{"key":"app","operator":"In","values":[{values}]}}]}},"ingress":[]}}"#
    );
    run(policy, "values", spec.as_bytes());
    let types = repeated(10_000, |_| r#""ingress""#.to_owned());
    run(policy, "types", format!(r#"{{"podSelector":{{}},"policyTypes":[{types}]}}"#).as_bytes());
}

/// The API server takes annotations of 256 KiB in all (`TotalAnnotationSizeLimitB`); a file may hold more.
#[test]
fn an_annotation_of_a_mebibyte() {
    let status = find("network-status").expect("the target exists");
    let entries = repeated(10_000, |at| {
        format!(
            r#"{{"name":"data","interface":"n{at}","mac":"02:00:00:00:{:02x}:{:02x}","ips":["{}"]}}"#,
            at >> 8,
            at & 255,
            address(at)
        )
    });
    run(status, "attachments", format!("[{entries}]").as_bytes());
    let addresses = repeated(50_000, |at| format!(r#""{}""#, address(at)));
    run(
        status,
        "addresses",
        format!(r#"[{{"name":"data","interface":"net1","ips":[{addresses}]}}]"#).as_bytes(),
    );
    let wrong = repeated(50_000, |_| r#"{"name":7}"#.to_owned());
    run(status, "unusable entries", format!("[{wrong}]").as_bytes());
    let networks = find("policy-for").expect("the target exists");
    run(networks, "networks", repeated(100_000, |at| format!("n{at}")).as_bytes());
    run(networks, "networks of many namespaces", repeated(50_000, |at| format!("ns{at}/data")).as_bytes());
    run(networks, "unusable networks", "a b,".repeat(MEBIBYTE / 4).as_bytes());
}

#[test]
fn many_objects_in_one_file() {
    let manifest = find("manifest").expect("the target exists");
    let pod =
        |at: usize| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{at}, namespace: shop}}\n");
    let pods: Vec<String> = (0..2_000).map(pod).collect();
    let pods = pods.concat();
    run(manifest, "pods", pods.as_bytes());
    let aliases = "- *a\n".repeat(5_000);
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:\n- &a {{apiVersion: v1, kind: Pod, metadata: {{name: a}}}}\n{aliases}"
    );
    run(manifest, "aliases of one pod", text.as_bytes());
}

/// Whatever the kernel's answer is cut to, and wherever a length lies.
#[test]
fn dumps_cut_anywhere() {
    cut_anywhere(find("netlink-dump").expect("the target exists"), "a-small-table.bin");
}

/// The same of what it tells by itself.
#[test]
fn logged_frames_cut_anywhere() {
    cut_anywhere(find("frame-log").expect("the target exists"), "two-pings.bin");
}

/// Tries what is left of an input of netlink when it is cut, and when a number in it is wrong.
fn cut_anywhere(target: &Target, input: &str) {
    let entries = corpus::entries(target.name).expect("the corpus is readable");
    let entry = entries.iter().find(|entry| entry.file.ends_with(input)).expect("it is there");
    for at in (0..entry.bytes.len()).step_by(4) {
        let (head, _) = entry.bytes.split_at(at);
        run(target, "a cut", head);
        for (place, number) in [(at, 0_u16), (at, 5), (at, 0xffff), (at + 2, 1)] {
            let mut bytes = entry.bytes.clone();
            bytes.splice(place..place + 2, number.to_ne_bytes());
            run(target, "a wrong number", &bytes);
        }
    }
}

/// Every byte of a frame, changed to what starts, ends or misleads a header.
#[test]
fn frames_with_any_byte() {
    let target = find("frame").expect("the target exists");
    for entry in corpus::entries(target.name).expect("the corpus is readable") {
        for at in 0..entry.bytes.len() {
            for byte in [0, 1, 6, 17, 43, 44, 51, 58, 60, 0x40, 0x45, 0x4f, 0x60, 0x7f, 0x81, 0xff] {
                let mut bytes = entry.bytes.clone();
                bytes.splice(at..=at, [byte]);
                run(target, "a wrong byte", &bytes);
            }
        }
    }
}

/// A target that reads text and is not tried above would be forgotten here.
#[test]
fn every_target_is_tried() {
    let source = include_str!("hostile.rs");
    for target in TARGETS {
        let tried =
            ["try_texts", "find"].iter().any(|how| source.contains(&format!("{how}({:?})", target.name)));
        assert!(tried, "{} is not tried", target.name);
    }
}
