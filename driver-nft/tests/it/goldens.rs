//! The core's reviewed texts (`core/tests/golden`), read by the real nft: each whole table loads into a namespace of its
//! own, and so does each transaction that leads on from it.

use std::path::{Path, PathBuf};

use crate::netns::{in_new_namespace, nft};

/// Every golden file, sorted.
fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden");
    let entries = std::fs::read_dir(&directory).expect("the core's goldens are beside this crate");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// The file of the table that `file` leads on from, if it is a transaction.
fn base_of(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    let (base, _) = name.split_once(".then-")?;
    Some(file.with_file_name(format!("{base}.nft")))
}

#[test]
fn nft_loads_every_golden() {
    let read = |file: &Path| {
        std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let (mut tables, mut transactions) = (0, 0);
    for file in files() {
        let text = read(&file);
        in_new_namespace(|| {
            if let Some(base) = base_of(&file) {
                nft(&["-f", "-"], &read(&base));
                transactions += 1;
            } else {
                tables += 1;
            }
            nft(&["-c", "-f", "-"], &text);
            nft(&["-f", "-"], &text);
        });
    }
    assert!(tables >= 3 && transactions >= 5, "only {tables} tables and {transactions} transactions");
}
