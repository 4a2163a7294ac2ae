//! The committed inputs: `corpus/TARGET/NAME`, one file each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// One committed input.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its file.
    pub file: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The directory of a target's inputs.
pub fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of a target, by file name; there must be some.
pub fn entries(target: &str) -> Result<Vec<Entry>> {
    let directory = directory(target);
    let unreadable = || format!("cannot read {}", directory.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(&directory).with_context(unreadable)? {
        let file = entry.with_context(unreadable)?.path();
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        entries.push(Entry { file, bytes });
    }
    ensure!(!entries.is_empty(), "there is no input in {}", directory.display());
    entries.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(entries)
}
