//! Finding and running benchmark targets by name.

use alloc::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::cluster::control_plane;
use crate::envtest::ASSETS;
use crate::metadata::Metadata;
use crate::program::Program;

/// The benchmark that needs a Kubernetes API server.
const OF_THE_CONTROL_PLANE: &str = "cluster";

/// Runs the benchmarks `names`, or every benchmark if there are none, each with `arguments`.
///
/// # Errors
/// A name that no package has, or a benchmark that fails.
pub(crate) fn run(names: &[String], arguments: &[String]) -> Result<()> {
    let metadata = Metadata::read_workspace()?;
    let known = benchmarks(&metadata);
    if known.is_empty() {
        bail!("no package of the workspace has a benchmark");
    }
    let chosen: Vec<&str> = if names.is_empty() {
        known.keys().copied().collect()
    } else {
        names.iter().map(String::as_str).collect()
    };
    let chosen = chosen.into_iter().map(|name| select(&known, name)).collect::<Result<Vec<_>>>()?;
    for (package, name) in chosen {
        let mut cargo = Program::cargo()
            .args(["bench", "--locked", "--package", package, "--bench", name, "--"])
            .args(arguments);
        if name == OF_THE_CONTROL_PLANE {
            cargo = cargo.env(ASSETS, &control_plane()?);
        }
        cargo.run()?;
    }
    Ok(())
}

/// Benchmark targets of the workspace, with their packages.
fn benchmarks(metadata: &Metadata) -> BTreeMap<&str, &str> {
    metadata
        .packages
        .iter()
        .flat_map(|package| package.targets.iter().map(move |target| (target, package.name.as_str())))
        .filter(|(target, _)| target.kind.iter().any(|kind| kind == "bench"))
        .map(|(target, package)| (target.name.as_str(), package))
        .collect()
}

fn select<'a>(known: &BTreeMap<&'a str, &'a str>, name: &str) -> Result<(&'a str, &'a str)> {
    known.get_key_value(name).map(|(name, package)| (*package, *name)).with_context(|| {
        let names: Vec<_> = known.keys().copied().collect();
        format!("there is no benchmark `{name}`, only: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::{benchmarks, select};
    use crate::metadata::Metadata;

    #[test]
    fn unknown_benchmark_is_answered_with_the_known_ones() {
        let known = BTreeMap::from([("compile", "policy-core"), ("datapath", "sim")]);
        assert_eq!(select(&known, "datapath").expect("it is known"), ("sim", "datapath"));
        let error = select(&known, "speed").expect_err("it is not known");
        assert_eq!(error.to_string(), "there is no benchmark `speed`, only: compile, datapath");
    }

    #[test]
    fn only_bench_targets_are_benchmarks() {
        let metadata: Metadata = serde_json::from_str(
            r#"{"workspace_members": ["a"], "resolve": null, "packages": [
                {"id": "a", "name": "a", "version": "1.0.0", "license": null, "dependencies": [], "targets": [
                    {"name": "a", "kind": ["lib"]}, {"name": "event", "kind": ["bench"]}]}]}"#,
        )
        .expect("this is what cargo prints");
        assert_eq!(benchmarks(&metadata), BTreeMap::from([("event", "a")]));
    }
}
