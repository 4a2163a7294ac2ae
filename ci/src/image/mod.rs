//! The agent's image: built without a daemon and without a base, taken apart again, and run.
//!
//! ```text
//! static program per architecture -> context -> buildah -> OCI layout -> archive
//!        (program)                  (notices)                (layout) \-> root -> what it does (proof)
//! ```
//!
//! The same commit gives the same bytes: times are the commit's, paths of this machine do not get into the program, and
//! everything that is in the archive has the same owner.

mod layout;
mod notices;
mod program;
mod proof;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::metadata::Metadata;
use crate::packages::{self, Purpose};
use crate::program::Program;

/// The package that is shipped, which is also the name of its program and its image.
const NAME: &str = "mnp-nft-bridge";
/// The recipe.
const RECIPE: &str = "deploy/image/Containerfile";

/// An architecture that the agent is shipped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Architecture {
    /// As images call it (`GOARCH`).
    name: &'static str,
    /// As compilers and emulators call it.
    machine: &'static str,
}

const ARCHITECTURES: [Architecture; 2] =
    [Architecture { name: "amd64", machine: "x86_64" }, Architecture { name: "arm64", machine: "aarch64" }];

impl Architecture {
    /// The target of the compiler: static programs.
    fn target(self) -> String {
        format!("{}-unknown-linux-musl", self.machine)
    }
}

/// What the image says about itself.
struct Identity {
    version: String,
    description: String,
    /// The commit; with `-dirty` when files differ from it.
    revision: String,
    /// When the commit was made, in seconds since 1970: `SOURCE_DATE_EPOCH` (reproducible-builds.org), if it is set.
    epoch: String,
}

/// Builds the image for all architectures into `target/image`, prints what is in it, and runs it; also against a real API
/// server, if that is wished.
///
/// # Errors
/// Something is missing, does not build, or does not do what it should.
pub(crate) fn run(with_cluster: bool) -> Result<()> {
    packages::ensure(Purpose::Image)?;
    let metadata = Metadata::read_workspace()?;
    let identity = Identity::read(&metadata)?;
    let place = metadata.target_directory.join("image");
    let context = place.join("context");
    let layout = place.join("layout");
    for directory in [&context, &layout] {
        remove(directory)?;
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    for architecture in ARCHITECTURES {
        let built = program::build(architecture, &metadata.target_directory)?;
        let directory = context.join(architecture.name);
        fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        fs::copy(&built, directory.join(NAME)).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    fs::copy("LICENSE", context.join("LICENSE")).context("cannot copy LICENSE")?;
    fs::write(context.join("THIRD-PARTY"), notices::read()?).context("cannot write the notices")?;
    build(&identity, &context, &place)?;
    let archive = place.join(format!("{NAME}-{}.oci.tar", identity.version));
    layout::archive(&layout, &identity.epoch, &archive)?;
    let images = layout::read(&layout)?;
    ensure!(images.len() == ARCHITECTURES.len(), "there are {} images in the layout", images.len());
    for architecture in ARCHITECTURES {
        let image = images
            .iter()
            .find(|image| image.architecture == architecture.name)
            .with_context(|| format!("there is no image for {}", architecture.name))?;
        let root = place.join("root").join(architecture.name);
        image.unpack(&layout, &root)?;
        image.print(&root)?;
        proof::run(architecture, &root, &identity.version, with_cluster)?;
    }
    let size = archive.metadata().context("cannot measure the archive")?.len();
    crate::say(format_args!("{}: {size} bytes, index {}", archive.display(), layout::index_digest(&layout)?))
}

impl Identity {
    fn read(metadata: &Metadata) -> Result<Self> {
        let package = metadata.members().find(|member| member.name == NAME);
        let package = package.with_context(|| format!("the workspace has no package {NAME}"))?;
        let git = |arguments: &[&str]| Program::new("git").args(arguments).read();
        let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
        let mark = if changed.is_empty() { "" } else { "-dirty" };
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => git(&["log", "-1", "--format=%ct"])?,
        };
        Ok(Self {
            version: package.version.clone(),
            description: package.description.clone().unwrap_or_default(),
            revision: format!("{}{mark}", git(&["rev-parse", "HEAD"])?.trim()),
            epoch: epoch.trim().to_owned(),
        })
    }

    /// Labels of the OCI image specification (annotations.md, "Pre-Defined Annotation Keys").
    fn labels(&self) -> Vec<String> {
        let labels = [
            ("title", NAME),
            ("description", &self.description),
            ("version", &self.version),
            ("revision", &self.revision),
            ("licenses", "Apache-2.0"),
        ];
        let labels = labels.map(|(key, value)| format!("--label=org.opencontainers.image.{key}={value}"));
        labels.into()
    }

    /// What nodes call the image when nobody says where it comes from.
    fn reference(&self) -> String {
        format!("docker.io/library/{NAME}:{}", self.version)
    }
}

/// Builds the images with a storage of their own, and writes all of them as one OCI layout.
fn build(identity: &Identity, context: &Path, place: &Path) -> Result<()> {
    let storage = place.join("storage");
    remove(&storage)?;
    let buildah = || {
        // No overlays: they do not nest.
        let stores = [("--root", "root"), ("--runroot", "run")]
            .map(|(option, name)| format!("{option}={}", storage.join(name).display()));
        Program::new("buildah").args(stores).args(["--storage-driver=vfs"])
    };
    let reference = identity.reference();
    for architecture in ARCHITECTURES {
        buildah()
            .args(["bud", "--isolation=chroot", "--format=oci", "--identity-label=false", "--quiet"])
            .args([format!("--platform=linux/{}", architecture.name), format!("--manifest={reference}")])
            .args([format!("--timestamp={}", identity.epoch), format!("--file={RECIPE}")])
            .args(identity.labels())
            .args([context])
            .run()?;
    }
    let layout = format!("oci:{}:{reference}", place.join("layout").display());
    buildah().args(["manifest", "push", "--all", "--quiet", &reference, &layout]).run()?;
    remove(&storage)
}

/// Removes a directory that may be there.
fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}
