//! The static program for one architecture.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Architecture, NAME};
use crate::program::Program;
use crate::toolchain;

/// The profile of the workspace for what is shipped.
const PROFILE: &str = "image";

/// Builds it; the file.
pub(super) fn build(architecture: Architecture, target_directory: &Path) -> Result<PathBuf> {
    let target = architecture.target();
    toolchain::ensure_target(&target)?;
    // GNU's compilers do for musl, too: what is in C (`ring`) calls nothing of a C library, and rustc brings musl itself.
    let compiler = format!("{}-linux-gnu-gcc", architecture.machine);
    let upper = target.to_uppercase().replace('-', "_");
    let mut cargo = Program::cargo()
        .args(["build", "--locked", "--profile", PROFILE, "--package", NAME, "--target", &target])
        .env(&format!("CC_{}", target.replace('-', "_")), &compiler)
        .env(&format!("CARGO_TARGET_{upper}_RUSTFLAGS"), &remapped()?);
    if architecture.machine != std::env::consts::ARCH {
        cargo = cargo.env(&format!("CARGO_TARGET_{upper}_LINKER"), &compiler);
    }
    cargo.run()?;
    Ok(target_directory.join(target).join(PROFILE).join(NAME))
}

/// Flags that keep the places of this machine out of the program.
fn remapped() -> Result<String> {
    let here = std::env::current_dir().context("cannot tell the current directory")?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let packages = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let flag = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(format!("{} {}", flag(&here, "/src"), flag(&packages, "/registry")))
}
