//! A control plane with what the manifests install, in the test's network namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use control_plane::ControlPlane;
use control_plane::proxy::Proxy;

use crate::agent::{Agent, directory, in_new_namespace};

/// The node whose agent is tested.
pub(crate) const NODE: &str = "edge-1";

/// A control plane, and the kubeconfig of the agent's service account.
pub(crate) struct Server {
    pub(crate) plane: ControlPlane,
    pub(crate) kubeconfig: PathBuf,
}

/// Runs `body` with a control plane in a network namespace of its own.
pub(crate) fn with_server(test: &str, body: impl FnOnce(&mut Server) + Send) {
    let programs = std::env::var_os("KUBEBUILDER_ASSETS")
        .expect("KUBEBUILDER_ASSETS names the directory of the control plane: run `cargo ci cluster`");
    in_new_namespace(|| {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|up| up.success()), "cannot set lo up: install the package iproute2");
        let plane = ControlPlane::start(Path::new(&programs), &directory(&format!("cluster-{test}")))
            .unwrap_or_else(|error| panic!("{error:#}"));
        let server = Server { kubeconfig: PathBuf::new(), plane };
        body(&mut server.with_account());
    });
}

/// A directory of the manifests.
fn manifests(name: &str) -> String {
    format!("{}/../manifests/{name}", env!("CARGO_MANIFEST_DIR"))
}

impl Server {
    fn with_account(mut self) -> Self {
        self.kubectl(&["apply", "-k", &manifests("base")]);
        let token = self.kubectl(&["create", "token", "mnp-nft-bridge", "-n", "kube-system"]);
        self.kubeconfig = self.plane.kubeconfig("agent", token.trim()).expect("a file can be written");
        self
    }

    /// Runs kubectl, which must succeed; what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane.kubectl(arguments, "").unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Creates or changes objects.
    pub(crate) fn apply(&self, text: &str) {
        self.plane.kubectl(&["apply", "-f", "-"], text).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Installs the custom resources.
    pub(crate) fn install_crds(&self) {
        self.kubectl(&["apply", "-k", &manifests("crds")]);
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    }

    /// Creates or changes a file with a new token of the agents' account.
    pub(crate) fn token_file(&self, name: &str, options: &[&str]) -> PathBuf {
        let create = ["create", "token", "mnp-nft-bridge", "-n", "kube-system"];
        let token = self.kubectl(&[&create, options].concat());
        let file = self.kubeconfig.with_file_name(name);
        fs::write(&file, token.trim()).expect("a file can be written");
        file
    }

    /// Starts an agent that reaches the API server through `proxy` only, with the token in `file`.
    pub(crate) fn agent_through(&self, proxy: &Proxy, file: &Path) -> Agent {
        let by_file = self.plane.kubeconfig_by_file("proxied", proxy.address(), file);
        let kubeconfig = by_file.expect("a file can be written");
        let kubeconfig = kubeconfig.to_str().expect("a path in UTF-8");
        Agent::start(&["--node", NODE, "--kubeconfig", kubeconfig, "--start-within", "0"])
    }

    /// Starts an agent with the rights of its service account.
    pub(crate) fn agent(&self) -> Agent {
        let kubeconfig = self.kubeconfig.to_str().expect("a path in UTF-8");
        Agent::start(&["--node", NODE, "--kubeconfig", kubeconfig, "--start-within", "0"])
    }
}
