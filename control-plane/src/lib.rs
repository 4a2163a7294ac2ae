//! A real Kubernetes control plane: etcd and the API server, with RBAC and TLS, on the loopback of the network namespace
//! that the caller is in.
//!
//! There is no scheduler, no controller and no kubelet: what they would do, whoever uses this does. The programs come
//! from a directory as `KUBEBUILDER_ASSETS` names it; `cargo ci envtest` fills one.
#![forbid(unsafe_code)]

extern crate alloc;

pub mod api;
mod certificates;
mod history;
mod installed;
mod process;
pub mod proxy;

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use certificates::Certificates;
use nix::sys::signal::Signal;
use process::Process;

/// How long the API server may take until it answers; on a loaded machine it takes ten seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long to wait before asking again whether it answers.
const AGAIN: Duration = Duration::from_millis(100);

/// The token of the administrator, who may do everything.
const ADMIN: &str = "admin-of-the-test-cluster";

/// The programs that are needed.
pub const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// A control plane; it ends when this is dropped.
pub struct ControlPlane {
    programs: PathBuf,
    directory: PathBuf,
    certificates: Certificates,
    api: SocketAddr,
    etcd_client: SocketAddr,
    api_server: Option<Process>,
    /// Ends after the API server: fields are dropped in their order.
    _etcd: Process,
}

impl ControlPlane {
    /// Starts the programs in `programs`; everything they write goes to `directory`, which must be empty.
    pub fn start(programs: &Path, directory: &Path) -> Result<Self> {
        for program in PROGRAMS {
            let file = programs.join(program);
            ensure!(file.is_file(), "there is no {}: run `cargo ci envtest`", file.display());
        }
        let certificates = Certificates::make(directory)?;
        let [api, etcd_client, etcd_peer] = free_addresses()?;
        let etcd = Process::start(
            Command::new(programs.join("etcd")).args([
                format!("--data-dir={}", directory.join("etcd").display()),
                format!("--listen-client-urls=http://{etcd_client}"),
                format!("--advertise-client-urls=http://{etcd_client}"),
                format!("--listen-peer-urls=http://{etcd_peer}"),
                format!("--initial-advertise-peer-urls=http://{etcd_peer}"),
                format!("--initial-cluster=default=http://{etcd_peer}"),
                // What is lost in a crash is of no use afterwards.
                "--unsafe-no-fsync".to_owned(),
            ]),
            &directory.join("etcd.log"),
        )?;
        let (programs, directory) = (programs.to_owned(), directory.to_owned());
        let mut plane =
            Self { programs, directory, certificates, api, etcd_client, api_server: None, _etcd: etcd };
        plane.write_admin()?;
        plane.start_api_server()?;
        Ok(plane)
    }

    /// Starts the API server, if it does not run, and waits until it answers.
    pub fn start_api_server(&mut self) -> Result<()> {
        if self.api_server.is_none() {
            let files = &self.certificates;
            let mut command = Command::new(self.programs.join("kube-apiserver"));
            command.args([
                format!("--etcd-servers=http://{}", self.etcd_client),
                format!("--bind-address={}", self.api.ip()),
                // Nobody is told where the server is: the loopback must not be advertised, and there is nothing else.
                "--advertise-address=192.0.2.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--secure-port={}", self.api.port()),
                format!("--tls-cert-file={}", files.server_certificate.display()),
                format!("--tls-private-key-file={}", files.server_key.display()),
                format!("--token-auth-file={}", self.tokens().display()),
                format!("--service-account-key-file={}", files.accounts_public_key.display()),
                format!("--service-account-signing-key-file={}", files.accounts_key.display()),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                // Its accounts are made by a controller that is not here.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
            ]);
            self.api_server = Some(Process::start(&mut command, &self.directory.join("kube-apiserver.log"))?);
        }
        self.wait_until_ready()
    }

    /// Kills the API server; etcd stays.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// Lets the API server do nothing until it is resumed; what is connected to it stays connected.
    pub fn suspend_api_server(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a suspended API server go on.
    pub fn resume_api_server(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.api_server.as_ref().context("the API server does not run")?.signal(signal)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(reason) = self.kubectl(&["get", "--raw=/readyz"], "") else { return Ok(()) };
            if let Some(status) = self.api_server.as_mut().map(Process::ended).transpose()?.flatten() {
                bail!(
                    "the API server ended ({status}): see {}",
                    self.directory.join("kube-apiserver.log").display()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "the API server does not answer within {PATIENCE:?}: {reason:#}"
            );
            std::thread::sleep(AGAIN);
        }
    }

    /// Runs kubectl as the administrator, with `input`; what it prints.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new(self.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.admin())
            .args(arguments)
            // It keeps a cache of what the server serves.
            .env("HOME", &self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl has no input")?;
        // It may end without reading everything; its status says why.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where the API server answers.
    pub const fn address(&self) -> SocketAddr {
        self.api
    }

    /// The certificate of the authority that has signed the API server's.
    pub fn authority(&self) -> &Path {
        &self.certificates.authority
    }

    /// A kubeconfig for whoever has `token`, in a file of its own.
    pub fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.kubeconfig_by(name, self.api, &format!("token: '{token}'"))
    }

    /// A kubeconfig for whoever has the token that is in `file`, and asks the server at `address`.
    pub fn kubeconfig_by_file(&self, name: &str, address: SocketAddr, file: &Path) -> Result<PathBuf> {
        self.kubeconfig_by(name, address, &format!("tokenFile: '{}'", file.display()))
    }

    fn kubeconfig_by(&self, name: &str, address: SocketAddr, credentials: &str) -> Result<PathBuf> {
        let file = self.directory.join(format!("{name}.kubeconfig"));
        let authority = self.certificates.authority.display();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://{address}', certificate-authority: '{authority}'}}}}]\n\
             users: [{{name: test, user: {{{credentials}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
        );
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// The kubeconfig of the administrator.
    pub fn admin(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    fn tokens(&self) -> PathBuf {
        self.directory.join("tokens.csv")
    }

    fn write_admin(&self) -> Result<()> {
        fs::write(self.tokens(), format!("{ADMIN},admin,1,system:masters\n"))
            .context("cannot write a token")?;
        self.kubeconfig("admin", ADMIN).map(drop)
    }
}

/// Addresses on the loopback that nobody listens on.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    // Held together until all are chosen, so that they differ.
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("cannot bind to the loopback")?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().ok().context("as many addresses as listeners")
}
