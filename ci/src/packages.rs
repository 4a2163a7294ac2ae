//! The Debian packages that the demo, the tests, the image and the virtual machine need, by what they bring.
//!
//! A package counts as installed when what it brings is there, so other distributions work as long as that
//! exists. Two packages bring a program of the same name (`ping`, `arping`); the right one says `iputils` in its version.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::privilege::is_root;
use crate::program::{Program, find, search_path};

/// A package and how to see that it is there.
#[derive(Clone, Copy, Debug)]
struct Needed {
    package: &'static str,
    brings: Brings,
    by: Purpose,
}

/// What a package brings.
#[derive(Clone, Copy, Debug)]
enum Brings {
    /// A file at this place.
    File(&'static str),
    /// A shared library of this name, with any version in its file name.
    Library(&'static str),
    /// A program.
    Program(&'static str),
    /// A program whose answer to `-V` contains the word.
    ProgramBy(&'static str, &'static str),
}

/// What a package is needed for; whatever it is, those of the demo are needed too.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Purpose {
    /// `cargo ci demo`.
    Demo,
    /// `cargo ci image`.
    Image,
    /// `cargo ci test`.
    Tests,
    /// `cargo ci vm`.
    Vm,
}

impl Purpose {
    /// Whether whatever is needed for `other` is needed for this.
    fn includes(self, other: Self) -> bool {
        self == other || other == Self::Demo
    }
}

/// Everything the demo, the tests, the image and the virtual machine use besides Rust. A new need is a new row.
const NEEDED: [Needed; 20] = [
    Needed { package: "nftables", brings: Brings::Program("nft"), by: Purpose::Demo },
    Needed { package: "iproute2", brings: Brings::Program("ip"), by: Purpose::Demo },
    Needed { package: "iputils-ping", brings: Brings::ProgramBy("ping", "iputils"), by: Purpose::Demo },
    Needed { package: "iputils-arping", brings: Brings::ProgramBy("arping", "iputils"), by: Purpose::Demo },
    // nft looks up names of protocols there, `ipv6-icmp` for one.
    Needed { package: "netbase", brings: Brings::File("/etc/protocols"), by: Purpose::Demo },
    // For bindgen, with which `rustables` (the independent reader in the harness's tests) is built.
    Needed { package: "libclang1", brings: Brings::Library("libclang"), by: Purpose::Tests },
    // The plugins that attach pods on the cluster arm.
    Needed {
        package: "containernetworking-plugins",
        brings: Brings::File("/usr/lib/cni/bridge"),
        by: Purpose::Tests,
    },
    // The scripts for clusters with Docker: `play.sh` reads JSON, and all of them are checked.
    Needed { package: "jq", brings: Brings::Program("jq"), by: Purpose::Tests },
    Needed { package: "shellcheck", brings: Brings::Program("shellcheck"), by: Purpose::Tests },
    // The filter of system calls of container engines, in front of which the agent is tested.
    Needed {
        package: "golang-github-containers-common",
        brings: Brings::File("/usr/share/containers/seccomp.json"),
        by: Purpose::Tests,
    },
    Needed { package: "buildah", brings: Brings::Program("buildah"), by: Purpose::Image },
    // The compiler brings the program for this machine's own architecture.
    Needed {
        package: "gcc-aarch64-linux-gnu",
        brings: Brings::Program("aarch64-linux-gnu-gcc"),
        by: Purpose::Image,
    },
    Needed {
        package: "gcc-x86-64-linux-gnu",
        brings: Brings::Program("x86_64-linux-gnu-gcc"),
        by: Purpose::Image,
    },
    Needed {
        package: "qemu-user-static",
        brings: Brings::Program("qemu-aarch64-static"),
        by: Purpose::Image,
    },
    Needed { package: "qemu-system-x86", brings: Brings::Program("qemu-system-x86_64"), by: Purpose::Vm },
    Needed { package: "busybox-static", brings: Brings::Program("busybox"), by: Purpose::Vm },
    Needed { package: "kmod", brings: Brings::Program("depmod"), by: Purpose::Vm },
    Needed { package: "util-linux", brings: Brings::Program("setpriv"), by: Purpose::Vm },
    Needed { package: "xz-utils", brings: Brings::Program("xz"), by: Purpose::Vm },
    Needed { package: "zstd", brings: Brings::Program("zstd"), by: Purpose::Vm },
];

/// The packages missing for `purpose`, sorted.
pub(crate) fn missing(purpose: Purpose) -> Vec<&'static str> {
    select(purpose, |needed| !is_there(needed))
}

/// Installs what is missing as root; otherwise says how to.
///
/// # Errors
/// Not root and something is missing, or the installation failed.
pub(crate) fn ensure(purpose: Purpose) -> Result<()> {
    let missing = missing(purpose);
    if missing.is_empty() {
        return crate::say(format_args!("all there: {}", select(purpose, |_| true).join(" ")));
    }
    if !is_root()? {
        bail!("Debian packages are missing, install them with: {}", instruction(&missing));
    }
    if find("apt-get", &search_path()).is_none() {
        bail!(
            "there is no apt-get here: install with this system's own tool what {} bring",
            missing.join(", ")
        );
    }
    apt_get(&["update"])?;
    apt_get(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat())?;
    let still = self::missing(purpose);
    if !still.is_empty() {
        bail!("{} are installed and what they bring is still missing", still.join(", "));
    }
    Ok(())
}

/// The command that a user without root's rights has to run.
fn instruction(packages: &[&str]) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", packages.join(" "))
}

fn select(purpose: Purpose, is_wanted: impl Fn(&Needed) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> = NEEDED
        .iter()
        .filter(|needed| purpose.includes(needed.by) && is_wanted(needed))
        .map(|needed| needed.package)
        .collect();
    packages.sort_unstable();
    packages
}

fn is_there(needed: &Needed) -> bool {
    match needed.brings {
        Brings::File(path) => Path::new(path).exists(),
        Brings::Library(name) => library_directories().iter().any(|directory| has_library(directory, name)),
        Brings::Program(name) => find(name, &search_path()).is_some(),
        Brings::ProgramBy(name, word) => {
            find(name, &search_path()).is_some()
                && Program::new(name).args(["-V"]).read().is_ok_and(|version| version.contains(word))
        }
    }
}

/// Where bindgen looks for libclang: `LIBCLANG_PATH`, then the system's library directories down to the second level
/// (`/usr/lib/llvm-14/lib`).
fn library_directories() -> Vec<PathBuf> {
    let named = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let mut directories: Vec<PathBuf> = named.into_iter().collect();
    let mut level: Vec<PathBuf> = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from).to_vec();
    for _ in 0..3 {
        let below = level.iter().flat_map(|directory| subdirectories(directory)).collect();
        directories.append(&mut level);
        level = below;
    }
    directories
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn has_library(directory: &Path, name: &str) -> bool {
    let mut entries = directory.read_dir().into_iter().flatten().flatten();
    entries.any(|entry| is_library(&entry.file_name(), name) && entry.path().is_file())
}

/// Whether `file` is `NAME.so`, `NAME.so.VERSION` or `NAME-VERSION.so...`, and not another library that begins alike.
fn is_library(file: &OsStr, name: &str) -> bool {
    let Some(rest) = file.to_str().and_then(|file| file.strip_prefix(name)) else { return false };
    let is_versioned = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains(".so");
    rest == ".so" || rest.starts_with(".so.") || rest.strip_prefix('-').is_some_and(is_versioned)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    Program::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").run()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use test_case::test_case;

    use super::{Purpose, instruction, is_library, select};

    #[test]
    fn instruction_can_be_pasted_into_a_shell() {
        assert_eq!(
            instruction(&["iproute2", "nftables"]),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends iproute2 nftables"
        );
    }

    #[test]
    fn tests_need_what_the_demo_needs_and_more() {
        let (demo, tests) = (select(Purpose::Demo, |_| true), select(Purpose::Tests, |_| true));
        assert_eq!(demo, ["iproute2", "iputils-arping", "iputils-ping", "netbase", "nftables"]);
        assert!(demo.iter().all(|package| tests.contains(package)));
        assert!(tests.contains(&"libclang1"));
        let vm = select(Purpose::Vm, |_| true);
        assert!(demo.iter().all(|package| vm.contains(package)));
        assert!(vm.contains(&"qemu-system-x86") && !tests.contains(&"qemu-system-x86"));
    }

    #[test]
    fn only_packages_that_are_wanted_are_named() {
        assert_eq!(select(Purpose::Tests, |needed| needed.package == "nftables"), ["nftables"]);
    }

    #[test_case("libclang.so" => true)]
    #[test_case("libclang.so.1" => true)]
    #[test_case("libclang-14.so.14.0.6" => true; "version before and after")]
    #[test_case("libclang-18.1.so" => true; "two numbers before")]
    #[test_case("libclang-cpp.so.14" => false; "another library")]
    #[test_case("libclang_rt.so" => false; "a runtime library")]
    #[test_case("libclang.a" => false; "a static library")]
    fn shared_library_is_known_by_its_file_name(file: &str) -> bool {
        is_library(OsStr::new(file), "libclang")
    }
}
