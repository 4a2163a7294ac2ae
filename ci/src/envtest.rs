//! The programs of a real control plane: found, or built from their Go modules.
//!
//! They are looked for in `KUBEBUILDER_ASSETS`, then asked of `setup-envtest`, then built into a cache, once per version.
//! A build takes ten minutes on two cores.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::program::{Program, find, search_path};

/// The release of Kubernetes that tests run against.
const KUBERNETES: &str = "1.35.4";
/// The release of etcd.
const ETCD: &str = "3.6.5";
/// The variable by which every tool of this kind finds the programs.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// A program, the module that it is built from, and the package in it.
#[derive(Clone, Copy)]
struct Built {
    program: &'static str,
    module: &'static str,
    version: &'static str,
    package: &'static str,
}

const PROGRAMS: [Built; 3] = [
    Built {
        program: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        version: ETCD,
        package: "go.etcd.io/etcd/server/v3",
    },
    Built {
        program: "kube-apiserver",
        module: "k8s.io/kubernetes",
        version: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
    },
    Built {
        program: "kubectl",
        module: "k8s.io/kubernetes",
        version: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kubectl",
    },
];

/// The directory of the programs; they are built when they are nowhere.
///
/// # Errors
/// They cannot be built: Go is missing, or a module cannot be fetched.
pub(crate) fn programs() -> Result<PathBuf> {
    if let Some(directory) = env::var_os(ASSETS).map(PathBuf::from) {
        let missing: Vec<&str> = missing_in(&directory).map(|built| built.program).collect();
        ensure!(
            missing.is_empty(),
            "{ASSETS} is {}, which lacks {}",
            directory.display(),
            missing.join(", ")
        );
        return Ok(directory);
    }
    if let Some(directory) = from_setup_envtest() {
        return Ok(directory);
    }
    let cache = cache()?.join(format!("kubernetes-{KUBERNETES}-etcd-{ETCD}"));
    let missing: Vec<Built> = missing_in(&cache).collect();
    if !missing.is_empty() {
        require_go(&format!("set {ASSETS} to a directory with etcd, kube-apiserver and kubectl"))?;
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        for built in missing {
            crate::say(format_args!("building {} {} from its module, once", built.program, built.version))?;
            build(built, &cache)?;
        }
    }
    Ok(cache)
}

/// Says where the programs are.
///
/// # Errors
/// As [`programs`].
pub(crate) fn show() -> Result<()> {
    crate::say(format_args!("export {ASSETS}={}", programs()?.display()))
}

fn missing_in(directory: &Path) -> impl Iterator<Item = Built> {
    PROGRAMS.into_iter().filter(move |built| !directory.join(built.program).is_file())
}

/// What `setup-envtest` has, or can get.
fn from_setup_envtest() -> Option<PathBuf> {
    find("setup-envtest", &search_path())?;
    let printed = Program::new("setup-envtest").args(["use", "--print", "path", KUBERNETES]).read().ok()?;
    let directory = PathBuf::from(printed.trim());
    let complete = missing_in(&directory).next().is_none();
    complete.then_some(directory)
}

/// Where caches belong: XDG Base Directory Specification.
///
/// # Errors
/// Nobody says where this user's home is.
pub(crate) fn cache() -> Result<PathBuf> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = named.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("mnp-nft-bridge"))
}

/// Makes sure that Go is there; `instead` says what would do without it.
///
/// # Errors
/// It is not.
pub(crate) fn require_go(instead: &str) -> Result<()> {
    if find("go", &search_path()).is_none() {
        bail!("go is not installed: install Go 1.25 or newer (https://go.dev/dl), or {instead}");
    }
    Ok(())
}

/// Builds one program into `cache`, in a module of its own: `go install` refuses modules with replaced dependencies.
fn build(built: Built, cache: &Path) -> Result<()> {
    let Built { program, module, version, package } = built;
    let work = cache.join(format!("{program}.module"));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let own = format!("module control-plane\n\ngo 1.25\n\nrequire {module} v{version}\n");
    write(&work.join("go.mod"), &own)?;
    let downloaded = go(&work).args(["mod", "download", "-json", &format!("{module}@v{version}")]).read()?;
    let theirs = go_mod_of(&downloaded)?;
    let theirs = fs::read_to_string(&theirs).with_context(|| format!("cannot read {}", theirs.display()))?;
    write(&work.join("go.mod"), &(own + &replacements(&theirs, version)))?;
    write(&work.join("tools.go"), &format!("//go:build tools\n\npackage tools\n\nimport _ \"{package}\"\n"))?;
    let unfinished = cache.join(format!("{program}.unfinished"));
    let output = unfinished.to_str().context("the cache's path is not UTF-8")?;
    let major_minor: Vec<&str> = version.split('.').collect();
    let stamp = format!(
        "-s -w -X k8s.io/component-base/version.gitVersion=v{version} \
         -X k8s.io/component-base/version.gitMajor={} -X k8s.io/component-base/version.gitMinor={}",
        major_minor.first().unwrap_or(&""),
        major_minor.get(1).unwrap_or(&"")
    );
    go(&work).args(["build", "-mod=mod", "-trimpath", "-ldflags", &stamp, "-o", output, package]).run()?;
    fs::rename(&unfinished, cache.join(program)).context("cannot move what was built")?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

fn go(directory: &Path) -> Program {
    Program::new("go").within(directory)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The file that `go mod download -json` names.
fn go_mod_of(downloaded: &str) -> Result<PathBuf> {
    let answer: serde_json::Value = serde_json::from_str(downloaded).context("cannot read what go prints")?;
    let file = answer.get("GoMod").and_then(serde_json::Value::as_str);
    file.map(PathBuf::from).context("go does not say where the module's go.mod is")
}

/// Kubernetes takes its own libraries from a directory of its repository; as modules they are version 0 of the same number.
fn replacements(go_mod: &str, version: &str) -> String {
    let minor = version.split_once('.').map_or(version, |(_, minor)| minor);
    let staged =
        go_mod.lines().filter_map(|line| line.trim().split_once(" => ./staging/").map(|(module, _)| module));
    let replaced = staged.map(|module| format!("replace {module} => {module} v0.{minor}"));
    replaced.collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{go_mod_of, replacements};

    #[test]
    fn staged_libraries_are_taken_as_modules_of_the_same_release() {
        let go_mod = "module k8s.io/kubernetes\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\
                      \tk8s.io/kms => ./staging/src/k8s.io/kms\n\texample.com/a => example.com/b v1.0.0\n)\n";
        let expected = "replace k8s.io/api => k8s.io/api v0.35.4\nreplace k8s.io/kms => k8s.io/kms v0.35.4\n";
        assert_eq!(replacements(go_mod, "1.35.4"), expected);
    }

    #[test]
    fn place_of_a_module_is_read_from_what_go_prints() {
        let file = go_mod_of(r#"{"Path": "k8s.io/kubernetes", "GoMod": "/cache/k.mod"}"#);
        assert_eq!(file.expect("it is named"), Path::new("/cache/k.mod"));
        assert!(go_mod_of("{}").is_err());
    }
}
