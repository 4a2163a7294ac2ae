//! What the project's own manifests install.

use anyhow::Result;

use crate::ControlPlane;

/// A directory of the manifests.
fn manifests(name: &str) -> String {
    format!("{}/../deploy/manifests/{name}", env!("CARGO_MANIFEST_DIR"))
}

impl ControlPlane {
    /// Installs the custom resources, and waits until they are served.
    pub fn install_crds(&self) -> Result<()> {
        self.kubectl(&["apply", "-k", &manifests("crds")], "")?;
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "").map(drop)
    }

    /// Installs the agents: of use here are their account and its rights.
    pub fn install_agents(&self) -> Result<()> {
        self.kubectl(&["apply", "-k", &manifests("base")], "").map(drop)
    }

    /// A new token of the agents' account; `options` are those of `kubectl create token`.
    pub fn agents_token(&self, options: &[&str]) -> Result<String> {
        let create = ["create", "token", "mnp-nft-bridge", "-n", "kube-system"];
        Ok(self.kubectl(&[&create, options].concat(), "")?.trim().to_owned())
    }
}
