//! OCI layouts (image-spec, image-layout.md): what was built, read back from the files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::remove;
use crate::program::Program;

/// An image of one architecture.
pub(super) struct Image {
    pub(super) architecture: String,
    digest: String,
    layers: Vec<Descriptor>,
    config: Config,
}

#[derive(Clone, Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
}

/// `index.json`, and an index of architectures.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// The configuration of an image (image-spec, config.md).
#[derive(Deserialize)]
struct Config {
    created: String,
    config: Execution,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    entrypoint: Vec<String>,
    labels: alloc::collections::BTreeMap<String, String>,
}

/// The images in a layout with one index.
pub(super) fn read(layout: &Path) -> Result<Vec<Image>> {
    let index: Index = blob(layout, &index_digest(layout)?)?;
    let mut images = Vec::new();
    for described in index.manifests {
        let manifest: Manifest = blob(layout, &described.digest)?;
        images.push(Image {
            architecture: described.platform.context("an image without a platform")?.architecture,
            digest: described.digest,
            config: blob(layout, &manifest.config.digest)?,
            layers: manifest.layers,
        });
    }
    Ok(images)
}

/// The digest by which everything in the layout is fixed.
pub(super) fn index_digest(layout: &Path) -> Result<String> {
    let top: Index = json(&layout.join("index.json"))?;
    let [index] = top.manifests.as_slice() else {
        anyhow::bail!("the layout holds {} indexes", top.manifests.len())
    };
    Ok(index.digest.clone())
}

/// Writes the layout as one file, the same one from the same layout.
pub(super) fn archive(layout: &Path, epoch: &str, archive: &Path) -> Result<()> {
    Program::new("tar")
        .args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"])
        .args([format!("--mtime=@{epoch}"), format!("--file={}", archive.display())])
        .args([format!("--directory={}", layout.display())])
        .args(["blobs", "index.json", "oci-layout"])
        .run()
}

impl Image {
    /// Unpacks it into `root`, anew.
    pub(super) fn unpack(&self, layout: &Path, root: &Path) -> Result<()> {
        remove(root)?;
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        for layer in &self.layers {
            let file = blob_file(layout, &layer.digest)?;
            Program::new("tar")
                .args([format!("--directory={}", root.display()), format!("--file={}", file.display())])
                .args(["--extract", "--gzip", "--no-same-owner"])
                .run()?;
        }
        Ok(())
    }

    /// Prints what it is and every file in it.
    pub(super) fn print(&self, root: &Path) -> Result<()> {
        let packed: u64 = self.layers.iter().map(|layer| layer.size).sum();
        let unpacked: u64 = files(root)?.iter().map(|(_, size)| size).sum();
        crate::say(format_args!("\nlinux/{}  {}", self.architecture, self.digest))?;
        crate::say(format_args!("  created     {}", self.config.created))?;
        crate::say(format_args!("  entrypoint  {}", self.config.config.entrypoint.join(" ")))?;
        for (key, value) in &self.config.config.labels {
            crate::say(format_args!("  label       {key}={value}"))?;
        }
        for (file, size) in files(root)? {
            crate::say(format_args!("  {size:>10}  /{}", file.display()))?;
        }
        crate::say(format_args!("  {unpacked:>10}  bytes in all, {packed} packed"))
    }
}

/// The files below `root` with their sizes, by name.
fn files(root: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in
            fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?
        {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else {
                let path = entry.path();
                found.push((path.strip_prefix(root).unwrap_or(&path).to_owned(), metadata.len()));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn blob<T: DeserializeOwned>(layout: &Path, digest: &str) -> Result<T> {
    json(&blob_file(layout, digest)?)
}

fn blob_file(layout: &Path, digest: &str) -> Result<PathBuf> {
    let (algorithm, hash) = digest.split_once(':').with_context(|| format!("{digest} is no digest"))?;
    let file = layout.join("blobs").join(algorithm).join(hash);
    ensure!(file.is_file(), "the layout lacks {}", file.display());
    Ok(file)
}

fn json<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot use {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{archive, index_digest, read};

    /// A layout with one image of nothing, in a directory of its own.
    fn layout(name: &str) -> PathBuf {
        let layout = std::env::temp_dir().join(format!("mnp-nft-bridge-{name}-{}", std::process::id()));
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("a directory");
        let write = |file: &Path, text: &str| fs::write(file, text).expect("a file");
        write(&layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#);
        write(&layout.join("index.json"), r#"{"manifests": [{"digest": "sha256:1", "size": 1}]}"#);
        let index =
            r#"{"manifests": [{"digest": "sha256:2", "size": 1, "platform": {"architecture": "arm64"}}]}"#;
        write(&blobs.join("1"), index);
        write(&blobs.join("2"), r#"{"config": {"digest": "sha256:3", "size": 1}, "layers": []}"#);
        write(&blobs.join("3"), r#"{"created": "then", "config": {"Entrypoint": ["/a"], "Labels": {}}}"#);
        layout
    }

    #[test]
    fn images_are_found_through_the_index() {
        let layout = layout("read");
        let images = read(&layout).expect("a layout");
        let architectures: Vec<&str> = images.iter().map(|image| image.architecture.as_str()).collect();
        assert_eq!(architectures, ["arm64"]);
        fs::remove_file(layout.join("blobs/sha256/3")).expect("it is there");
        let error = read(&layout).err().expect("a file is missing");
        assert!(error.to_string().starts_with("the layout lacks "), "{error}");
        assert_eq!(index_digest(&layout).expect("an index"), "sha256:1");
        fs::remove_dir_all(layout).expect("it is there");
    }

    #[test]
    fn same_layout_gives_the_same_archive_whenever_it_was_written() {
        let (first, second) = (layout("first"), layout("second"));
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        let index = fs::File::options().write(true).open(second.join("index.json")).expect("it is there");
        index.set_modified(long_ago).expect("its time can be set");
        let packed = |layout: &Path| {
            let file = layout.join("packed.tar");
            archive(layout, "1", &file).expect("tar of the package tar");
            fs::read(file).expect("an archive")
        };
        assert!(packed(&first) == packed(&second), "the archives differ");
        for layout in [first, second] {
            fs::remove_dir_all(layout).expect("it is there");
        }
    }
}
