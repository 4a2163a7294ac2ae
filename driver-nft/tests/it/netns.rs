//! What the tests against a real kernel share: a network namespace of their own, and nft's view of it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use policy_core::ruleset::{Op, Ruleset, TABLE};
use policy_core::{Generation, Scope, Transaction};
use serde_json::Value;

/// Runs `body` in a thread with a network namespace of its own, which is gone when the thread ends.
pub(crate) fn in_new_namespace<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let enter_and_run = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
            panic!(
                "cannot make a network namespace ({errno}): run these tests as root, or under `unshare -Urn`"
            )
        });
        body()
    };
    thread::scope(|scope| scope.spawn(enter_and_run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs nft with `input`; what it prints.
pub(crate) fn nft(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run nft ({error}): install the package `nftables`"));
    child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()).expect("nft reads its input");
    let output = child.wait_with_output().expect("nft ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments:?} failed: {errors}\n{input}");
    String::from_utf8(output.stdout).expect("nft prints UTF-8")
}

/// A transaction that makes `ruleset` from whatever is there.
pub(crate) fn replacement(ruleset: &Ruleset) -> Transaction {
    let (_, ops) = policy_core::ruleset::diff(&Ruleset::default(), ruleset);
    Transaction { generation: Generation(1), scope: Scope::Replace, ops }
}

/// A transaction of `ops` on the table as it is.
pub(crate) fn change(ops: impl Into<Vec<Op>>) -> Transaction {
    Transaction { generation: Generation(1), scope: Scope::Change, ops: ops.into() }
}

/// What nft lists of our table, as text and as JSON: without handles and counts, elements sorted.
pub(crate) fn listing() -> (Vec<String>, Value) {
    let text = nft(&["-s", "-n", "-y", "list", "table", "bridge", TABLE], "");
    let json: Value = serde_json::from_str(&nft(&["-j", "-s", "list", "table", "bridge", TABLE], ""))
        .expect("nft prints JSON");
    (normal_text(&text), normal_json(json))
}

/// Lines in order of the alphabet within each block, because the kernel lists elements in no order; the elements of
/// one set may share lines, so words are what is sorted.
fn normal_text(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for block in text.split("\n\n") {
        match block.split_once("elements = {") {
            None => blocks.push(block.to_owned()),
            Some((head, elements)) => {
                let mut elements: Vec<_> = elements.split([',', '}']).map(str::trim).collect();
                elements.sort_unstable();
                blocks.push(format!("{head}{elements:?}"));
            }
        }
    }
    blocks.sort();
    blocks
}

fn normal_json(mut json: Value) -> Value {
    let objects = json.get_mut("nftables").and_then(Value::as_array_mut).expect("a list of objects");
    objects.retain(|object| object.get("metainfo").is_none());
    for object in objects.iter_mut() {
        normalise(object);
    }
    // Objects in order of kind, chain and name; rules of one chain stay in their order.
    objects.sort_by_key(|object| {
        let (kind, body) = object.as_object().and_then(|object| object.iter().next()).expect("one kind");
        let word = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        (kind.clone(), word("chain"), word("name"))
    });
    json
}

fn normalise(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("handle");
            if let Some(Value::Array(elements)) = fields.get_mut("elem") {
                elements.sort_by_key(Value::to_string);
            }
            fields.values_mut().for_each(normalise);
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// Runs `ip` with these words; install the package `iproute2` if it is missing.
pub(crate) fn ip(words: &str) {
    run("ip", words.split_whitespace());
}

/// Runs `bridge` with these words; install the package `iproute2` if it is missing.
pub(crate) fn bridge(words: &str) {
    run("bridge", words.split_whitespace());
}

/// Runs a program that must succeed.
fn run(program: &str, words: impl IntoIterator<Item: AsRef<OsStr>>) {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program} ({error}): install `iproute2`"));
    assert!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
}

/// Another network namespace, held by a process that does nothing.
pub(crate) struct Peer(Child);

impl Peer {
    /// Makes the namespace.
    pub(crate) fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of the package util-linux");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is a pipe"))
            .read_line(&mut line)
            .expect("it speaks");
        assert_eq!(line, "ready\n", "cannot make a network namespace: run these tests as root");
        Self(child)
    }

    /// The process that holds the namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs a command inside.
    pub(crate) fn run(&self, command: &str) {
        let target = format!("--target={}", self.pid());
        run("nsenter", [target.as_str(), "--net"].into_iter().chain(command.split_whitespace()));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.0.stdin.take());
        self.0.wait().expect("the holder of a namespace ends");
    }
}
