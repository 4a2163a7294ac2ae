//! The parts of the Rust toolchain that the checks need beyond the compiler.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::program::{Program, find, search_path};

/// A target without an operating system: the core must build for it, which proves that it does no I/O.
pub(crate) const BARE_METAL: &str = "x86_64-unknown-none";

/// Makes sure rustfmt, clippy and the bare-metal target are installed, through rustup where one is missing.
///
/// # Errors
/// Something is missing and rustup is not there, or cannot install it.
pub(crate) fn ensure() -> Result<()> {
    for component in ["rustfmt", "clippy"] {
        let verb = component.strip_prefix("rust").unwrap_or(component);
        if !Program::cargo().args([verb, "--version"]).succeeds() {
            add("component", component)?;
        }
    }
    ensure_target(BARE_METAL)?;
    crate::say(Program::new("rustc").args(["--version"]).read()?.trim_end())
}

/// Makes sure that the compiler can build for `target`, through rustup where it cannot.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_target(target: &str) -> Result<()> {
    if has_target(target)? { Ok(()) } else { add("target", target) }
}

fn has_target(target: &str) -> Result<bool> {
    let directory = Program::new("rustc").args(["--print", "target-libdir", "--target", target]).read()?;
    let directory = Path::new(directory.trim_end());
    if !directory.is_dir() {
        return Ok(false);
    }
    let mut libraries =
        directory.read_dir().with_context(|| format!("cannot read {}", directory.display()))?.flatten();
    Ok(libraries.any(|library| library.file_name().to_string_lossy().starts_with("libcore-")))
}

fn add(what: &str, name: &str) -> Result<()> {
    if find("rustup", &search_path()).is_none() {
        bail!(
            "this Rust toolchain lacks the {what} {name} and there is no rustup to add it: install Rust with rustup"
        );
    }
    Program::new("rustup").args([what, "add", name]).run()
}
