//! Debian's kernels: which package is the newest of a series, and what of it a machine needs.
//!
//! A kernel is downloaded and unpacked, never installed, into `target/vm/RELEASE`, and stays there until that directory is
//! removed. Packages of old releases leave the archive, so a kernel is named by its series.

use core::fmt;
use core::str::FromStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::image::{self, Packing};
use super::initramfs;
use crate::program::{Program, search_path};

/// A series of kernels, such as 6.12.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Series {
    major: u32,
    minor: u32,
}

impl Series {
    /// Those of Debian 12 and of Debian 13 (which Debian 12 has too), the older one first.
    pub(crate) const ALL: [Self; 2] = [Self { major: 6, minor: 1 }, Self { major: 6, minor: 12 }];
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }));
        numbers.ok_or_else(|| "a series is two numbers, such as 6.12".to_owned())
    }
}

/// A kernel that is ready to be booted.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// Its release, as `uname -r` prints it.
    pub(super) release: String,
    /// Where everything of it is.
    pub(super) directory: PathBuf,
}

impl Kernel {
    /// The unpacked kernel.
    pub(super) fn elf(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// Its modules, with their indexes.
    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules").join(&self.release)
    }

    /// The newest kernel of `series`: one that is in `cache`, else the newest of the archive.
    ///
    /// # Errors
    /// There is none, or it cannot be downloaded or unpacked.
    pub(super) fn of(series: Series, cache: &Path) -> Result<Self> {
        if let Some(release) = newest(series, cached(cache)?.into_iter()) {
            return Ok(Self { directory: cache.join(&release), release });
        }
        let known = Program::new("apt-cache").args(["pkgnames", "linux-image-"]).read()?;
        let releases = known.lines().filter_map(|package| package.strip_prefix("linux-image-"));
        let release = newest(series, releases).with_context(|| {
            format!(
                "apt knows no package linux-image-{series}.*-amd64: run apt-get update on a Debian 12 or 13, or choose \
                 another series with --kernel"
            )
        })?;
        let kernel = Self { directory: cache.join(&release), release };
        kernel.fetch(cache).with_context(|| format!("cannot prepare linux-image-{}", kernel.release))?;
        Ok(kernel)
    }

    /// Everything happens in a directory beside the final one, so that a kernel is in the cache whole or not at all.
    fn fetch(&self, cache: &Path) -> Result<()> {
        let draft = Self {
            release: self.release.clone(),
            directory: cache.join(format!(".{}-{}", self.release, std::process::id())),
        };
        fs::create_dir_all(&draft.directory)?;
        let fetched = draft.fill().and_then(|()| {
            // Somebody else may have been first.
            match fs::rename(&draft.directory, &self.directory) {
                Err(_) if self.elf().exists() => Ok(fs::remove_dir_all(&draft.directory)?),
                renamed => Ok(renamed?),
            }
        });
        if fetched.is_err() {
            // The first error is the one to tell.
            drop(fs::remove_dir_all(&draft.directory));
        }
        fetched
    }

    fn fill(&self) -> Result<()> {
        let package = format!("linux-image-{}", self.release);
        // Without the sandbox user's help, who may not write here.
        Program::new("apt-get")
            .args(["download", "-o", "APT::Sandbox::User=", &package])
            .within(&self.directory)
            .run()?;
        let archive = only_file(&self.directory)?;
        unpack(&archive, &self.directory)?;
        fs::remove_file(&archive)?;
        let packed = self.directory.join("boot").join(format!("vmlinuz-{}", self.release));
        let image = fs::read(&packed).with_context(|| format!("cannot read {}", packed.display()))?;
        let payload = image::payload(&image).with_context(|| format!("{}", packed.display()))?;
        let elf = unpacked(payload.packing, payload.packed)?;
        ensure!(
            elf.len() == payload.unpacked_length && elf.starts_with(b"\x7fELF"),
            "{} does not hold an ELF of the length it claims",
            packed.display()
        );
        fs::write(self.elf(), elf)?;
        Program::new("depmod").args([Path::new("-b"), &self.directory, Path::new(&self.release)]).run()?;
        initramfs::check(self)
    }
}

/// The releases in the cache.
fn cached(cache: &Path) -> Result<Vec<String>> {
    if !cache.exists() {
        return Ok(Vec::new());
    }
    let entries = cache.read_dir().with_context(|| format!("cannot read {}", cache.display()))?;
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    Ok(names?.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// The newest release of `series` for amd64 in Debian's plain flavour; neither `cloud` (without 9p) nor `rt`.
fn newest<S: AsRef<str>>(series: Series, releases: impl Iterator<Item = S>) -> Option<String> {
    let numbered =
        releases.filter_map(|release| Some((numbers(release.as_ref())?, release.as_ref().to_owned())));
    let of_series =
        numbered.filter(|([major, minor, ..], _)| (*major, *minor) == (series.major, series.minor));
    of_series.max().map(|(_, release)| release)
}

/// What a release is ordered by: `6.1.0-56-amd64` (Debian 12 and before) has a fourth number, `6.12.117+deb12-amd64` the
/// number of the distribution instead.
fn numbers(release: &str) -> Option<[u32; 4]> {
    let version = release.strip_suffix("-amd64")?;
    let (version, last) = version.split_once("+deb").or_else(|| version.split_once('-'))?;
    let mut parts = version.split('.').map(str::parse);
    let (major, minor, patch) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let last = last.split('.').next()?.parse().ok()?;
    parts.next().is_none().then_some([major, minor, patch, last])
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let entries: Result<Vec<_>, _> = directory.read_dir()?.collect();
    match entries?.as_slice() {
        [entry] => Ok(entry.path()),
        entries => bail!("apt-get download left {} files in {}", entries.len(), directory.display()),
    }
}

/// Unpacks a package without what no test uses: two thirds of it are drivers of hardware that is not there.
fn unpack(archive: &Path, directory: &Path) -> Result<()> {
    let mut package = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let contents = package.stdout.take().context("dpkg-deb has an output")?;
    let tar = Command::new("tar")
        .args(["--extract", "--wildcards", "--no-same-owner"])
        .args(["--exclude=./usr/share", "--exclude=*/kernel/sound", "--exclude=*/kernel/drivers/[!cnv]*"])
        .args(["--exclude=*/drivers/net/ethernet", "--exclude=*/drivers/net/wireless"])
        .arg("--directory")
        .arg(directory)
        .stdin(contents)
        .status()
        .context("cannot start tar")?;
    let package = package.wait().context("cannot wait for dpkg-deb")?;
    ensure!(tar.success() && package.success(), "cannot unpack {}", archive.display());
    Ok(())
}

/// What `packed` is when unpacked by the program for it.
pub(super) fn unpacked(packing: Packing, packed: &[u8]) -> Result<Vec<u8>> {
    let (program, arguments) = packing.program();
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let input = child.stdin.take().with_context(|| format!("{program} has an input"))?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut input = input;
            // A program that stops reading early says why by its exit status.
            drop(std::io::Write::write_all(&mut input, packed));
        });
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("cannot wait for {program}"))?;
    ensure!(output.status.success(), "{program} failed with {}", output.status);
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{Series, newest};

    const ARCHIVE: [&str; 9] = [
        "6.1.0-9-amd64",
        "6.1.0-56-amd64",
        "6.1.0-56-cloud-amd64",
        "6.1.0-57-amd64-unsigned",
        "6.12-amd64",
        "6.12.100+deb12-amd64",
        "6.12.99+deb12-amd64",
        "6.12.101+deb12-rt-amd64",
        "amd64",
    ];

    #[test_case("6.1" => Some("6.1.0-56-amd64".to_owned()); "numbers are not compared as text")]
    #[test_case("6.12" => Some("6.12.100+deb12-amd64".to_owned()); "neither the metapackage nor another flavour")]
    #[test_case("6.13" => None; "unknown series")]
    fn newest_plain_kernel_of_a_series_is_chosen(series: &str) -> Option<String> {
        newest(series.parse().expect("a series"), ARCHIVE.into_iter())
    }

    #[test]
    fn backport_of_a_backport_has_the_number_of_its_distribution() {
        let releases = ["6.12.9+deb13-amd64", "6.12.9+deb12.1-amd64"];
        let series = "6.12".parse().expect("a series");
        assert_eq!(newest(series, releases.into_iter()).as_deref(), Some("6.12.9+deb13-amd64"));
    }

    #[test_case("6"; "one number")]
    #[test_case("6.12.1"; "three numbers")]
    #[test_case("six.one"; "words")]
    fn what_is_no_series_is_refused(text: &str) {
        assert_eq!(text.parse::<Series>().expect_err("no series"), "a series is two numbers, such as 6.12");
    }
}
