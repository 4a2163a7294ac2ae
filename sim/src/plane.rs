//! The control plane that scenarios are played against: one for a whole batch, in namespaces of its own.
//!
//! As with scenarios, it runs below a process 1 of its own process namespace: when that ends, etcd and the API server end
//! with it, whatever has happened.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail};
use control_plane::ControlPlane;
use control_plane::api::Administrator;
use nix::unistd::mkdtemp;
use serde_json::{Value, json};

use crate::{isolate, links, relay};

/// The variable that names the directory of the control plane's programs, as other tools read it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// What the isolated half says when everything is there.
const READY: &str = "ready";

/// Names in the directory of a control plane.
const SOCKET: &str = "api.sock";
const ADMIN: &str = "admin.kubeconfig";
const AGENT: &str = "agent.kubeconfig";

/// How to reach a control plane.
#[derive(Clone, Debug)]
pub struct Access(PathBuf);

impl Access {
    /// The one that keeps its files in `directory`.
    pub const fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// The socket through which connections to it are passed on.
    pub fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    /// The kubeconfig of the administrator.
    pub fn admin(&self) -> PathBuf {
        self.0.join(ADMIN)
    }

    /// The kubeconfig of the agents: with the account and the rights of the manifests, and no others.
    pub fn agent(&self) -> PathBuf {
        self.0.join(AGENT)
    }
}

/// A running control plane; it ends when this is dropped.
pub struct Plane {
    access: Access,
    /// Dropped to end it.
    stop: Option<Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl Plane {
    /// Starts one, with what the manifests install.
    ///
    /// # Errors
    /// Its programs are missing, or do not work.
    pub fn start() -> Result<Self> {
        let programs = env::var(ASSETS).ok().with_context(|| {
            format!(
                "{ASSETS} does not name the directory of the control plane's programs: run `cargo ci cluster`"
            )
        })?;
        let template = env::temp_dir().join("sim-plane-XXXXXX");
        let directory = mkdtemp(&template).context("cannot make a temporary directory")?;
        let access = Access::new(directory);
        let (stop, stopped) = channel::<()>();
        let (tell, told) = channel();
        let arguments = vec!["plane".to_owned(), programs, access.0.display().to_string()];
        // The process dies with the thread that has started it, so that thread lives as long.
        let hold = move || {
            let mut child = match isolate::start(&arguments) {
                Ok(child) => child,
                Err(error) => return drop(tell.send(Err(error.into()))),
            };
            let input = child.stdin.take();
            drop(tell.send(wait_until_ready(child.stdout.take())));
            // An error means that the other end is gone: that is the sign to end.
            stopped.recv().unwrap_or_default();
            drop(input);
            drop(child.wait());
        };
        let holder =
            thread::Builder::new().name("plane".to_owned()).spawn(hold).context("cannot start a thread")?;
        let plane = Self { access, stop: Some(stop), holder: Some(holder) };
        told.recv().context("the control plane's holder has ended")??;
        Ok(plane)
    }

    /// How to reach it.
    pub const fn access(&self) -> &Access {
        &self.access
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the holder has been told already.
        drop(self.holder.take().map(JoinHandle::join));
        drop(fs::remove_dir_all(&self.access.0));
    }
}

fn wait_until_ready(output: Option<impl std::io::Read>) -> Result<()> {
    let mut lines = BufReader::new(output.context("the control plane has no output")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    if first.trim() == READY {
        return Ok(());
    }
    lines.read_to_string(&mut first)?;
    bail!("the control plane does not start: {}", first.trim())
}

/// The isolated half: runs the control plane in `directory` until its parent ends.
///
/// # Errors
/// It cannot be started.
pub fn run(programs: &Path, directory: PathBuf, host: &str, out: &mut dyn Write) -> Result<bool> {
    // Held until the end: the parent's end of the input ties this process's life to its.
    let _parent = isolate::settle_in(host)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(links::raise_loopback())?;
    let plane = ControlPlane::start(programs, &directory)?;
    let access = Access::new(directory);
    plane.install_crds()?;
    plane.install_agents()?;
    // Long enough for any batch.
    plane.kubeconfig("agent", &plane.agents_token(&["--duration=12h"])?)?;
    let server = runtime.block_on(async {
        let administrator = Administrator::connect(&access.admin()).await?;
        serve_both_versions(&administrator).await?;
        anyhow::Ok(administrator.port())
    })?;
    let listener = UnixListener::bind(access.socket()).context("cannot make a socket")?;
    writeln!(out, "{READY}")?;
    out.flush()?;
    relay::from_socket(&listener, (core::net::Ipv4Addr::LOCALHOST, server).into())?;
    Ok(true)
}

/// Some clusters serve a newer version of the policies beside the one that the manifests install: here too, so that there
/// are scenarios with both.
async fn serve_both_versions(administrator: &Administrator) -> Result<()> {
    let name = "multi-networkpolicies.k8s.cni.cncf.io";
    let definition = administrator.definition(name).await?;
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let mut versions = versions.cloned().context("a definition without versions")?;
    let mut newer = versions.first().cloned().context("a definition without a version")?;
    if let Some(fields) = newer.as_object_mut() {
        fields.insert("name".to_owned(), json!("v1beta2"));
        fields.insert("storage".to_owned(), json!(false));
    }
    versions.push(newer);
    administrator.redefine(name, &json!({ "spec": { "versions": versions } })).await
}
