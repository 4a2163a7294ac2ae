//! The licences of everything that is linked into a program of the project.
//!
//! The list of allowed licences is that of `ci/deny.toml`, so that `cargo deny` and this check cannot disagree. Packages
//! that only tests use are free: they are never distributed with a program.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::metadata::{Kind, Metadata, Package};
use crate::spdx;

/// The targets the agent is shipped for.
const SHIPPED: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];

/// Where the allowed licences are listed, from the workspace's root.
const LIST: &str = "ci/deny.toml";

/// The part of cargo-deny's configuration that says which licences are allowed.
#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Allowed,
}

#[derive(Debug, Deserialize)]
struct Allowed {
    allow: BTreeSet<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// Licences allowed for one package only.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: BTreeSet<String>,
}

impl Allowed {
    fn for_package(&self, name: &str) -> BTreeSet<String> {
        let own = self.exceptions.iter().filter(|exception| exception.package == name);
        own.flat_map(|exception| &exception.allow).chain(&self.allow).cloned().collect()
    }
}

/// Checks the licences of every package that the workspace's libraries and programs use, for every shipped target.
///
/// # Errors
/// `ci/deny.toml` cannot be read, or a package has a licence that is not allowed.
pub(crate) fn check() -> Result<()> {
    let text = std::fs::read_to_string(LIST).with_context(|| format!("cannot read {LIST}"))?;
    let deny: Deny = toml::from_str(&text).with_context(|| format!("cannot read {LIST}"))?;
    for target in SHIPPED {
        let metadata = Metadata::read_graph(target)?;
        let members: Vec<&str> = metadata.members().map(|member| member.name.as_str()).collect();
        let linked = linked(&metadata, &members)?;
        let faults = linked
            .values()
            .filter_map(|(package, path)| fault(package, path, &deny.licenses).transpose())
            .collect::<Result<Vec<_>>>()?;
        if !faults.is_empty() {
            bail!("licences that {LIST} does not allow:\n  {}", faults.join("\n  "));
        }
        crate::say(format_args!("{target}: {} packages under allowed licences", linked.len()))?;
    }
    Ok(())
}

/// The packages reached from these members without passing a dev-dependency, each with one way there.
///
/// # Errors
/// The metadata holds no graph, or not all of it.
pub(crate) fn linked<'a>(
    metadata: &'a Metadata,
    members: &[&str],
) -> Result<BTreeMap<&'a str, (&'a Package, String)>> {
    let resolve = metadata.resolve.as_ref().context("`cargo metadata` printed no resolved graph")?;
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let nodes: BTreeMap<&str, _> = resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut reached = BTreeMap::new();
    let roots = metadata.members().filter(|member| members.contains(&member.name.as_str()));
    let mut waiting: VecDeque<(&str, String)> =
        roots.map(|member| (member.id.as_str(), member.name.clone())).collect();
    while let Some((id, path)) = waiting.pop_front() {
        let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else {
            bail!("`cargo metadata` names the package `{id}` and does not describe it");
        };
        if reached.contains_key(id) {
            continue;
        }
        for edge in &node.deps {
            if let Some(next) = packages.get(edge.pkg.as_str())
                && edge.dep_kinds.iter().any(|edge| edge.kind != Kind::Dev)
            {
                waiting.push_back((&edge.pkg, format!("{path} -> {}", next.name)));
            }
        }
        reached.insert(id, (*package, path));
    }
    Ok(reached)
}

fn fault(package: &Package, path: &str, allowed: &Allowed) -> Result<Option<String>> {
    let Package { name, version, .. } = package;
    let Some(licence) = &package.license else {
        return Ok(Some(format!("{name} {version} names no licence (reached by {path})")));
    };
    let satisfied = spdx::is_satisfied(licence, &allowed.for_package(name))
        .with_context(|| format!("the manifest of {name} {version}"))?;
    Ok((!satisfied).then(|| format!("{name} {version} is under {licence} (reached by {path})")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Allowed, Deny, fault, linked};
    use crate::metadata::Metadata;

    /// A member that links `linked`, which links `deep`, and whose tests use `tested`.
    fn world() -> Metadata {
        let package = |name: &str, licence: Option<&str>| {
            json!({"id": name, "name": name, "version": "1.0.0", "license": licence,
                   "dependencies": [], "targets": []})
        };
        let edge = |to: &str, kind: Option<&str>| json!({"pkg": to, "dep_kinds": [{"kind": kind}]});
        serde_json::from_value(json!({
            "workspace_members": ["member"],
            "packages": [package("member", Some("Apache-2.0")), package("linked", Some("MIT")),
                         package("deep", Some("GPL-3.0-only")), package("tested", None)],
            "resolve": {"nodes": [
                {"id": "member", "deps": [edge("linked", None), edge("tested", Some("dev"))]},
                {"id": "linked", "deps": [edge("deep", Some("build"))]},
                {"id": "deep", "deps": []}, {"id": "tested", "deps": []}]},
        }))
        .expect("this is what cargo prints")
    }

    fn faults(allowed: &str) -> Vec<String> {
        let allowed: Allowed = toml::from_str::<Deny>(allowed).expect("a configuration").licenses;
        let world = world();
        let linked = linked(&world, &["member"]).expect("the graph is complete");
        linked
            .values()
            .filter_map(|(package, path)| fault(package, path, &allowed).expect("well-formed"))
            .collect()
    }

    #[test]
    fn package_of_the_tests_is_not_linked() {
        let world = world();
        let linked = linked(&world, &["member"]).expect("the graph is complete");
        assert_eq!(linked.keys().copied().collect::<Vec<_>>(), ["deep", "linked", "member"]);
    }

    #[test]
    fn refused_licence_is_named_with_the_way_to_it() {
        let found = faults("licenses.allow = ['Apache-2.0', 'MIT']");
        assert_eq!(found, ["deep 1.0.0 is under GPL-3.0-only (reached by member -> linked -> deep)"]);
    }

    #[test]
    fn exception_counts_for_its_package_only() {
        let exception =
            "[licenses]\nallow = ['Apache-2.0']\nexceptions = [{crate = 'deep', allow = ['GPL-3.0-only']}]";
        assert_eq!(faults(exception), ["linked 1.0.0 is under MIT (reached by member -> linked)"]);
    }
}
