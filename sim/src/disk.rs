//! The Multus configuration directory of a scenario: a real directory, for as long as manifests are read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::mkdtemp;

use crate::scenario::DiskFile;

/// A directory with the files of a scenario; it goes away with this value.
#[derive(Debug)]
pub struct ConfigDirectory {
    path: PathBuf,
}

/// Why there is no such directory.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The directory or a file cannot be written.
    #[error("cannot write {name}: {reason}")]
    Io {
        /// What cannot be written.
        name: String,
        /// Why.
        reason: io::Error,
    },
    /// A name that is no plain file name.
    #[error("{0:?} is not the plain name of a file")]
    Name(String),
    /// Two files of one name.
    #[error("{0} is there twice")]
    Twice(String),
}

impl ConfigDirectory {
    /// Writes `files` to a new directory.
    pub fn with(files: &[DiskFile]) -> Result<Self, DiskError> {
        let io = |name: &str, reason| DiskError::Io { name: name.to_owned(), reason };
        let template = std::env::temp_dir().join("sim-cni-XXXXXX");
        let path = mkdtemp(&template).map_err(|errno| io("a temporary directory", errno.into()))?;
        let directory = Self { path };
        for DiskFile { name, text } in files {
            if name.is_empty() || name.len() > 255 || name.starts_with('.') || name.contains(['/', '\0']) {
                return Err(DiskError::Name(name.chars().take(100).collect()));
            }
            let file = directory.path.join(name);
            if file.exists() {
                return Err(DiskError::Twice(name.clone()));
            }
            fs::write(file, text).map_err(|reason| io(name, reason))?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ConfigDirectory {
    fn drop(&mut self) {
        // Nobody can be told, and a directory in the place for temporary ones harms nobody.
        drop(fs::remove_dir_all(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn file(name: &str) -> DiskFile {
        DiskFile { name: name.to_owned(), text: "{}".to_owned() }
    }

    #[test]
    fn the_directory_goes_away_with_its_files() {
        let directory =
            ConfigDirectory::with(&[file("10-a.conf"), file("20-b.conflist")]).expect("good names");
        let path = directory.path().to_owned();
        assert_eq!(fs::read_to_string(path.join("20-b.conflist")).expect("it is there"), "{}");
        drop(directory);
        assert!(!path.exists());
    }

    #[test_case(&["../a.conf"] => "\"../a.conf\" is not the plain name of a file"; "elsewhere")]
    #[test_case(&[""] => "\"\" is not the plain name of a file"; "no name")]
    #[test_case(&["a.conf", "a.conf"] => "a.conf is there twice"; "twice")]
    fn other_names_are_refused(names: &[&str]) -> String {
        let files: Vec<DiskFile> = names.iter().map(|name| file(name)).collect();
        ConfigDirectory::with(&files).expect_err("a bad name").to_string()
    }
}
