//! Passes requests and answers on, as the settings say.

use alloc::sync::Arc;
use core::future::pending;
use core::net::SocketAddr;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::mpsc::SyncSender;

use anyhow::{Context as _, Result, bail};
use futures_util::future::{Either, select};
use http_body_util::BodyExt as _;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{HeaderMap, Request, Response};
use kube::client::Body as KubeBody;
use kube::{Client, Config};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::places::{Body, Cut, Ending, part_of_head};
use super::{Manner, Mishap, Shared};
use crate::ControlPlane;

/// The end of a body in chunks.
const END: &str = "0\r\n\r\n";
/// What no object begins with.
const GARBAGE: u8 = b'?';

/// What the server is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Listen, if it does not.
    Open,
    /// Do not listen, and end all connections.
    Close,
    /// End all connections.
    HangUp,
}

/// Commands, each with whom to tell that it is carried out.
type Commands = UnboundedReceiver<(Command, SyncSender<()>)>;

/// What the server does next.
enum Step {
    Accepted(io::Result<TcpStream>),
    Commanded(Option<(Command, SyncSender<()>)>),
}

/// The server.
pub(super) struct Relay {
    address: SocketAddr,
    listener: Option<TcpListener>,
    connections: Vec<AbortHandle>,
    door: Door,
}

/// What every connection needs.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    client: Client,
    shared: Arc<Shared>,
}

impl Relay {
    /// Prepares to listen; must be called inside a runtime.
    pub(super) fn new(
        plane: &ControlPlane,
        listener: std::net::TcpListener,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let listener = TcpListener::from_std(listener).context("cannot listen")?;
        let files = &plane.certificates;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate(&files.server_certificate)?], key(&files.server_key)?)?;
        // Whoever asks brings a token.
        let mut upstream = Config::new(format!("https://{}", plane.address()).parse()?);
        upstream.root_cert = Some(vec![certificate(plane.authority())?.to_vec()]);
        let client = Client::try_from(upstream).context("cannot prepare to talk to the API server")?;
        let door = Door { acceptor: TlsAcceptor::from(Arc::new(config)), client, shared };
        Ok(Self { address: listener.local_addr()?, listener: Some(listener), connections: Vec::new(), door })
    }

    /// Serves until nobody can command any more.
    pub(super) async fn serve(mut self, mut commands: Commands) {
        loop {
            match self.next(&mut commands).await {
                Step::Accepted(Err(_)) => {}
                Step::Accepted(Ok(stream)) => {
                    let door = self.door.clone();
                    // A client may go at any time, and a server too.
                    let connection = tokio::spawn(async move { drop(door.serve(stream).await) });
                    self.connections.retain(|connection| !connection.is_finished());
                    self.connections.push(connection.abort_handle());
                }
                Step::Commanded(None) => return,
                Step::Commanded(Some((command, done))) => {
                    self.obey(command).await;
                    // Whoever commanded need not wait.
                    done.send(()).unwrap_or_default();
                }
            }
        }
    }

    async fn next(&self, commands: &mut Commands) -> Step {
        match select(pin!(accept(self.listener.as_ref())), pin!(commands.recv())).await {
            Either::Left((accepted, _)) => Step::Accepted(accepted),
            Either::Right((commanded, _)) => Step::Commanded(commanded),
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Open if self.listener.is_none() => {
                // Only this server has had the address.
                self.listener = TcpListener::bind(self.address).await.ok();
            }
            Command::Open => {}
            Command::Close => {
                self.listener = None;
                self.hang_up();
            }
            Command::HangUp => self.hang_up(),
        }
    }

    fn hang_up(&mut self) {
        self.connections.drain(..).for_each(|connection| connection.abort());
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => pending().await,
    }
}

fn certificate(file: &Path) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(file).with_context(|| format!("cannot read {}", file.display()))
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).with_context(|| format!("cannot read {}", file.display()))
}

impl Door {
    /// Serves one connection, until either end has enough of it.
    async fn serve(self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(self.acceptor.accept(stream).await?);
        while let Some(request) = receive(&mut stream).await? {
            let path = request.uri().to_string();
            let manner = {
                let mut settings = self.shared.settings();
                settings.requests += 1;
                settings.manner
            };
            let answered =
                match (manner, self.shared.mishap(&path, |mishap| matches!(mishap, Mishap::Answered(_)))) {
                    (_, Some(Mishap::Answered(status))) | (Manner::Answering(status), _) => {
                        Some(answer(status))
                    }
                    (Manner::Empty, _) => Some(head(200, &HeaderMap::new()) + END),
                    (Manner::Honest | Manner::Refusing | Manner::Slow(_), _) => None,
                };
            if let Some(answer) = answered {
                stream.get_mut().write_all(answer.as_bytes()).await?;
                stream.get_mut().flush().await?;
                self.shared.tell(&path);
                continue;
            }
            let response = self.client.send(request).await?;
            let mut answer = Answer { stream: stream.get_mut(), path, shared: &self.shared };
            if answer.pass_on(response).await? == Passed::Cut {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The next request; none when the client has gone.
async fn receive(stream: &mut BufReader<TlsStream<TcpStream>>) -> Result<Option<Request<KubeBody>>> {
    let mut first = String::new();
    if stream.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { bail!("no request: {first:?}") };
    let mut request = Request::builder().method(method).uri(path);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            // The API server has another name, and speaks for itself about its connection.
            "host" | "connection" => {}
            other => request = request.header(other, value),
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(request.body(KubeBody::from(body))?))
}

/// An answer that the API server has not given.
fn answer(status: u16) -> String {
    let (retry, body) = match status {
        200 => ("", "<html>Sign in to the network</html>".to_owned()),
        429 => ("Retry-After: 1\r\n", "Too many requests, please try again later.".to_owned()),
        other => (
            "",
            format!(
                "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"code\":{other},\
                 \"message\":\"an answer of the test\"}}"
            ),
        ),
    };
    format!("HTTP/1.1 {status} Test\r\n{retry}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// What became of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passed {
    Whole,
    Cut,
}

/// An answer on its way to the client.
struct Answer<'a> {
    stream: &'a mut TlsStream<TcpStream>,
    path: String,
    shared: &'a Shared,
}

impl Answer<'_> {
    async fn pass_on(&mut self, response: Response<KubeBody>) -> Result<Passed> {
        self.wait().await;
        let head = head(response.status().as_u16(), response.headers());
        let in_head = |mishap| matches!(mishap, Mishap::Cut(cut) if cut.place.is_in_head());
        if let Some(Mishap::Cut(cut)) = self.shared.mishap(&self.path, in_head) {
            self.write(part_of_head(&head, cut.place).as_bytes()).await?;
            return self.end(cut).await;
        }
        self.write(head.as_bytes()).await?;
        let mut body = response.into_body();
        let mut passed = Body::default();
        let mut mishap = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let mut data = data.to_vec();
            self.wait().await;
            let in_body = |mishap| match mishap {
                Mishap::Cut(cut) => !cut.place.is_in_head(),
                Mishap::Garbled(_) => true,
                Mishap::Answered(_) => false,
            };
            mishap = mishap.or_else(|| self.shared.mishap(&self.path, in_body));
            let cut = match mishap {
                Some(Mishap::Cut(cut)) => Some(cut),
                Some(Mishap::Garbled(objects)) => {
                    if let Some(byte) = passed.beginning(&data, objects).and_then(|at| data.get_mut(at)) {
                        *byte = GARBAGE;
                        mishap = None;
                        self.shared.tell(&self.path);
                    }
                    None
                }
                Some(Mishap::Answered(_)) | None => None,
            };
            let (sent, reached) = passed.send(&data, cut);
            self.write(&sent).await?;
            if let (true, Some(cut)) = (reached, cut) {
                return self.end(cut).await;
            }
        }
        self.write(END.as_bytes()).await?;
        Ok(Passed::Whole)
    }

    async fn wait(&self) {
        let manner = self.shared.settings().manner;
        if let Manner::Slow(delay) = manner
            && delay > Duration::ZERO
        {
            self.shared.tell(&self.path);
            tokio::time::sleep(delay).await;
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await.context("cannot write")
    }

    async fn end(&mut self, cut: Cut) -> Result<Passed> {
        if cut.ending != Ending::Severed {
            self.stream.shutdown().await?;
        }
        self.shared.tell(&self.path);
        Ok(Passed::Cut)
    }
}

fn head(status: u16, headers: &HeaderMap) -> String {
    let framing = [CONTENT_LENGTH, TRANSFER_ENCODING];
    let kept = headers.iter().filter(|(name, _)| !framing.contains(name));
    let lines = kept.filter_map(|(name, value)| Some(format!("{name}: {}\r\n", value.to_str().ok()?)));
    format!("HTTP/1.1 {status} Passed-On\r\n{}transfer-encoding: chunked\r\n\r\n", lines.collect::<String>())
}
