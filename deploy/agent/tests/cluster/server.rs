//! A control plane with what the manifests install, in the test's network namespace.

use std::fs;
use std::path::{Path, PathBuf};

use control_plane::ControlPlane;
use control_plane::proxy::Proxy;

use crate::agent::{Agent, directory, in_new_namespace, raise_loopback};

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
        raise_loopback();
        let plane = ControlPlane::start(Path::new(&programs), &directory(&format!("cluster-{test}")))
            .unwrap_or_else(|error| panic!("{error:#}"));
        let server = Server { kubeconfig: PathBuf::new(), plane };
        body(&mut server.with_account());
    });
}

impl Server {
    fn with_account(mut self) -> Self {
        self.plane.install_agents().unwrap_or_else(|error| panic!("{error:#}"));
        self.kubeconfig = self.plane.kubeconfig("agent", &self.token(&[])).expect("a file can be written");
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
        self.plane.install_crds().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// A new token of the agents' account.
    pub(crate) fn token(&self, options: &[&str]) -> String {
        self.plane.agents_token(options).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Creates or changes a file with a new token of the agents' account.
    pub(crate) fn token_file(&self, name: &str, options: &[&str]) -> PathBuf {
        let file = self.kubeconfig.with_file_name(name);
        fs::write(&file, self.token(options)).expect("a file can be written");
        file
    }

    /// Starts an agent that reaches the API server through `proxy` only, with the token in `file`.
    pub(crate) fn agent_through(&self, proxy: &Proxy, file: &Path) -> Agent {
        let by_file = self.plane.kubeconfig_by_file("proxied", proxy.address(), file);
        agent_by(&by_file.expect("a file can be written"))
    }

    /// Starts an agent with the rights of its service account.
    pub(crate) fn agent(&self) -> Agent {
        agent_by(&self.kubeconfig)
    }
}

fn agent_by(kubeconfig: &Path) -> Agent {
    let kubeconfig = kubeconfig.to_str().expect("a path in UTF-8");
    Agent::start(&["--node", NODE, "--kubeconfig", kubeconfig, "--start-within", "0"])
}
