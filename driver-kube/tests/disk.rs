//! Networks whose configuration lies on the node's disk.

use std::fs;
use std::path::PathBuf;

use driver_kube::cni::{CniError, on_disk};

/// A directory with these files, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for the test");
        for (file, text) in files {
            fs::write(path.join(file), text).expect("a file for the test");
        }
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test's directory can be removed");
    }
}

#[test]
fn the_first_file_of_the_name_counts() {
    let files = [
        ("10-other.conf", r#"{"name":"other","type":"macvlan"}"#),
        ("20-data.txt", r#"{"name":"data","type":"ipvlan"}"#),
        ("30-data.conflist", r#"{"name":"data","plugins":[{"type":"bridge","bridge":"br-disk"}]}"#),
        ("40-data.json", r#"{"name":"data","type":"macvlan"}"#),
    ];
    let directory = Directory::new("first", &files);
    assert_eq!(on_disk(&directory.0, "data").unwrap(), files[2].1);
    assert_eq!(on_disk(&directory.0, "other").unwrap(), files[0].1);
}

#[test]
fn a_name_that_no_file_has_is_named() {
    let directory = Directory::new("none", &[("a.conf", r#"{"type":"bridge"}"#)]);
    let error = on_disk(&directory.0, "data").unwrap_err();
    assert!(matches!(error, CniError::NotFound { .. }));
    assert!(error.to_string().ends_with(r#"has the name "data""#), "{error}");
}

#[test]
fn a_broken_file_is_named_when_no_other_is_found() {
    let directory =
        Directory::new("broken", &[("a.conf", "{"), ("b.conf", r#"{"name":"data","type":"bridge"}"#)]);
    assert!(on_disk(&directory.0, "data").is_ok());
    let error = on_disk(&directory.0, "other").unwrap_err();
    assert!(error.to_string().contains("a.conf"), "{error}");
}

#[test]
fn a_missing_directory_is_named() {
    let error = on_disk(&PathBuf::from("/nonexistent/net.d"), "data").unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/net.d: "), "{error}");
}
