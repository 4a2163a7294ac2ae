//! The licences of what is in the program, as distributing it asks for.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{ARCHITECTURES, NAME};
use crate::licences;
use crate::metadata::{Metadata, Package};

/// How the files begin in which packages put their licences.
const BEGINNINGS: [&str; 5] = ["COPYING", "COPYRIGHT", "LICENCE", "LICENSE", "NOTICE"];

/// Every package that is linked into the program, with its licence, and then each text once.
pub(super) fn read() -> Result<String> {
    let mut packages = BTreeSet::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for architecture in ARCHITECTURES {
        let metadata = Metadata::read_graph(&architecture.target())?;
        for (package, _) in licences::linked(&metadata, &[NAME])?.into_values() {
            if metadata.workspace_members.contains(&package.id) {
                continue;
            }
            let Package { name, version, license, .. } = package;
            packages.insert(format!("{name} {version}: {}", license.as_deref().unwrap_or("no licence")));
            for text in texts_of(package)? {
                texts.entry(text).or_default().insert(format!("{name} {version}"));
            }
        }
    }
    let mut all = format!(
        "{NAME} contains the following packages of others, the standard library of Rust (Apache-2.0 OR MIT) and the\n\
         C library musl (MIT, copyright 2005-2024 Rich Felker and others). Their texts follow.\n\n"
    );
    for package in packages {
        writeln!(all, "{package}")?;
    }
    for (text, packages) in texts {
        let packages: Vec<String> = packages.into_iter().collect();
        write!(all, "\n{}\n{}\n\n{text}\n", "=".repeat(80), packages.join(", "))?;
    }
    Ok(all)
}

/// The licence texts in a package's directory.
fn texts_of(package: &Package) -> Result<Vec<String>> {
    let directory = package.manifest_path.parent().unwrap_or_else(|| Path::new("."));
    let unreadable = || format!("cannot read {}", directory.display());
    let mut texts = Vec::new();
    for entry in fs::read_dir(directory).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.path().is_file() && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
            let text =
                fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
            texts.push(String::from_utf8_lossy(&text).trim_end().replace('\r', ""));
        }
    }
    texts.sort();
    Ok(texts)
}
