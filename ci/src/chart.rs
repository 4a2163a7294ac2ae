//! The Helm chart, tested with the real Helm: found, or built from its Go module.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::envtest;
use crate::program::{Program, find, search_path};

/// The release of Helm that is built when there is none.
const HELM: &str = "3.19.5";
/// The variable that names another one.
const VARIABLE: &str = "HELM";

/// Runs the tests of the chart, with these arguments for the test program.
///
/// # Errors
/// Helm or kubectl cannot be had, or a test fails.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let kubectl = envtest::programs()?.join("kubectl");
    let helm = helm()?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a program's path is not UTF-8");
    Program::cargo()
        .args(["test", "--locked", "--package", "mnp-nft-bridge", "--test", "chart", "--"])
        .args(arguments)
        .env(VARIABLE, &text(&helm)?)
        .env("KUBECTL", &text(&kubectl)?)
        .run()
}

/// Where Helm is; it is built when it is nowhere.
fn helm() -> Result<PathBuf> {
    if let Some(helm) = env::var_os(VARIABLE).map(PathBuf::from) {
        ensure!(helm.is_file(), "{VARIABLE} is {}, which is no file", helm.display());
        return Ok(helm);
    }
    if let Some(helm) = find("helm", &search_path()) {
        return Ok(helm);
    }
    let directory = envtest::cache()?.join(format!("helm-{HELM}"));
    let helm = directory.join("helm");
    if !helm.is_file() {
        envtest::require_go(&format!("set {VARIABLE} to a Helm of version 3 or 4"))?;
        crate::say(format_args!("building Helm {HELM} from its module, once"))?;
        let unfinished = directory.join("unfinished");
        let bin = unfinished.to_str().context("the cache's path is not UTF-8")?;
        fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {bin}"))?;
        let package = format!("helm.sh/helm/v3/cmd/helm@v{HELM}");
        Program::new("go")
            .args(["install", "-trimpath", "-ldflags", "-s -w", &package])
            .env("GOBIN", bin)
            .within(&directory)
            .run()?;
        fs::rename(unfinished.join("helm"), &helm).context("cannot move what was built")?;
        fs::remove_dir(&unfinished).with_context(|| format!("cannot remove {bin}"))?;
    }
    Ok(helm)
}
