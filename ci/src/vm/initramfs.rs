//! What the machine starts with: a static busybox, the init script, and the modules that are loaded at once.

use alloc::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::archive::Archive;
use super::image::Packing;
use super::kernel::{Kernel, unpacked};
use crate::program::{Program, find, search_path};

/// Process 1 of the machine.
const INIT: &str = include_str!("../../vm/init");

/// Without these there is no output and no file system.
const REQUIRED: [&str; 5] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];
/// Loaded at once these take 10 ms each, and 100 ms each when the kernel asks for them later.
const USUAL: [&str; 11] = [
    "8021q",
    "bridge",
    "nf_conntrack_bridge",
    "nf_tables",
    "nfnetlink_log",
    "nft_ct",
    "nft_limit",
    "nft_log",
    "nft_meta_bridge",
    "nft_reject_bridge",
    "veth",
];
/// What busybox is called as by the init script.
const APPLETS: [&str; 14] = [
    "cp",
    "date",
    "hostname",
    "insmod",
    "ip",
    "ln",
    "mkdir",
    "mount",
    "mv",
    "sh",
    "sleep",
    "switch_root",
    "sync",
    "umount",
];

/// A static busybox: one that needs no loader.
///
/// # Errors
/// There is none.
pub(super) fn busybox() -> Result<Vec<u8>> {
    let path = find("busybox", &search_path()).context("busybox is not installed")?;
    let program = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let loader = b"/ld-linux";
    if program.windows(loader.len()).any(|window| window == loader) {
        bail!("{} is linked dynamically: install the package busybox-static instead", path.display());
    }
    Ok(program)
}

/// Writes the initramfs of `kernel` to `file`, all of it at once: another machine may be starting from it.
///
/// # Errors
/// Something of it is missing, or `file` cannot be written.
pub(super) fn write(kernel: &Kernel, file: &Path) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "job", "lower", "modules", "proc", "root", "sys", "upper"] {
        archive.directory(directory);
    }
    archive.program("bin/busybox", &busybox()?);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.program("init", INIT.as_bytes());
    for (at, path) in modules(kernel)?.iter().enumerate() {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let bytes = match Packing::of(&bytes) {
            Some(packing) => unpacked(packing, &bytes)?,
            None => bytes,
        };
        archive.program(&format!("modules/{at:03}-{}.ko", module_name(path)), &bytes);
    }
    let draft = file.with_extension(std::process::id().to_string());
    let written = fs::write(&draft, archive.finish()).and_then(|()| fs::rename(&draft, file));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// Checks that `kernel` has the modules that a machine cannot do without.
///
/// # Errors
/// One is missing.
pub(super) fn check(kernel: &Kernel) -> Result<()> {
    modules(kernel).map(drop)
}

/// The files of the modules that are loaded at once, each after those it depends on.
fn modules(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for name in REQUIRED.into_iter().chain(USUAL) {
        let listed = Program::new("modprobe")
            .args(["--show-depends", "--set-version", &kernel.release, "--dirname"])
            .args([&kernel.directory])
            .args([name])
            .read()
            .with_context(|| format!("{} has no module {name}", kernel.release))?;
        files.extend(listed.lines().filter_map(module_file).filter(|file| seen.insert(file.clone())));
    }
    Ok(files)
}

/// The file in a line that `modprobe --show-depends` prints: `insmod FILE OPTIONS` or `builtin NAME`.
fn module_file(line: &str) -> Option<PathBuf> {
    line.strip_prefix("insmod ")?.split_whitespace().next().map(PathBuf::from)
}

/// The module's name: that of its file without `.ko` and what follows.
fn module_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split_once(".ko").map_or(name.clone(), |(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use test_case::test_case;

    use super::{APPLETS, INIT, module_file, module_name};

    #[test_case("insmod /k/lib/modules/6.1/net/veth.ko ", Some("/k/lib/modules/6.1/net/veth.ko"); "a file")]
    #[test_case("insmod /k/a.ko.xz option=1", Some("/k/a.ko.xz"); "a file with options")]
    #[test_case("builtin virtio_pci", None; "part of the kernel")]
    fn file_of_a_module_is_read_from_the_list(line: &str, expected: Option<&str>) {
        assert_eq!(module_file(line).as_deref(), expected.map(Path::new));
    }

    #[test_case("/k/veth.ko" => "veth")]
    #[test_case("/k/nf_tables.ko.xz" => "nf_tables")]
    fn module_is_named_by_its_file(path: &str) -> String {
        module_name(Path::new(path))
    }

    #[test]
    fn init_script_uses_only_programs_that_are_there() {
        let built_in = ["case", "command", "echo", "exec", "export", "furnish", "read", "say"];
        for line in INIT.lines().map(str::trim) {
            let Some(word) = line.split_whitespace().next() else { continue };
            if word.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !line.contains(") ") {
                let known = APPLETS.contains(&word) || built_in.contains(&word);
                let keyword = ["done", "esac", "for", "until"].contains(&word);
                assert!(known || keyword, "{word} in {line:?} is not in the initramfs");
            }
        }
    }
}
