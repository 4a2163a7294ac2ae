//! Every dependency that a manifest declares is named in the package's sources.
//!
//! One that nobody uses is built by everybody, and its licence and advisories are answered for all the same.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::house;
use crate::metadata::{Metadata, Package};

/// Looks for every declared dependency in the sources of its package.
///
/// # Errors
/// A source cannot be read, or dependencies are named nowhere: then all of them are listed.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let mut unused = Vec::new();
    for package in metadata.members() {
        let directory = package.manifest_path.parent().context("a manifest lies in a directory")?;
        let sources = read_all(directory)?;
        unused.extend(unused_by(package, &sources));
    }
    if !unused.is_empty() {
        bail!("dependencies that no source names:\n  {}", unused.join("\n  "));
    }
    crate::say(format_args!("every declared dependency is used"))
}

/// The sources of a package, and those of others that it takes in by their paths.
fn read_all(directory: &Path) -> Result<String> {
    let read =
        |file: &_| fs::read_to_string(file).with_context(|| format!("cannot read {}", Path::display(file)));
    let mut all = String::new();
    for file in house::sources(directory)? {
        let source = read(&file)?;
        let beside = file.parent().context("a source lies in a directory")?;
        for taken in elsewhere(&source) {
            all.push_str(&read(&beside.join(taken))?);
        }
        all.push_str(&source);
    }
    Ok(all)
}

/// The paths that modules of a source are taken from.
fn elsewhere(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"))
}

fn unused_by(package: &Package, sources: &str) -> Vec<String> {
    let names = package.dependencies.iter().map(|dependency| &dependency.name);
    let unused = names.filter(|name| !is_named(&name.replace('-', "_"), sources));
    unused.map(|name| format!("{}: {name}", package.name)).collect()
}

/// Whether `name` stands in `sources` as a word.
fn is_named(name: &str, sources: &str) -> bool {
    let part_of_a_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    sources.match_indices(name).any(|(at, _)| {
        let (before, after) = (sources.get(..at), sources.get(at + name.len()..));
        !before.is_some_and(|text| text.ends_with(part_of_a_word))
            && !after.is_some_and(|text| text.starts_with(part_of_a_word))
    })
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{elsewhere, is_named};

    #[test]
    fn modules_may_be_taken_from_elsewhere() {
        let source = "mod a;\n#[path = \"../../x.rs\"]\nmod x;\n";
        assert_eq!(elsewhere(source).collect::<Vec<_>>(), ["../../x.rs"]);
    }

    #[test_case("use serde_json::Value;", true; "used")]
    #[test_case("let value = serde_json::to_value(1);", true; "by path")]
    #[test_case("use my_serde_json::Value;", false; "end of another name")]
    #[test_case("use serde_json5::Value;", false; "beginning of another name")]
    #[test_case("", false; "nothing")]
    fn name_counts_as_a_word(source: &str, expected: bool) {
        assert_eq!(is_named("serde_json", source), expected);
    }
}
