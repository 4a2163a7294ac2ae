//! How much of the core its own tests reach, by line, with cargo-llvm-cov.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::program::{Program, find, search_path};

/// Lines of the core that must be reached, in percent.
const LINES_MIN: &str = "95";

/// Runs the core's tests with instruments and prints the table of its files; with `html`, also writes the pages
/// `target/llvm-cov/html`.
///
/// # Errors
/// A tool is missing, a test fails, or too few lines are reached.
pub(crate) fn run(html: bool) -> Result<()> {
    if find("cargo-llvm-cov", &search_path()).is_none() {
        bail!("cargo-llvm-cov is not installed: run `cargo install --locked cargo-llvm-cov`");
    }
    if !has_llvm_tools()? {
        bail!("this Rust toolchain lacks the LLVM tools: run `rustup component add llvm-tools`");
    }
    Program::cargo().args(["llvm-cov", "--locked", "--package", "policy-core", "--no-report"]).run()?;
    if html {
        Program::cargo().args(["llvm-cov", "report", "--package", "policy-core", "--html"]).run()?;
    }
    Program::cargo()
        .args(["llvm-cov", "report", "--package", "policy-core", "--fail-under-lines", LINES_MIN])
        .run()
        .with_context(|| format!("the tests must reach {LINES_MIN} % of the core's lines"))
}

/// Whether the toolchain has `llvm-profdata`: rustup puts it beside the target's libraries.
fn has_llvm_tools() -> Result<bool> {
    let libraries = Program::new("rustc").args(["--print", "target-libdir"]).read()?;
    Ok(Path::new(libraries.trim_end()).with_file_name("bin").join("llvm-profdata").is_file())
}
