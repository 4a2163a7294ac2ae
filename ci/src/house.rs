//! The house rules that a program can check in the text of the sources.
//!
//! What the compiler and clippy can see is in the workspace's lint table; here is the rest: every file opens with a
//! paragraph, none is long, none is called after nothing in particular, and no test is switched off or waits for time to
//! pass.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Longest source file, in lines.
const LONGEST_FILE: usize = 500;

/// Names of modules that say nothing.
const EMPTY_NAMES: [&str; 4] = ["common", "misc", "util", "utils"];

/// What must not be written, and where (`tests`: in test files only). The words are split so that this file does not
/// contain them.
const FORBIDDEN: [Forbidden; 5] = [
    Forbidden { text: concat!("to", "do!"), tests_only: false, why: "finish it or leave it out" },
    Forbidden { text: concat!("unimple", "mented!"), tests_only: false, why: "finish it or leave it out" },
    Forbidden {
        text: concat!("#[ig", "nore"),
        tests_only: false,
        why: "a test that does not run proves nothing",
    },
    Forbidden { text: concat!("macro_", "rules!"), tests_only: false, why: "write a function" },
    Forbidden { text: concat!("sle", "ep("), tests_only: true, why: "wait for an event, not for time" },
];

#[derive(Clone, Copy, Debug)]
struct Forbidden {
    text: &'static str,
    tests_only: bool,
    why: &'static str,
}

/// Checks every Rust source below `root`.
///
/// # Errors
/// A file or directory cannot be read, or rules are broken: then all of them are listed.
pub(crate) fn check(root: &Path) -> Result<()> {
    let files = sources(root)?;
    if files.is_empty() {
        bail!("there is no Rust source below {}", root.display());
    }
    let mut faults = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        faults.extend(faults_in(file.strip_prefix(root).unwrap_or(file), &text));
    }
    if !faults.is_empty() {
        bail!("house rules are broken:\n  {}", faults.join("\n  "));
    }
    crate::say(format_args!("{} files keep the house rules", files.len()))
}

/// Every `.rs` file below `root`, sorted, without hidden directories and build output.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let unreadable = || format!("cannot read {}", directory.display());
        for entry in fs::read_dir(&directory).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let (path, kind) = (entry.path(), entry.file_type().with_context(unreadable)?);
            let name = entry.file_name();
            // Cargo marks its build output (<https://bford.info/cachedir/>); a module may be called the same.
            let is_output = || path.join("CACHEDIR.TAG").exists();
            if kind.is_dir() && !name.to_string_lossy().starts_with('.') && !is_output() {
                waiting.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn faults_in(file: &Path, text: &str) -> Vec<String> {
    let shown = file.display();
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{shown}:1: a file opens with a `//!` paragraph that says what it is"));
    }
    let length = text.lines().count();
    if length > LONGEST_FILE {
        faults.push(format!("{shown}:{length}: a file has at most {LONGEST_FILE} lines; divide it"));
    }
    if file.file_stem().is_some_and(|stem| EMPTY_NAMES.iter().any(|name| stem == *name)) {
        faults.push(format!("{shown}:1: the name says nothing; call it after what it holds"));
    }
    let is_test = file.components().any(|part| part.as_os_str() == "tests");
    for (line, number) in text.lines().zip(1_usize..) {
        for Forbidden { text, tests_only, why } in FORBIDDEN {
            if line.contains(text) && (is_test || !tests_only) {
                faults.push(format!("{shown}:{number}: no `{text}` here: {why}"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use test_case::test_case;

    use super::{FORBIDDEN, LONGEST_FILE, faults_in, sources};

    fn faults(file: &str, text: &str) -> Vec<String> {
        faults_in(Path::new(file), text)
    }

    #[test]
    fn good_file_has_no_faults() {
        assert_eq!(faults("core/src/diff.rs", "//! What changed.\nfn diff() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn file_without_an_opening_paragraph_is_refused() {
        let expected = ["core/src/diff.rs:1: a file opens with a `//!` paragraph that says what it is"];
        assert_eq!(faults("core/src/diff.rs", "use std::fmt;\n"), expected);
        assert_eq!(faults("core/src/diff.rs", ""), expected);
    }

    #[test_case(LONGEST_FILE, 0; "longest allowed")]
    #[test_case(LONGEST_FILE + 1, 1; "one line too many")]
    fn length_is_limited(lines: usize, expected: usize) {
        assert_eq!(faults("sim/src/plan.rs", &"//!\n".repeat(lines)).len(), expected);
    }

    #[test]
    fn file_called_after_nothing_is_refused() {
        let expected = ["sim/src/utils.rs:1: the name says nothing; call it after what it holds"];
        assert_eq!(faults("sim/src/utils.rs", "//! Things.\n"), expected);
    }

    #[test]
    fn every_forbidden_text_is_found_with_its_line() {
        for forbidden in FORBIDDEN {
            let text = format!("//! A test.\n\n{}\n", forbidden.text);
            let found = faults("core/tests/law.rs", &text);
            let expected = format!("core/tests/law.rs:3: no `{}` here: {}", forbidden.text, forbidden.why);
            assert_eq!(found, [expected]);
            assert_eq!(faults("core/src/law.rs", &text).is_empty(), forbidden.tests_only);
        }
    }

    #[test]
    fn this_crate_is_found_and_build_output_is_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = sources(root).expect("the directory is readable");
        assert!(found.contains(&root.join("src/house.rs")));
        assert!(found.contains(&root.join("fuzz/src/target/mod.rs")), "it only looks like build output");
        let workspace = root.parent().expect("this crate lies in the workspace");
        let built = |file: &Path| file.ancestors().any(|directory| directory.join("CACHEDIR.TAG").exists());
        let found = sources(workspace).expect("the directory is readable");
        assert!(!found.iter().any(|file| built(file)));
    }
}
