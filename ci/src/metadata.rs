//! The part of `cargo metadata` (format version 1) that the checks read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::program::Program;

/// The workspace as cargo sees it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The members; with the resolved graph, every package in it too.
    pub(crate) packages: Vec<Package>,
    /// Ids of the members.
    pub(crate) workspace_members: Vec<String>,
    /// The graph of resolved dependencies, when it was asked for.
    pub(crate) resolve: Option<Resolve>,
    /// Where cargo builds.
    #[serde(default)]
    pub(crate) target_directory: PathBuf,
}

/// One package.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Opaque, unique in the graph.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Its `Cargo.toml`.
    #[serde(default)]
    pub(crate) manifest_path: PathBuf,
    /// SPDX expression.
    pub(crate) license: Option<String>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// What the manifest declares.
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line of a manifest's dependencies.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Features the line switches on.
    #[serde(default)]
    pub(crate) features: Vec<String>,
}

/// Why a package depends on another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "Option<String>")]
pub(crate) enum Kind {
    Build,
    Dev,
    Normal,
}

impl From<Option<String>> for Kind {
    /// Cargo writes `null` for a normal dependency.
    fn from(kind: Option<String>) -> Self {
        match kind.as_deref() {
            Some("build") => Self::Build,
            Some("dev") => Self::Dev,
            _ => Self::Normal,
        }
    }
}

/// A library, program, test or benchmark of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// The resolved graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// A package in the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Edge>,
}

/// An edge of the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Edge {
    /// Id of the package depended on.
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<EdgeKind>,
}

/// Why an edge exists; one package may be needed for several reasons.
#[derive(Debug, Deserialize)]
pub(crate) struct EdgeKind {
    pub(crate) kind: Kind,
}

/// The directory of the workspace that the current directory is in.
///
/// # Errors
/// Cargo finds no workspace here.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    let manifest =
        Program::cargo().args(["locate-project", "--workspace", "--message-format", "plain"]).read()?;
    let root = Path::new(manifest.trim_end()).parent().context("cargo named no manifest of a workspace")?;
    Ok(root.to_owned())
}

impl Metadata {
    /// The members alone, as their manifests declare them; downloads nothing.
    ///
    /// # Errors
    /// Cargo fails, or prints something else than its format version 1.
    pub(crate) fn read_workspace() -> Result<Self> {
        Self::read(&["--no-deps"])
    }

    /// The members and everything they depend on when built for `target`.
    ///
    /// # Errors
    /// As [`read_workspace`](Self::read_workspace), and when a download fails.
    pub(crate) fn read_graph(target: &str) -> Result<Self> {
        Self::read(&["--all-features", "--filter-platform", target])
    }

    fn read(arguments: &[&str]) -> Result<Self> {
        let text = Program::cargo()
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(arguments)
            .read()?;
        serde_json::from_str(&text).context("cannot read what `cargo metadata` prints")
    }

    /// The members of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}
