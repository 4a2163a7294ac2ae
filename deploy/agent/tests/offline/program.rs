//! Running the built program in the directory of the test's manifests.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output of a run that must have answered.
    pub(crate) fn answer(self) -> String {
        assert_eq!(self.status, 0, "{}", self.stderr);
        self.stdout
    }

    /// The same as JSON.
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.answer()).expect("the answer is JSON")
    }

    /// The error of a run that must not have answered.
    pub(crate) fn error(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (2, ""), "{}", self.stderr);
        let error = self.stderr.strip_prefix("error: ").and_then(|text| text.strip_suffix('\n'));
        error.unwrap_or_else(|| panic!("no error: {}", self.stderr)).to_owned()
    }
}

/// Runs the program with these words and `input` on its standard input.
pub(crate) fn run_with(input: &str, words: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mnp-nft-bridge"))
        .args(words.split_whitespace())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that does not read its input may be gone already.
    drop(child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
    Ran {
        status: output.status.code().expect("the program ends by itself"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs the program with these words.
pub(crate) fn run(words: &str) -> Ran {
    run_with("", words)
}

/// What is at `pointer` (RFC 6901) of an answer.
pub(crate) fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// The text at `pointer`.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    at(value, pointer).as_str().unwrap_or_else(|| panic!("{pointer} is no text in {value}"))
}

/// The list at `pointer`.
pub(crate) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    at(value, pointer).as_array().unwrap_or_else(|| panic!("{pointer} is no list in {value}"))
}
